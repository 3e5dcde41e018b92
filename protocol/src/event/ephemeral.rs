//! Events that are not in any log: lost with the session, and told anew when it matters.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::Last;
use crate::close::CloseCode;
use crate::ids::{ConvId, UserId};

/// `receipt`: not durable, the cursors are.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Receipt)]
pub struct Receipt {
    /// The conversation.
    pub c: ConvId,
    /// Whose cursors.
    pub u: UserId,
    /// What has arrived there.
    pub delivered: u64,
    /// What was read there.
    pub read: u64,
}

/// `activity`: what is up to `last` did not come live to this session, what is above it may.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Activity)]
pub struct Activity {
    /// The conversation.
    pub c: ConvId,
    /// The end of its log.
    pub last: Last,
}

/// `resync`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Resync)]
pub struct Resync {
    /// The reason, for support.
    pub why: String,
}

/// `bye`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Bye)]
pub struct Bye {
    /// The close code that follows.
    pub code: u16,
    /// How long to wait before the next try, in milliseconds.
    pub retry_ms: u64,
}

/// `typing`: to be forgotten after a few seconds by the client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Typing)]
pub struct Typing {
    /// The conversation.
    pub c: ConvId,
    /// Who.
    pub u: UserId,
    /// Whether the user types, or has stopped.
    pub on: bool,
}

/// `presence`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::Presence)]
pub struct Presence {
    /// Who.
    pub u: UserId,
    /// Whether any device is connected.
    pub state: PresenceState,
    /// When the user was last seen, in milliseconds since the epoch; null if never.
    #[serde(default)]
    pub seen: Option<u64>,
}

/// Whether a user is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = event::PresenceState)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// At least one device is connected.
    Online,
    /// None is, and none was a moment ago.
    Offline,
}

// === impl Bye ===

impl Bye {
    /// Returns the announcement of a close.
    pub fn new(code: CloseCode, retry_ms: u64) -> Bye {
        Bye {
            code: code.code(),
            retry_ms,
        }
    }
}
