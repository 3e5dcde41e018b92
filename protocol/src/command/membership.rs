//! Commands about a conversation and who is in it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, bad, longest, most, title};
use crate::ids::{Cid, ConvId, UserId};
use crate::limits;
use crate::role::{History, Kind, Role};

/// `create`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Create)]
pub struct Create {
    /// The kind.
    pub kind: Kind,
    /// The idempotency key, unique per user.
    pub cid: Cid,
    /// The other initial members; for a direct conversation exactly one.
    #[serde(default)]
    #[schema(max_items = 256)]
    pub members: Vec<UserId>,
    /// The title; direct conversations have none.
    #[schema(max_length = 256)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// `invite`, `kick`, `ban` and `unban`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::ActOn)]
pub struct ActOn {
    /// The conversation.
    pub c: ConvId,
    /// The idempotency key.
    pub cid: Cid,
    /// The user concerned.
    pub who: UserId,
}

/// `leave`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Leave)]
pub struct Leave {
    /// The conversation.
    pub c: ConvId,
    /// The idempotency key.
    pub cid: Cid,
}

/// `join`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Join)]
pub struct Join {
    /// The conversation.
    pub c: ConvId,
    /// The idempotency key.
    pub cid: Cid,
}

/// `role`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::SetRole)]
pub struct SetRole {
    /// The conversation.
    pub c: ConvId,
    /// The idempotency key.
    pub cid: Cid,
    /// The member concerned.
    pub who: UserId,
    /// The role from now on.
    pub role: Role,
}

/// `set`: at least one of the others is there. `title` and `history` are for everybody and make an event, `muted` and
/// `pinned` are the user's own and make none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Set)]
pub struct Set {
    /// The conversation.
    pub c: ConvId,
    /// The idempotency key.
    pub cid: Cid,
    /// The title; an empty one removes it.
    #[schema(max_length = 256)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How far back a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Whether the user wants no alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// Whether the user keeps the conversation on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
}

/// `members`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Members)]
pub struct Members {
    /// The conversation.
    pub c: ConvId,
    /// The `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
    /// See [`limits::page`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

// === impl Create, Set, Members ===

impl Create {
    pub(super) fn check(&self) -> Result<(), Reject> {
        most("members", self.members.len(), limits::MEMBERS_AT_CREATE)?;
        title(self.title.as_deref())
    }
}

impl Set {
    /// Tells whether it changes something for everybody, not only for the user.
    pub fn is_shared(&self) -> bool {
        self.title.is_some() || self.history.is_some()
    }

    pub(super) fn check(&self) -> Result<(), Reject> {
        if !self.is_shared() && self.muted.is_none() && self.pinned.is_none() {
            return Err(bad("one of title, history, muted and pinned must be given"));
        }
        title(self.title.as_deref())
    }
}

impl Members {
    pub(super) fn check(&self) -> Result<(), Reject> {
        longest("cursor", self.cursor.as_deref(), limits::CURSOR_BYTES)
    }
}
