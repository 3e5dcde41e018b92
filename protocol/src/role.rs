//! Kinds of conversation, roles in one, how far back its members read, and why a membership changed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kind of a conversation, fixed when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Exactly two users, both [`Role::Member`], for ever.
    Direct,
    /// Many users who all write.
    Group,
    /// Few write, many read.
    Channel,
}

/// What a member may do; the order is the order of power, the most powerful first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, also on other owners.
    Owner,
    /// Everything on those below an admin.
    Admin,
    /// Writes.
    Member,
    /// Reads.
    Reader,
}

/// How far back a member may read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum History {
    /// From its own joining.
    Joined,
    /// Everything.
    All,
}

/// Who may make a user a member of groups and channels. Whom the user blocks may not in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupInvite {
    /// Everybody.
    #[default]
    Anyone,
    /// Those who are in a group with the user.
    SharesConversation,
    /// Nobody.
    Nobody,
}

/// Why a `member` event happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// An initial member of a new conversation.
    Create,
    /// Came by itself.
    Join,
    /// Went by itself.
    Leave,
    /// Brought in by another.
    Invite,
    /// Put out by another.
    Kick,
    /// Put out and kept out.
    Ban,
    /// Permitted to come again.
    Unban,
    /// The role changed.
    Role,
}

// === impl Kind, Role, Why ===

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 3] = [Kind::Direct, Kind::Group, Kind::Channel];

    /// Returns the prefix of the ids of this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Direct => "d_",
            Kind::Group => "g_",
            Kind::Channel => "ch_",
        }
    }

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Group => "group",
            Kind::Channel => "channel",
        }
    }
}

impl Role {
    /// Every role, the most powerful first.
    pub const ALL: [Role; 4] = [Role::Owner, Role::Admin, Role::Member, Role::Reader];

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Member => "member",
            Role::Reader => "reader",
        }
    }
}

impl Why {
    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Why::Create => "create",
            Why::Join => "join",
            Why::Leave => "leave",
            Why::Invite => "invite",
            Why::Kick => "kick",
            Why::Ban => "ban",
            Why::Unban => "unban",
            Why::Role => "role",
        }
    }
}
