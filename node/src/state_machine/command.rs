//! Commands proposed to a shard, and their encoding: `version u8 | header | payload`.
//!
//! The header is a [`CommandHeader`]; the payload is the fields of a row of the [table of
//! commands](super::command_table).

use bytes::Bytes;
use cluster::{StateMachineError, UndecodableCommand};
use protocol::response::LastEvent;
use protocol::{ClientMessageId, ConversationId, UserId};
use serde::{Deserialize, Serialize};

use super::command_header::{CommandHeader, CommandSubject};
use super::command_table::{
    CommandGroup, CommandKind, ConversationOp, ErasureOp, LoginOp, OutboxOp, RetentionOp, UserOp, WebhookOp,
};
use super::login::LoginKey;

/// Version byte of the encoding.
pub(super) const VERSION: u8 = 2;

/// Change proposed for a user or by the node itself.
#[derive(Clone, PartialEq, Debug)]
pub enum ShardCommand {
    /// Change of a conversation, in its shard.
    Conversation {
        conversation: ConversationId,
        origin: CommandOrigin,
        op: ConversationOp,
    },
    /// Change of a user's rows, in the user's shard.
    User { user: UserId, op: UserOp },
    /// Step of a login, in the shard of the key.
    Login { key: LoginKey, op: LoginOp },
    /// Change of the outbox of a shard, or of its effects in another shard.
    Outbox(OutboxOp),
    /// Change of the webhook queue of a shard.
    Webhook(WebhookOp),
    /// Removal of old rows of a shard.
    Retention(RetentionOp),
    /// Erasure of a user in a conversation, in the shard of the conversation.
    Erasure(ErasureOp),
}

/// User and session of a conversation command.
#[derive(Clone, PartialEq, Debug)]
pub struct CommandOrigin {
    pub user: UserId,
    /// Idempotency key; `None` only for operations that append no event.
    pub cid: Option<ClientMessageId>,
    /// Session that does not receive the event, because it sent the command; 0 for none.
    pub exclude_session: u64,
}

/// Last message of a conversation, sent to the shard of its members.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ActivityNote {
    pub conv: ConversationId,
    pub last: LastEvent,
    /// True if the conversation has too many members for a note in every window.
    pub large: bool,
    /// Members whose rows are in the receiving shard.
    pub users: Vec<UserId>,
}

/// Command that this node cannot decode: of a newer node, or damaged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("command of version {version} and kind {kind:?} cannot be decoded: {reason}")]
pub struct CommandDecodeError {
    /// Version byte; 0 for an empty command.
    pub version: u8,
    /// Number of the kind; `None` if the version is unknown.
    pub kind: Option<u8>,
    pub(super) reason: String,
}

// === impl CommandDecodeError ===

impl From<CommandDecodeError> for StateMachineError {
    fn from(error: CommandDecodeError) -> StateMachineError {
        StateMachineError::Undecodable(UndecodableCommand {
            kind: error.kind,
            version: error.version,
            reason: error.reason,
        })
    }
}

// === impl ShardCommand ===

