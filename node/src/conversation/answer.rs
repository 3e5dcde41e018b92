//! What a session gets back: [`Done`], a page, or a [`Refusal`].

use protocol::answer::{Ack, Conv, Inbox};
use protocol::{Cid, ConvId, ErrorCode, RawEvent};

use crate::rpc::Refused;
use crate::rpc::submit::Answer;

/// A command is on a majority's disks and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The conversation: the command's, or for [`Op::Reserve`](super::timeline::Op::Reserve) the reserved one.
    pub conv: ConvId,
    /// The event's place in the log, 0 if the command makes none.
    pub s: u64,
    /// The message's ordinal, 0 if the event is no message.
    pub mn: u64,
    /// The event's time, in milliseconds since the epoch.
    pub ts: u64,
    /// The command had been done before: this is the first result.
    pub dup: bool,
}

/// A command or a question was refused. The code says whether the same may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {msg}")]
pub struct Refusal {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub msg: String,
    /// When to try again, in milliseconds; on temporary refusals.
    pub retry_ms: Option<u64>,
}

/// A conversation as a member sees it, with what was missed.
pub type ConvView = Conv;

/// A page of the inbox.
pub type InboxPage = Inbox;

/// A page of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryPage {
    /// Events in ascending order.
    pub events: Vec<RawEvent>,
    /// Whether the log goes on in the direction asked for.
    pub more: bool,
    /// The events don't begin behind the place asked for: what was there is gone, or is not for this member.
    pub gap: bool,
}

/// What was missed in one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct SyncItem {
    /// The conversation.
    pub conv: ConvId,
    /// The end of the log: live events above it are applied after `events`.
    pub as_of: u64,
    /// Events in ascending order, up to `as_of`.
    pub events: Vec<RawEvent>,
    /// The events don't begin behind what the client has: they are the newest.
    pub gap: bool,
}

// === impl Done, Refusal ===

impl Done {
    /// What the client is told.
    #[must_use]
    pub fn ack(self, cid: Cid) -> Ack {
        let Done { conv, s, mn, ts, dup } = self;
        Ack {
            c: conv,
            cid,
            s: (s > 0).then_some(s),
            mn: (mn > 0).then_some(mn),
            ts: (ts > 0).then_some(ts),
            dup,
        }
    }
}

impl Refusal {
    /// A final refusal.
    pub(crate) fn new(code: ErrorCode, msg: impl Into<String>) -> Refusal {
        Refusal {
            code,
            msg: msg.into(),
            retry_ms: None,
        }
    }

    /// A queue is full.
    pub(crate) fn busy(msg: &str) -> Refusal {
        Refusal {
            code: ErrorCode::Busy,
            msg: msg.to_owned(),
            retry_ms: Some(200),
        }
    }

    /// No owner could be reached, and nothing was changed.
    pub(crate) fn unavailable() -> Refusal {
        let msg = "the conversation's owner could not be reached".to_owned();
        Refusal {
            code: ErrorCode::Unavailable,
            msg,
            retry_ms: Some(1_000),
        }
    }

    /// The owner may have done it.
    pub(crate) fn unknown() -> Refusal {
        let msg = "the outcome is not known: send the same cid again".to_owned();
        Refusal {
            code: ErrorCode::TimeoutUnknown,
            msg,
            retry_ms: Some(1_000),
        }
    }

    /// A stranger asks, or there is no such conversation.
    pub(crate) fn not_member() -> Refusal {
        Refusal::new(ErrorCode::NotMember, "not a member of this conversation")
    }

    /// What another node's refusal of a question means to the client.
    pub(crate) fn of_question(refused: Refused) -> Refusal {
        match refused {
            Refused::NotMember => Refusal::not_member(),
            Refused::Busy => Refusal::busy("the owner has too many questions to answer"),
            Refused::Forbidden(msg) => Refusal::new(ErrorCode::Forbidden, msg),
            Refused::Bad(msg) => Refusal::new(ErrorCode::BadRequest, msg),
            Refused::NotOwner { .. }
            | Refused::OutOfOrder
            | Refused::Broken { .. }
            | Refused::Unregistered => Refusal::unavailable(),
            Refused::Failed(_) => {
                let msg = "the owner could not read its rows".to_owned();
                Refusal {
                    code: ErrorCode::Internal,
                    msg,
                    retry_ms: Some(1_000),
                }
            }
        }
    }
}

// === impl Answer ===

impl Answer {
    /// A refusal by the rules.
    pub(crate) fn refused(code: ErrorCode, msg: String) -> Answer {
        let at = ErrorCode::ALL
            .iter()
            .position(|known| *known == code)
            .unwrap_or(0);
        Answer::Refused {
            code: u8::try_from(at).unwrap_or(0),
            msg,
        }
    }

    /// What the session is told of a command that concerned `conv`.
    pub(crate) fn result(self, conv: ConvId) -> Result<Done, Refusal> {
        match self {
            Answer::Done {
                seq,
                mn,
                ts,
                dup,
                reserved,
            } => Ok(Done {
                conv: reserved.unwrap_or(conv),
                s: seq,
                mn,
                ts,
                dup,
            }),
            Answer::Refused { code, msg } => {
                let code = ErrorCode::ALL
                    .get(usize::from(code))
                    .copied()
                    .unwrap_or(ErrorCode::Internal);
                let retry_ms = code.temporary().then_some(500);
                Err(Refusal { code, msg, retry_ms })
            }
        }
    }
}
