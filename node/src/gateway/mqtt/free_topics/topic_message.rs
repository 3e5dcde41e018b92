//! Message of the topic tree. Pure: time is an argument.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::gateway::mqtt::packet::{Properties, PublishPacket, QualityOfService, WillMessage};

/// Message that a client has published.
#[derive(Clone, Debug)]
pub(super) struct TopicMessage {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    pub(super) quality: QualityOfService,
    pub(super) is_retained: bool,
    /// Properties that receivers get as they are.
    pub(super) properties: Bytes,
    /// End of its lifetime; `None`: it has none.
    expires_at: Option<Instant>,
    /// Client id of the publisher.
    pub(super) publisher: String,
}

// === impl TopicMessage ===

impl TopicMessage {
    /// `topic`: the topic of the message, resolved from its alias.
    pub(super) fn of(message: &PublishPacket, topic: String, publisher: &str, now: Instant) -> TopicMessage {
        TopicMessage {
            topic,
            payload: message.payload.clone(),
            quality: message.quality,
            is_retained: message.is_retained,
            properties: message.properties.forwarded(),
            expires_at: end_of(&message.properties, now),
            publisher: publisher.to_owned(),
        }
    }

    pub(super) fn of_will(will: &WillMessage, publisher: &str, now: Instant) -> TopicMessage {
        TopicMessage {
            topic: will.topic.clone(),
            payload: will.payload.clone(),
            quality: will.quality,
            is_retained: will.is_retained,
            properties: will.properties.forwarded(),
            expires_at: end_of(&will.properties, now),
            publisher: publisher.to_owned(),
        }
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Returns the rest of its lifetime in started seconds; `None`: it has no end.
    pub(super) fn lifetime(&self, now: Instant) -> Option<u32> {
        let rest = self.expires_at?.saturating_duration_since(now);
        let seconds = rest.as_secs() + u64::from(rest.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

fn end_of(properties: &Properties, now: Instant) -> Option<Instant> {
    let seconds = properties.message_expiry?;
    now.checked_add(Duration::from_secs(u64::from(seconds)))
}
