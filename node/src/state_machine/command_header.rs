//! Header of an encoded command, borrowed from its bytes: enough to route the command and to answer its sender.

use protocol::{ClientMessageId, ConversationId, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::command::{CommandDecodeError, VERSION};
use super::command_table::{CommandGroup, CommandKind};
use super::login::LoginKey;

/// Part of an encoded command in front of the payload.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CommandHeader<'a> {
    pub(crate) kind: CommandKind,
    #[serde(borrow)]
    pub(crate) subject: CommandSubject<'a>,
    /// User of a conversation command, or the user whose rows change.
    pub(crate) user: Option<&'a str>,
    pub(crate) cid: Option<&'a str>,
    /// Session that gets no echo of the event; 0 for none.
    pub(crate) exclude_session: u64,
}

/// Rows that a command concerns. The order of the variants is their number in the encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum CommandSubject<'a> {
    /// Rows of the shard itself.
    Shard,
    /// Conversation with this id.
    Conversation(&'a str),
    /// Rows of the user of the header.
    User,
    /// Login with this key, see [`LoginKey::bytes`].
    Login(&'a [u8]),
}

// === impl CommandHeader ===

impl<'a> CommandHeader<'a> {
    /// Reads the header and checks the whole command, without copying it. An owner proposes only what passes, because
    /// no replica could apply anything else.
    pub(crate) fn check(bytes: &'a [u8]) -> Result<CommandHeader<'a>, CommandDecodeError> {
        let (header, payload) = CommandHeader::split(bytes)?;
        let user = header.user.is_some_and(UserId::is_valid);
        let subject = match (header.kind.group(), header.subject) {
            (CommandGroup::Conversation, CommandSubject::Conversation(conversation)) => {
                user && ConversationId::is_valid(conversation)
            }
            (CommandGroup::User, CommandSubject::User) => user,
            (CommandGroup::Login, CommandSubject::Login(key)) => LoginKey::parse(key).is_some(),
            (
                CommandGroup::Outbox
                | CommandGroup::Webhook
                | CommandGroup::Retention
                | CommandGroup::Erasure,
                CommandSubject::Shard,
            ) => true,
            _ => false,
        };
        if !subject {
            return Err(header.error("malformed header".to_owned()));
        }
        let checked = header.kind.check_payload(payload);
        checked.map_err(|error| header.error(error.to_string()))?;
        Ok(header)
    }

    /// Splits a command into its header and its payload.
    pub(super) fn split(bytes: &'a [u8]) -> Result<(CommandHeader<'a>, &'a [u8]), CommandDecodeError> {
        let error = |version, kind, reason: &str| CommandDecodeError {
            version,
            kind,
            reason: reason.to_owned(),
        };
        match bytes {
            [VERSION, rest @ ..] => {
                // The kind is the first byte of the header, so an unknown one can be named.
                let number = rest.first().copied();
                if number.is_some_and(|number| CommandKind::from_number(number).is_none()) {
                    return Err(error(VERSION, number, "unknown kind"));
                }
                let (header, payload) = postcard::take_from_bytes::<CommandHeader<'a>>(rest)
                    .map_err(|malformed| error(VERSION, number, &malformed.to_string()))?;
                if header.cid.is_none_or(ClientMessageId::is_valid) {
                    Ok((header, payload))
                } else {
                    Err(error(VERSION, number, "malformed client message id"))
                }
            }
            [version, ..] => Err(error(*version, None, "unknown version")),
            [] => Err(error(0, None, "empty command")),
        }
    }

    /// Returns the user of the header.
    pub(crate) fn user(&self) -> Result<UserId, CommandDecodeError> {
        let user = self.user.and_then(|user| UserId::parse(user).ok());
        user.ok_or_else(|| self.error("malformed user".to_owned()))
    }

    pub(crate) fn error(&self, reason: String) -> CommandDecodeError {
        CommandDecodeError {
            version: VERSION,
            kind: Some(self.kind as u8),
            reason,
        }
    }
}

// === impl CommandKind ===

impl Serialize for CommandKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for CommandKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CommandKind, D::Error> {
        let number = u8::deserialize(deserializer)?;
        CommandKind::from_number(number).ok_or_else(|| de::Error::custom("unknown kind"))
    }
}
