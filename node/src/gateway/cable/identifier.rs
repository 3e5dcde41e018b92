//! Identifiers of subscriptions: opaque texts for the client, channel and conversation for the gateway. Pure.
//!
//! The text goes back byte for byte, and the same text is the same subscription. Fields without a meaning are ignored:
//! applications add such to get a second subscription.

use std::rc::Rc;

use protocol::{ConversationId, UserId};

use crate::gateway::native_command::{CommandFields, quoted};

/// Channels of a conversation.
const CHAT_CHANNELS: [&str; 3] = ["ChatChannel", "RoomChannel", "ConversationChannel"];
/// Channel of all events of the session.
const INBOX_CHANNEL: &str = "InboxChannel";
/// Fields that name the conversation, the first one that is present.
const CONVERSATION_FIELDS: [&str; 5] = ["c", "conversation", "room", "room_id", "id"];

/// Identifier of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelIdentifier {
    text: Rc<str>,
    channel: Channel,
}

/// Events and actions that a subscription is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Conversation(ConversationId),
    /// Direct conversation with this user.
    Direct(UserId),
    /// Every event of the session.
    Inbox,
}

/// The identifier names no channel of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownChannel;

// === impl ChannelIdentifier ===

impl ChannelIdentifier {
    /// Reads the text of an identifier.
    ///
    /// # Errors
    /// [`UnknownChannel`], upon which the subscription is rejected.
    pub(super) fn parse(text: &str) -> Result<ChannelIdentifier, UnknownChannel> {
        let mut fields = CommandFields::parse(text).map_err(|_| UnknownChannel)?;
        let name = fields.take_string("channel").ok_or(UnknownChannel)?;
        let channel = if name == INBOX_CHANNEL {
            Channel::Inbox
        } else if CHAT_CHANNELS.contains(&&*name) {
            Channel::of_chat(&mut fields)?
        } else {
            return Err(UnknownChannel);
        };
        Ok(ChannelIdentifier {
            text: text.into(),
            channel,
        })
    }

    pub(super) fn text(&self) -> &Rc<str> {
        &self.text
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Returns the conversation, which for a direct one follows from the two users; `None` for the inbox.
    pub(super) fn conversation(&self, user: &UserId) -> Option<ConversationId> {
        match &self.channel {
            Channel::Conversation(conversation) => Some(conversation.clone()),
            Channel::Direct(peer) => Some(ConversationId::direct(user, peer)),
            Channel::Inbox => None,
        }
    }

    /// Returns true for the direct conversation with a user, which may not exist yet.
    pub(super) fn is_direct(&self) -> bool {
        matches!(self.channel, Channel::Direct(_))
    }

    /// Returns the identifier as a JSON string.
    pub(super) fn quoted(&self) -> String {
        quoted(&self.text)
    }
}

// === impl Channel ===

impl Channel {
    fn of_chat(fields: &mut CommandFields<'_>) -> Result<Channel, UnknownChannel> {
        let named = CONVERSATION_FIELDS.into_iter().find(|field| fields.has(field));
        if let Some(field) = named {
            let text = fields.take_string(field).ok_or(UnknownChannel)?;
            let conversation = ConversationId::parse(&text).map_err(|_| UnknownChannel)?;
            return Ok(Channel::Conversation(conversation));
        }
        let text = fields.take_string("to").ok_or(UnknownChannel)?;
        UserId::parse(&text)
            .map(Channel::Direct)
            .map_err(|_| UnknownChannel)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel(text: &str) -> Result<Channel, UnknownChannel> {
        ChannelIdentifier::parse(text).map(|identifier| identifier.channel)
    }

    #[test]
    fn aliases_name_the_same_conversation() {
        let conversation = Channel::Conversation(ConversationId::parse("g_1").unwrap());
        for name in CHAT_CHANNELS {
            for field in CONVERSATION_FIELDS {
                let text = format!(r#"{{"channel":"{name}","{field}":"g_1"}}"#);
                assert_eq!(channel(&text), Ok(conversation.clone()), "{text}");
            }
        }
        let both = r#"{"id":"tab-7","c":"g_1","channel":"ChatChannel","to":"bob"}"#;
        assert_eq!(channel(both), Ok(conversation));
    }

    #[test]
    fn a_peer_is_the_direct_conversation() {
        let (alice, bob) = (UserId::parse("alice").unwrap(), UserId::parse("bob").unwrap());
        let identifier = ChannelIdentifier::parse(r#"{"channel":"ChatChannel","to":"bob"}"#).unwrap();
        assert_eq!(identifier.channel, Channel::Direct(bob.clone()));
        assert_eq!(
            identifier.conversation(&alice),
            Some(ConversationId::direct(&alice, &bob))
        );
        assert_eq!(channel(r#"{"channel":"InboxChannel"}"#), Ok(Channel::Inbox));
    }

    #[test]
    fn unknown_channels_and_malformed_texts_are_refused() {
        for text in [
            r#"{"channel":"NewsChannel","c":"g_1"}"#,
            r#"{"channel":"ChatChannel"}"#,
            r#"{"channel":"ChatChannel","c":7}"#,
            r#"{"channel":"ChatChannel","c":"g 1"}"#,
            r#"{"channel":"ChatChannel","c":7,"room":"g_1"}"#,
            r#"{"channel":"ChatChannel","to":"b b"}"#,
            r#"{"channel":"ChatChannel","c":"g_1","c":"g_2"}"#,
            r#"{"c":"g_1"}"#,
            r#"["ChatChannel"]"#,
            "ChatChannel",
            "",
        ] {
            assert_eq!(channel(text), Err(UnknownChannel), "{text}");
        }
    }

    proptest! {
        /// Spaces, order and escapes of the client stay.
        #[test]
        fn the_text_goes_back_byte_for_byte(extra in "\\PC{0,20}", spaces in " {0,3}") {
            let extra = quoted(&extra);
            let text = format!(r#"{{{spaces}"x\u0041":{extra},"channel":{spaces}"ChatChannel","c":"g_1"}}"#);
            let identifier = ChannelIdentifier::parse(&text).unwrap();
            prop_assert_eq!(&**identifier.text(), &text);
            prop_assert_eq!(serde_json::from_str::<String>(&identifier.quoted()).unwrap(), text);
        }
    }
}
