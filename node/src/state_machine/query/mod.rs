//! Queries of members on the applied state, answered by the shard owner.
//!
//! Each query reads one consistent [`storage::ReadView`], so the result reaches exactly up to the `last` that it names.
//! A non-member, a former member and a missing conversation all yield [`QueryError::NotMember`]. The system reads every
//! conversation.

use super::ChatTable;
#[cfg(any(test, feature = "testkit"))]
use protocol::ErrorCode;
use protocol::{ConversationId, Role, UserId};
use storage::Error;

use super::row_store::RowReader;
use super::rows::{ConvRow, MemberRow, VersionedRow};
use super::{keys, rules};

mod api_keys;
mod blocks;
mod consent;
mod device_cursors;
mod erasure;
mod export;
mod hooks;
mod index;
mod live_rows;
mod log;
mod login;
mod members;
mod messages;
mod missed;
mod presence;
mod profiles;
mod retain;
mod shard_query;
mod user_access;
mod view;

#[cfg(test)]
pub use self::{
    blocks::BlocksPage,
    device_cursors::StoredCursors,
    export::{ExportedConversation, ExportedDevice, ExportedLogin},
    index::IndexEntry,
    log::{HistoryPage, MissedEvents},
    members::{BansPage, MembersPage, role},
    messages::{MessageView, MessagesPage},
    view::MemberConversation,
};

pub use self::api_keys::{ApiKeyEntry, ApiKeysQuery, AuditEntry, AuditQuery};
pub use self::blocks::BlocksQuery;
pub use self::consent::{SharedWith, WishesQuery};
pub use self::device_cursors::DeviceCursorsQuery;
pub use self::erasure::{ErasureQuery, RunningErasure, running_erasures};
pub use self::export::{
    ExportedConversationQuery, ExportedConversationsQuery, ExportedMembership, ExportedUser,
    ExportedUserQuery,
};
pub use self::hooks::{QueuedWebhook, WebhookBacklog, queued};
pub(crate) use self::index::INDEX_LIMIT;
pub use self::index::{
    Direction, IndexAfter, IndexPage, IndexQuery, OutboxEntry, PlacedEntry, WatchedConversation,
    members_after, outbox, placed, watched, watches,
};
#[cfg(test)]
pub(in crate::state_machine) use self::log::newest;
pub use self::log::{HistoryRange, HistoryRequest, LoggedEvent, OpenQuery, SyncQuery, without_words};
pub use self::login::{DeviceTokenEntry, DevicesQuery, KeyringQuery, is_over};
pub use self::members::{BansQuery, MembersQuery, member_since};
pub use self::messages::MessagesQuery;
pub(crate) use self::missed::RANGE;
#[cfg(test)]
pub(in crate::state_machine) use self::missed::missed;
pub use self::missed::{MembershipSpan, Missed, RangeQuery, Ranged, SinceQuery, range};
pub use self::presence::{PresenceVisibility, may_type, standing};
pub use self::profiles::{ProfilesQuery, StoredProfile};
pub use self::retain::{RetentionPage, RetentionPolicies, RetentionPolicy, due};
pub use self::shard_query::{MemberQuery, MemberScatterQuery, ScatterQuery, ShardQuery};
pub use self::user_access::UserAccessQuery;
pub use self::view::{MentioningQuery, SummariesQuery, Summary, last};

/// Reason for which a query is refused.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The user is no member; the client receives `not_member`.
    #[error("not a member of this conversation")]
    NotMember,
    /// The role does not permit the query; the text is for the client.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The storage failed; the client receives `unavailable` or `internal`.
    #[error("state cannot be read: {0}")]
    Storage(#[from] Error),
}

type Result<T> = std::result::Result<T, QueryError>;

/// Conversation row, member row and role of the requesting user, who is a member.
pub struct QueryContext {
    conv: ConvRow,
    me: MemberRow,
    role: Role,
}

// === impl QueryError, QueryContext ===

impl QueryError {
    /// Returns the protocol's error code.
    #[cfg(any(test, feature = "testkit"))]
    pub fn code(&self) -> ErrorCode {
        match self {
            QueryError::NotMember => ErrorCode::NotMember,
            QueryError::Forbidden(_) => ErrorCode::Forbidden,
            // Temporary conditions: the client retries, here or on another node.
            QueryError::Storage(Error::Closed | Error::Full { .. }) => ErrorCode::Unavailable,
            QueryError::Storage(_) => ErrorCode::Internal,
        }
    }
}

impl QueryContext {
    pub(in crate::state_machine) fn of(
        rows: &impl RowReader,
        conv: &ConversationId,
        user: &UserId,
    ) -> Result<QueryContext> {
        // The member row goes first: a non-member costs one read, whether the conversation exists or not.
        let row = rows.get(ChatTable::Member, &keys::member(conv, user))?;
        let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
        let me = row.unwrap_or_else(MemberRow::non_member);
        if let Some(role) = rules::role_of(user, me.role)
            && let Some(conv) = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?
        {
            return Ok(QueryContext {
                conv: ConvRow::decode(&conv)?,
                me,
                role,
            });
        }
        Err(QueryError::NotMember)
    }
}
