//! Topic aliases of a client of MQTT 5 (section 3.3.2.3.4). Pure.

use super::packet::{PacketError, PublishPacket, ReasonCode};

/// Largest alias that a client may use.
pub(super) const TOPIC_ALIASES: u16 = 8;

/// Topics by alias, of one connection.
#[derive(Debug)]
pub(super) struct TopicAliases {
    maximum: u16,
    /// Allocated with the first alias.
    topics: Vec<Option<String>>,
}

// === impl TopicAliases ===

impl TopicAliases {
    /// Creates the aliases of a client that may use those up to `maximum`.
    pub(super) fn new(maximum: u16) -> TopicAliases {
        TopicAliases {
            maximum,
            topics: Vec::new(),
        }
    }

    /// Returns the topic of a message, and records its alias.
    ///
    /// # Errors
    /// An alias out of range, or one without a topic.
    pub(super) fn resolve(&mut self, message: &PublishPacket) -> Result<String, PacketError> {
        let Some(alias) = message.properties.topic_alias else {
            return Ok(message.topic.clone());
        };
        if alias == 0 || alias > self.maximum {
            return Err(PacketError(ReasonCode::TopicAliasInvalid));
        }
        if self.topics.is_empty() {
            self.topics.resize(usize::from(self.maximum), None);
        }
        let known = &mut self.topics[usize::from(alias) - 1];
        if !message.topic.is_empty() {
            *known = Some(message.topic.clone());
        }
        known.clone().ok_or(PacketError::PROTOCOL)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::gateway::mqtt::packet::QualityOfService;

    fn message(topic: &str, alias: Option<u16>) -> PublishPacket {
        let mut message = PublishPacket {
            quality: QualityOfService::AtMostOnce,
            is_retained: false,
            topic: topic.to_owned(),
            packet_id: 0,
            properties: Default::default(),
            payload: Bytes::new(),
        };
        message.properties.topic_alias = alias;
        message
    }

    #[test]
    fn alias_stands_for_its_last_topic() {
        let mut aliases = TopicAliases::new(TOPIC_ALIASES);
        let mut resolve = |topic, alias| aliases.resolve(&message(topic, alias));
        assert_eq!(resolve("a", None).as_deref(), Ok("a"));
        assert_eq!(resolve("", Some(1)), Err(PacketError::PROTOCOL));
        assert_eq!(resolve("a", Some(1)).as_deref(), Ok("a"));
        assert_eq!(resolve("b", Some(8)).as_deref(), Ok("b"));
        assert_eq!(resolve("", Some(1)).as_deref(), Ok("a"));
        assert_eq!(resolve("c", Some(1)).as_deref(), Ok("c"));
        assert_eq!(resolve("", Some(1)).as_deref(), Ok("c"));
        assert_eq!(resolve("", Some(8)).as_deref(), Ok("b"));
        for alias in [0, 9] {
            let invalid = Err(PacketError(ReasonCode::TopicAliasInvalid));
            assert_eq!(resolve("a", Some(alias)), invalid);
        }
    }
}
