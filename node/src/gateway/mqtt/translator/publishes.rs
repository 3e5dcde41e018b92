//! Messages of the client, each of which is a command.

use bytes::BytesMut;

use super::{MqttTranslator, PacketEffect};
use crate::gateway::mqtt::packet::{
    MqttVersion, PacketError, PublishPacket, PublishReplyKind, QualityOfService, ReasonCode,
};
use crate::gateway::mqtt::pending_request::{PendingPublish, PendingRequest};
use crate::gateway::mqtt::publish_queue::PublishOutcome;
use crate::gateway::mqtt::publish_topic::{AnswerPolicy, PublishTopic};
use crate::gateway::mqtt::published_command::PublishedCommand;
use crate::gateway::native_command::refused;

/// Characters of an unknown topic that its refusal repeats: the topic may have 64 KiB.
const TOPIC_START: usize = 64;

// === impl MqttTranslator: publishes ===

impl MqttTranslator {
    pub(super) fn publish(
        &mut self,
        message: PublishPacket,
        bytes: usize,
        out: &mut BytesMut,
    ) -> Result<PacketEffect, PacketError> {
        if self.version() == MqttVersion::V5 {
            self.check_promises(&message)?;
        }
        let topic = self.aliases.resolve(&message)?;
        let number = self.next_number();
        let kind = match message.quality {
            QualityOfService::AtMostOnce => None,
            QualityOfService::AtLeastOnce => Some(PublishReplyKind::PubAck),
            QualityOfService::ExactlyOnce => Some(PublishReplyKind::PubRec),
        };
        if let Some(kind) = kind {
            self.queue.add(message.packet_id, kind, number);
        }
        let mut pending = PendingPublish {
            is_acknowledged: kind.is_some(),
            id: None,
            cid: None,
            correlation: message.properties.correlation_data,
            answer: AnswerPolicy::Acknowledged,
            reason: None,
        };
        let request = match PublishTopic::parse(&topic) {
            Some(topic) => {
                pending.answer = topic.answer;
                let correlation = pending.correlation.as_ref();
                let command = PublishedCommand::read(&topic, &message.payload, correlation, number);
                (pending.id, pending.cid) = (command.id, command.cid);
                command.request
            }
            None => {
                pending.reason = Some(ReasonCode::TopicNameInvalid);
                Err(refused(number, unknown_topic(&topic)))
            }
        };
        // The session answers no notice of typing, but for a malformed one.
        if pending.answer == AnswerPolicy::Silent && request.is_ok() {
            self.queue.complete(
                number,
                PublishOutcome {
                    reason: ReasonCode::Success,
                    properties: Vec::new(),
                },
            );
            self.reply(out);
        } else {
            self.requests.insert(number, PendingRequest::Publish(pending));
        }
        self.send(request, bytes);
        Ok(PacketEffect::Request)
    }

    /// Checks a message against what CONNACK has promised to take.
    fn check_promises(&self, message: &PublishPacket) -> Result<(), PacketError> {
        if message.quality == QualityOfService::ExactlyOnce {
            return Err(PacketError(ReasonCode::QosNotSupported));
        }
        if message.is_retained {
            return Err(PacketError(ReasonCode::RetainNotSupported));
        }
        let is_full = self.queue.len() >= usize::from(self.accepted.receive_maximum);
        if is_full && message.quality == QualityOfService::AtLeastOnce {
            return Err(PacketError(ReasonCode::ReceiveMaximumExceeded));
        }
        Ok(())
    }
}

/// Returns the refusal of a topic, shortened.
fn unknown_topic(topic: &str) -> String {
    let start: String = topic.chars().take(TOPIC_START).collect();
    let end = if start.len() < topic.len() { "…" } else { "" };
    format!("no command has the topic {start:?}{end}")
}
