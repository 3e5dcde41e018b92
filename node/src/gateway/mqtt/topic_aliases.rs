//! Topic aliases of a client of MQTT 5 (section 3.3.2.3.4). Pure.

use super::packet::{PacketError, PublishPacket, ReasonCode};

/// Largest alias that a client may use.
pub(super) const TOPIC_ALIASES: u16 = 8;

/// Topics by alias, of one connection.
#[derive(Debug, Default)]
pub(super) struct TopicAliases {
    topics: [Option<String>; TOPIC_ALIASES as usize],
}

// === impl TopicAliases ===

impl TopicAliases {
    /// Returns the topic of a message, and records its alias.
    ///
    /// # Errors
    /// An alias out of range, or one without a topic.
    pub(super) fn resolve(&mut self, message: &PublishPacket) -> Result<String, PacketError> {
        let Some(alias) = message.properties.topic_alias else {
            return Ok(message.topic.clone());
        };
        let at = usize::from(alias).checked_sub(1);
        let known = at.and_then(|at| self.topics.get_mut(at));
        let known = known.ok_or(PacketError(ReasonCode::TopicAliasInvalid))?;
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
        let mut aliases = TopicAliases::default();
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
