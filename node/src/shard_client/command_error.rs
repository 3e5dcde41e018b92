//! Results of a session's commands and queries: [`CommandAck`], a page, or a [`CommandError`].

use protocol::response::{Ack, ConversationList, ConversationSnapshot};
use protocol::{ClientMessageId, ConversationId, EncodedEvent, ErrorCode};

use crate::rpc::RpcError;
use crate::rpc::submit::{AppliedReply, CommandReply};

/// Result of a command that is synced on a majority and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandAck {
    pub conv: ConversationId,
    /// Seq of the event; 0 if the command makes none.
    pub s: u64,
    /// Message number; 0 if the event is no message.
    pub mn: u64,
    /// Time of the event in milliseconds since the Unix epoch.
    pub ts: u64,
    /// True if the command had been applied before. The other fields are the first result.
    pub dup: bool,
}

/// Refusal of a command or query. The code determines if the same request may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {msg}")]
pub struct CommandError {
    pub code: ErrorCode,
    pub msg: String,
    /// Delay before the next attempt in milliseconds; set on temporary refusals only.
    pub retry_ms: Option<u64>,
}

/// Conversation as a member sees it, with the missed events.
pub type ConvView = ConversationSnapshot;

/// Page of a user's conversation list.
pub type ListPage = ConversationList;

/// Missed events of one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncItem {
    pub conv: ConversationId,
    /// Last seq of the log. Live events above it follow `events`.
    pub as_of: u64,
    /// Ascending by seq, up to `as_of`.
    pub events: Vec<EncodedEvent>,
    /// True if the events do not continue the client's position; they are then the newest.
    pub gap: bool,
}

// === impl CommandAck, CommandError ===

impl CommandAck {
    /// Converts the result to the `ack` for the client; zeros are left out.
    #[must_use]
    pub fn ack(self, cid: ClientMessageId) -> Ack {
        let CommandAck { conv, s, mn, ts, dup } = self;
        Ack {
            conversation: conv,
            client_message_id: cid,
            seq: (s > 0).then_some(s),
            message_number: (mn > 0).then_some(mn),
            timestamp_ms: (ts > 0).then_some(ts),
            duplicate: dup,
        }
    }
}

impl CommandError {
    /// Creates a refusal without a retry delay.
    pub(crate) fn new(code: ErrorCode, msg: impl Into<String>) -> CommandError {
        CommandError {
            code,
            msg: msg.into(),
            retry_ms: None,
        }
    }

    /// Creates the temporary refusal for a full queue; the client retries after 200 ms.
    pub(crate) fn busy(msg: &str) -> CommandError {
        CommandError {
            code: ErrorCode::Busy,
            msg: msg.to_owned(),
            retry_ms: Some(200),
        }
    }

    /// Creates the refusal for an unreachable shard owner. Nothing was changed.
    pub(crate) fn unavailable() -> CommandError {
        let msg = "the shard owner of the conversation could not be reached".to_owned();
        CommandError {
            code: ErrorCode::Unavailable,
            msg,
            retry_ms: Some(1_000),
        }
    }

    /// Creates the refusal for an unknown outcome: the shard owner may have applied the command.
    pub(crate) fn unknown() -> CommandError {
        let msg = "the outcome is unknown: send the same cid again".to_owned();
        CommandError {
            code: ErrorCode::TimeoutUnknown,
            msg,
            retry_ms: Some(1_000),
        }
    }

    /// Creates the refusal for a non-member, and for a missing conversation, which are the same to clients.
    pub(crate) fn not_member() -> CommandError {
        CommandError::new(ErrorCode::NotMember, "not a member of this conversation")
    }

    /// Converts another node's refusal of a query to the client's error.
    pub(crate) fn of_query(refused: RpcError) -> CommandError {
        match refused {
            RpcError::NotMember => CommandError::not_member(),
            RpcError::Busy => CommandError::busy("the shard owner has too many queries"),
            RpcError::Forbidden(msg) => CommandError::new(ErrorCode::Forbidden, msg),
            RpcError::Bad(msg) => CommandError::new(ErrorCode::BadRequest, msg),
            // All of these end with a new owner or registration, so the client may retry.
            RpcError::NotOwner { .. }
            | RpcError::OutOfOrder
            | RpcError::Broken { .. }
            | RpcError::Unregistered => CommandError::unavailable(),
            RpcError::Failed(_) => {
                let msg = "the shard owner could not read its state".to_owned();
                CommandError {
                    code: ErrorCode::Internal,
                    msg,
                    retry_ms: Some(1_000),
                }
            }
        }
    }
}

// === impl CommandReply, AppliedReply ===

impl CommandReply {
    /// Creates a refusal by the state machine.
    pub(crate) fn refused(code: ErrorCode, msg: String) -> CommandReply {
        CommandReply::Refused { code, msg }
    }

    /// Converts the response to the result of the command.
    pub(crate) fn result(self) -> Result<AppliedReply, CommandError> {
        match self {
            CommandReply::Done(applied) => Ok(applied),
            CommandReply::Refused { code, msg } => {
                let retry_ms = code.temporary().then_some(500);
                Err(CommandError { code, msg, retry_ms })
            }
        }
    }
}

impl AppliedReply {
    /// Converts the response to the result of a command on conversation `conv`.
    pub(crate) fn ack(self, conv: ConversationId) -> Result<CommandAck, CommandError> {
        match self {
            AppliedReply::Conversation { seq, mn, ts, dup } => Ok(CommandAck {
                conv,
                s: seq.unwrap_or(0),
                mn: mn.unwrap_or(0),
                ts,
                dup,
            }),
            _ => Err(AppliedReply::unexpected()),
        }
    }

    /// Creates the error for a response to a command of another group, which only a defect causes.
    pub(crate) fn unexpected() -> CommandError {
        CommandError::new(
            ErrorCode::Internal,
            "the shard owner sent a response to another command",
        )
    }
}
