//! Connection of one client of the topic tree. Pure but for its mailbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;
use super::outgoing_queue::TopicDelivery;
use crate::gateway::mqtt::packet::{QualityOfService, ReasonCode, ServerPackets, TopicPublish, WillMessage};
use crate::gateway::mqtt::topic_aliases::TopicAliases;

/// Connection of a client, until its end.
#[derive(Debug)]
pub(super) struct ClientConnection {
    /// Number of the connection, which no other one has.
    pub(super) number: u64,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) packets: ServerPackets,
    /// Receive maximum of the client.
    pub(super) receive_maximum: u16,
    /// Aliases of the client's own messages.
    pub(super) aliases: TopicAliases,
    /// Largest alias that the client accepts.
    pub(super) alias_maximum: u16,
    /// Aliases of the messages to the client.
    pub(super) sent_aliases: HashMap<String, u16>,
    pub(super) will: Option<WillMessage>,
    /// Session expiry that the client has stated; `None`: none.
    pub(super) stated_expiry: Option<Duration>,
}

// === impl ClientConnection ===

impl ClientConnection {
    /// Writes a message. Returns false if the client does not accept its size.
    pub(super) fn publish(
        &mut self,
        delivery: &TopicDelivery,
        (packet_id, is_repeated): (u16, bool),
        now: Instant,
    ) -> bool {
        let message = &delivery.message;
        let (topic, topic_alias) = self.alias_of(&message.topic);
        let is_new_alias = topic_alias.is_some() && !topic.is_empty();
        let publish = TopicPublish {
            is_repeated,
            is_retained: delivery.is_retained,
            quality: delivery.quality,
            topic,
            packet_id,
            topic_alias,
            expiry: message.lifetime(now),
            subscription_ids: &delivery.subscription_ids,
            properties: &message.properties,
            payload: &message.payload,
        };
        let written = self
            .mailbox
            .write(|out| self.packets.topic_publish(out, &publish));
        if let (Some(alias), true, Some(true)) = (topic_alias, is_new_alias, written) {
            self.sent_aliases.insert(message.topic.clone(), alias);
        }
        // A message to a closing connection stays with the session.
        written.unwrap_or(delivery.quality != QualityOfService::AtMostOnce)
    }

    /// Ends the connection with this reason.
    pub(super) fn close(&self, reason: ReasonCode) {
        self.mailbox.write(|out| self.packets.disconnect(out, reason));
        self.mailbox.close();
    }

    /// Returns the topic to write, and its alias. A new alias comes with its topic.
    fn alias_of<'a>(&self, topic: &'a str) -> (&'a str, Option<u16>) {
        if let Some(alias) = self.sent_aliases.get(topic) {
            return ("", Some(*alias));
        }
        let alias = u16::try_from(self.sent_aliases.len() + 1).unwrap_or(u16::MAX);
        (topic, Some(alias).filter(|alias| *alias <= self.alias_maximum))
    }
}