impl ShardCommand {
    /// Returns the kind of the command.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            ShardCommand::Conversation { op, .. } => op.kind(),
            ShardCommand::User { op, .. } => op.kind(),
            ShardCommand::Login { op, .. } => op.kind(),
            ShardCommand::Outbox(op) => op.kind(),
            ShardCommand::Webhook(op) => op.kind(),
            ShardCommand::Retention(op) => op.kind(),
            ShardCommand::Erasure(op) => op.kind(),
        }
    }

    /// Returns the bytes to propose.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // The body dominates the size of a send; reserving it avoids copies while the buffer grows.
        let room = match self {
            ShardCommand::Conversation {
                op: ConversationOp::Send { body, .. } | ConversationOp::Edit { body, .. },
                ..
            } => body.len() + 192,
            _ => 192,
        };
        let mut bytes = Vec::with_capacity(room);
        bytes.push(VERSION);
        let key = match self {
            ShardCommand::Login { key, .. } => key.bytes(),
            _ => Vec::new(),
        };
        let bytes = postcard::to_extend(&self.header(&key), bytes);
        let bytes = bytes.and_then(|bytes| match self {
            ShardCommand::Conversation { op, .. } => op.encode_payload(bytes),
            ShardCommand::User { op, .. } => op.encode_payload(bytes),
            ShardCommand::Login { op, .. } => op.encode_payload(bytes),
            ShardCommand::Outbox(op) => op.encode_payload(bytes),
            ShardCommand::Webhook(op) => op.encode_payload(bytes),
            ShardCommand::Retention(op) => op.encode_payload(bytes),
            ShardCommand::Erasure(op) => op.encode_payload(bytes),
        });
        bytes.expect("commands have only encodable fields").into()
    }

    fn header<'a>(&'a self, key: &'a [u8]) -> CommandHeader<'a> {
        let of_shard = CommandHeader {
            kind: self.kind(),
            subject: CommandSubject::Shard,
            user: None,
            cid: None,
            exclude_session: 0,
        };
        match self {
            ShardCommand::Conversation {
                conversation, origin, ..
            } => CommandHeader {
                subject: CommandSubject::Conversation(conversation.as_str()),
                user: Some(origin.user.as_str()),
                cid: origin.cid.as_ref().map(ClientMessageId::as_str),
                exclude_session: origin.exclude_session,
                ..of_shard
            },
            ShardCommand::User { user, .. } => CommandHeader {
                subject: CommandSubject::User,
                user: Some(user.as_str()),
                ..of_shard
            },
            ShardCommand::Login { .. } => CommandHeader {
                subject: CommandSubject::Login(key),
                ..of_shard
            },
            ShardCommand::Outbox(_)
            | ShardCommand::Webhook(_)
            | ShardCommand::Retention(_)
            | ShardCommand::Erasure(_) => of_shard,
        }
    }

    /// Decodes a proposed command.
    ///
    /// # Errors
    /// An unknown version or kind, a malformed field, or bytes behind the command. A replica must not skip the command:
    /// another version would apply it.
    pub fn decode(bytes: &[u8]) -> Result<ShardCommand, CommandDecodeError> {
        let (header, payload) = CommandHeader::split(bytes)?;
        let kind = header.kind;
        let malformed = |error: postcard::Error| header.error(error.to_string());
        Ok(match (kind.group(), header.subject) {
            (CommandGroup::Conversation, CommandSubject::Conversation(conversation)) => {
                let invalid = |error: protocol::InvalidId| header.error(error.to_string());
                ShardCommand::Conversation {
                    conversation: ConversationId::parse(conversation).map_err(invalid)?,
                    origin: CommandOrigin {
                        user: header.user()?,
                        cid: header
                            .cid
                            .map(ClientMessageId::parse)
                            .transpose()
                            .map_err(invalid)?,
                        exclude_session: header.exclude_session,
                    },
                    op: ConversationOp::decode_payload(kind, payload).map_err(malformed)?,
                }
            }
            (CommandGroup::User, CommandSubject::User) => ShardCommand::User {
                user: header.user()?,
                op: UserOp::decode_payload(kind, payload).map_err(malformed)?,
            },
            (CommandGroup::Login, CommandSubject::Login(key)) => ShardCommand::Login {
                key: LoginKey::parse(key).ok_or_else(|| header.error("malformed login key".to_owned()))?,
                op: LoginOp::decode_payload(kind, payload).map_err(malformed)?,
            },
            (CommandGroup::Outbox, CommandSubject::Shard) => {
                ShardCommand::Outbox(OutboxOp::decode_payload(kind, payload).map_err(malformed)?)
            }
            (CommandGroup::Webhook, CommandSubject::Shard) => {
                ShardCommand::Webhook(WebhookOp::decode_payload(kind, payload).map_err(malformed)?)
            }
            (CommandGroup::Retention, CommandSubject::Shard) => {
                ShardCommand::Retention(RetentionOp::decode_payload(kind, payload).map_err(malformed)?)
            }
            (CommandGroup::Erasure, CommandSubject::Shard) => {
                ShardCommand::Erasure(ErasureOp::decode_payload(kind, payload).map_err(malformed)?)
            }
            _ => return Err(header.error("subject of another group".to_owned())),
        })
    }
}
