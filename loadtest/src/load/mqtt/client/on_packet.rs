//! Packets from the broker: acknowledgements of messages, and messages, which are checked and measured.

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubAck, Publish, SubscribeReasonCode};

use super::{Lost, MqttClient};
use crate::oracle::ViolationKind;
use crate::payload::MessageTag;

// === impl MqttClient: packets ===

impl MqttClient {
    pub(super) fn packet(&mut self, packet: Packet) -> Result<(), Lost> {
        match packet {
            Packet::SubAck(answer) => {
                // A broker may grant a lower QoS, which would promise nothing.
                let wanted =
                    |code: &SubscribeReasonCode| *code == SubscribeReasonCode::Success(QoS::AtLeastOnce);
                if !answer.return_codes.iter().all(wanted) {
                    return Err(format!(
                        "subscription at QoS 1 refused: {:?}",
                        answer.return_codes
                    ));
                }
                self.subscribed();
            }
            Packet::PubAck(ack) => self.acked(ack.pkid),
            Packet::Publish(publish) => {
                self.received(&publish);
                // After the checker has recorded it: an acknowledged message is the client's responsibility.
                if publish.qos == QoS::AtLeastOnce {
                    self.put(&Packet::PubAck(PubAck::new(publish.pkid)))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn subscribed(&mut self) {
        self.known = true;
        self.online = true;
        self.common.online.set(self.common.online.get() + 1);
    }

    fn acked(&mut self, id: u16) {
        let context = &mut *self.common.context.borrow_mut();
        let Some(pending) = self.session.acked(id) else {
            let detail = format!("a PUBACK of {id}, which has no pending publish");
            return context.oracle.violate(
                ViolationKind::UnsolicitedResponse,
                None,
                Some(self.me),
                0,
                detail,
            );
        };
        let tag = MessageTag {
            sender: self.me,
            ordinal: pending.ordinal,
        };
        let judge = &mut *self.judge.borrow_mut();
        judge.acked(pending.conv, tag);
        context.oracle.on_event(judge.counts);
        context.recorder.acked(pending.due, context.received);
    }

    fn received(&mut self, publish: &Publish) {
        let context = &mut *self.common.context.borrow_mut();
        let judge = &mut *self.judge.borrow_mut();
        let subscription = self
            .subscriptions
            .iter()
            .find(|subscription| *subscription.topic == *publish.topic);
        let verdict = match subscription.map(|subscription| {
            (
                subscription,
                context.payload.open(&publish.topic, &publish.payload),
            )
        }) {
            None => Err((
                ViolationKind::Phantom,
                format!("a message of topic {:?}", publish.topic),
            )),
            Some((_, None)) => Err((ViolationKind::Altered, format!("{:?}", publish.payload))),
            Some((subscription, Some((tag, due)))) => judge
                .received(subscription.conv, self.me, tag)
                .map(|first| (tag, due, first)),
        };
        match verdict {
            // A client is also a subscriber of its own topics. Its own messages are checked, and not measured.
            Ok((tag, due, true)) if tag.sender != self.me => {
                context.recorder.delivered(due, context.received)
            }
            Ok(_) => {}
            Err((kind, detail)) => {
                let conv = subscription.map(|subscription| subscription.conv);
                context.oracle.violate(kind, conv, Some(self.me), 0, detail);
            }
        }
        context.oracle.on_event(judge.counts);
    }
}
