//! Commands that create or change a conversation and its members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reject, bad, longest, most, title};
use crate::ids::{ClientMessageId, ConversationId, UserId};
use crate::limits;
use crate::role::{ConversationKind, HistoryVisibility, Role};

/// Fields of the `create` command, which creates a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Create)]
pub struct CreateConversation {
    /// Kind of the conversation: `direct`, `group` or `channel`.
    pub kind: ConversationKind,
    /// Idempotency key, unique per user: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The other initial members, at most 256; for a direct conversation exactly one.
    #[serde(default)]
    #[schema(max_items = 256)]
    pub members: Vec<UserId>,
    /// Title, at most 256 bytes; direct conversations have none.
    #[schema(max_length = 256)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Fields of the `invite`, `kick`, `ban` and `unban` commands, which act on one user.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::ActOn)]
pub struct MemberAction {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The user on whom the command acts.
    #[serde(rename = "who")]
    pub member: UserId,
}

/// Fields of the `leave` command, which ends the user's membership.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Leave)]
pub struct LeaveConversation {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
}

/// Fields of the `join` command, which makes the user a member of a channel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Join)]
pub struct JoinConversation {
    /// Id of the channel.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
}

/// Fields of the `role` command, which changes the role of a member.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::SetRole)]
pub struct SetRole {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// The member whose role changes.
    #[serde(rename = "who")]
    pub member: UserId,
    /// The new role of the member.
    pub role: Role,
}

/// Fields of the `set` command; at least one setting must be given. `title` and `history` apply to all members and
/// produce an event. `muted` and `pinned` apply to the user only and produce none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Set)]
pub struct UpdateConversation {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// Idempotency key: a repeated command with the same key has no second effect.
    #[serde(rename = "cid")]
    pub client_message_id: ClientMessageId,
    /// New title, at most 256 bytes; an empty one removes the title.
    #[schema(max_length = 256)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// History that a new member may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryVisibility>,
    /// True if notifications are muted for this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// True if this user's clients show the conversation on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
}

/// Fields of the `members` command, which lists the members of a conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = command::Members)]
pub struct ListMembers {
    /// Id of the conversation.
    #[serde(rename = "c")]
    pub conversation: ConversationId,
    /// The `next` of the previous page; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub cursor: Option<String>,
    /// Page size, 1 to 100; 50 if absent. A larger value is reduced to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

// === impl CreateConversation, UpdateConversation, ListMembers ===

impl CreateConversation {
    pub(super) fn check(&self) -> Result<(), Reject> {
        most("members", self.members.len(), limits::MEMBERS_AT_CREATE)?;
        title(self.title.as_deref())
    }
}

impl UpdateConversation {
    /// Returns whether the command changes a setting of all members, and not only of the user.
    pub fn is_shared(&self) -> bool {
        self.title.is_some() || self.history.is_some()
    }

    pub(super) fn check(&self) -> Result<(), Reject> {
        if !self.is_shared() && self.muted.is_none() && self.pinned.is_none() {
            return Err(bad(
                "at least one of title, history, muted and pinned must be given",
            ));
        }
        title(self.title.as_deref())
    }
}

impl ListMembers {
    pub(super) fn check(&self) -> Result<(), Reject> {
        longest("cursor", self.cursor.as_deref(), limits::CURSOR_BYTES)
    }
}
