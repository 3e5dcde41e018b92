//! Conversation kinds, roles, history visibility and kinds of membership changes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kind of a conversation, fixed at its creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConversationKind {
    /// A conversation of exactly two users, both with the role `member` for good.
    Direct,
    /// A conversation of many users, who all may write by default.
    Group,
    /// A conversation with few writers and many readers, which users may join themselves.
    Channel,
}

/// Role of a member. Roles are ordered from the most powerful to the least.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything, also to other owners.
    Owner,
    /// May do everything to members with a role below admin.
    Admin,
    /// May read and write messages.
    Member,
    /// May read messages and not write.
    Reader,
}

/// Part of the history that a member may read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HistoryVisibility {
    /// Events since the member's own joining.
    Joined,
    /// All events of the conversation.
    All,
}

/// Users who may add a user to groups and channels. Blocked users never may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupInvite {
    /// Any user may add the user.
    #[default]
    Anyone,
    /// Users who share a group with the user may add the user.
    SharesConversation,
    /// No other user may add the user.
    #[serde(rename = "nobody")]
    NoOne,
}

/// Change of a membership, reported by a `member` event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MembershipChange {
    /// The user is an initial member of a new conversation.
    Create,
    /// The user joined without an invitation.
    Join,
    /// The user left the conversation.
    Leave,
    /// Another member added the user.
    Invite,
    /// Another member removed the user.
    Kick,
    /// Another member removed the user and banned the user from joining again.
    Ban,
    /// A ban of the user was lifted.
    Unban,
    /// The role of the member changed.
    Role,
}

// === impl ConversationKind, Role, MembershipChange ===

impl ConversationKind {
    /// All kinds of conversations.
    pub const ALL: [ConversationKind; 3] = [
        ConversationKind::Direct,
        ConversationKind::Group,
        ConversationKind::Channel,
    ];

    /// Returns the prefix of conversation ids of this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            ConversationKind::Direct => "d_",
            ConversationKind::Group => "g_",
            ConversationKind::Channel => "ch_",
        }
    }

    /// Returns the kind's name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ConversationKind::Direct => "direct",
            ConversationKind::Group => "group",
            ConversationKind::Channel => "channel",
        }
    }
}

impl Role {
    /// Every role, the most powerful first.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Admin, Role::Member, Role::Reader];

    /// Returns the role's name in JSON.
    // Must equal the serde names: the event encoders write them without a serialiser.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Member => "member",
            Role::Reader => "reader",
        }
    }
}

impl MembershipChange {
    /// Returns the change's name in JSON.
    // Must equal the serde names, as for the roles.
    pub fn as_str(self) -> &'static str {
        match self {
            MembershipChange::Create => "create",
            MembershipChange::Join => "join",
            MembershipChange::Leave => "leave",
            MembershipChange::Invite => "invite",
            MembershipChange::Kick => "kick",
            MembershipChange::Ban => "ban",
            MembershipChange::Unban => "unban",
            MembershipChange::Role => "role",
        }
    }
}
