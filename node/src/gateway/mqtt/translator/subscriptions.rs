//! SUBSCRIBE and UNSUBSCRIBE. Membership decides, by the answer to `open`.

use bytes::BytesMut;
use protocol::command::OpenConversation;
use protocol::{ClientCommand, ConversationId, ErrorCode};

use super::{MqttTranslator, PacketEffect};
use crate::gateway::mqtt::event_filter::EventFilter;
use crate::gateway::mqtt::filter_table::AddedFilter;
use crate::gateway::mqtt::packet::{
    MqttVersion, OutgoingPublish, QualityOfService, ReasonCode, SubscribePacket, UnsubscribePacket,
};
use crate::gateway::mqtt::pending_request::{PendingRequest, PendingSubscribe};

/// Code of 3.1.1 for a subscription that is refused.
const FAILURE: u8 = 0x80;

// === impl MqttTranslator: subscriptions ===

impl MqttTranslator {
    pub(super) fn subscribe(&mut self, packet: SubscribePacket, out: &mut BytesMut) -> PacketEffect {
        let requests = self.outgoing.len();
        let number = self.next_number();
        let mut pending = PendingSubscribe {
            number,
            packet_id: packet.packet_id,
            codes: Vec::with_capacity(packet.topics.len()),
            has_inbox: false,
        };
        for (index, topic) in packet.topics.iter().enumerate() {
            let quality = topic.quality.min(QualityOfService::AtLeastOnce);
            let filter = if packet.has_subscription_id {
                Err(ReasonCode::SubscriptionIdsNotSupported)
            } else {
                EventFilter::parse(&topic.filter, &self.user)
            };
            let code = match filter {
                Ok(filter) => match self.filters.add(&filter, quality) {
                    AddedFilter::Granted => {
                        pending.has_inbox |= matches!(filter, EventFilter::Inbox(_));
                        self.is_changed = true;
                        Some(quality as u8)
                    }
                    AddedFilter::Unconfirmed => {
                        self.open(filter, quality, number, index);
                        None
                    }
                    AddedFilter::TooMany => Some(self.failure(ReasonCode::QuotaExceeded)),
                },
                Err(reason) => Some(self.failure(reason)),
            };
            pending.codes.push(code);
        }
        self.subscribes.push(pending);
        self.finish_subscribe(number, out);
        if self.outgoing.len() > requests {
            PacketEffect::Request
        } else {
            PacketEffect::Ignored
        }
    }

    pub(super) fn unsubscribe(&mut self, packet: &UnsubscribePacket, out: &mut BytesMut) {
        let mut codes = Vec::with_capacity(packet.filters.len());
        for filter in &packet.filters {
            let filter = EventFilter::parse(filter, &self.user);
            let reason = match filter.map(|filter| self.filters.remove(&filter)) {
                Ok(true) => ReasonCode::Success,
                Ok(false) => ReasonCode::NoSubscriptionExisted,
                Err(ReasonCode::TopicFilterInvalid) => ReasonCode::TopicFilterInvalid,
                Err(_) => ReasonCode::NoSubscriptionExisted,
            };
            codes.push(reason.byte());
        }
        self.is_changed = true;
        self.packets.unsuback(out, packet.packet_id, &codes);
    }

    /// Handles the check of a membership. `refused`: the code of its refusal.
    pub(super) fn on_opened(
        &mut self,
        conversation: &ConversationId,
        quality: QualityOfService,
        (subscribe, index): (i64, usize),
        refused: Option<ErrorCode>,
        out: &mut BytesMut,
    ) {
        let code = match refused {
            None if self.filters.confirm(conversation.as_str()) => {
                self.is_changed = true;
                quality as u8
            }
            // An UNSUBSCRIBE, a removal of the user or the refusal of an earlier SUBSCRIBE came first.
            None => self.failure(ReasonCode::Unspecified),
            Some(code) => {
                self.filters
                    .remove(&EventFilter::Conversation(conversation.clone()));
                // A temporary refusal says nothing about the membership.
                self.failure(if code.temporary() {
                    ReasonCode::Unspecified
                } else {
                    ReasonCode::NotAuthorized
                })
            }
        };
        let pending = self
            .subscribes
            .iter_mut()
            .find(|pending| pending.number == subscribe);
        if let Some(known) = pending.and_then(|pending| pending.codes.get_mut(index)) {
            *known = Some(code);
        }
        self.finish_subscribe(subscribe, out);
    }

    fn open(&mut self, filter: EventFilter, quality: QualityOfService, subscribe: i64, index: usize) {
        if let EventFilter::Conversation(conversation) = filter {
            let command = OpenConversation {
                conversation: conversation.clone(),
                have: None,
            };
            let pending = PendingRequest::Open {
                conversation,
                quality,
                subscribe,
                index,
            };
            self.send_own(pending, ClientCommand::Open(command));
        }
    }

    /// Acknowledges a SUBSCRIBE once the code of each filter is known.
    fn finish_subscribe(&mut self, number: i64, out: &mut BytesMut) {
        let Some(at) = self
            .subscribes
            .iter()
            .position(|pending| pending.number == number)
        else {
            return;
        };
        let codes: Option<Vec<u8>> = self.subscribes[at].codes.iter().copied().collect();
        let Some(codes) = codes else { return };
        let pending = self.subscribes.swap_remove(at);
        self.packets.suback(out, pending.packet_id, &codes);
        if pending.has_inbox {
            self.publish_resync(out);
        }
    }

    /// Makes a client synchronise whose kept session was not resumed.
    fn publish_resync(&mut self, out: &mut BytesMut) {
        let (Some(reason), Some(inbox)) = (self.owed_resync.take(), self.filters.inbox()) else {
            return;
        };
        let payload = serde_json::json!({"t": "resync", "why": reason}).to_string();
        let message = OutgoingPublish {
            is_repeated: false,
            quality: QualityOfService::AtMostOnce,
            topic: ["u/", inbox.name.text(&self.user), "/events"],
            packet_id: 0,
            expiry: None,
            correlation_data: None,
            payload: [payload.as_bytes(), b""],
        };
        self.packets.publish(out, &message);
    }

    fn failure(&self, reason: ReasonCode) -> u8 {
        match self.version() {
            MqttVersion::V3 => FAILURE,
            MqttVersion::V5 => reason.byte(),
        }
    }
}
