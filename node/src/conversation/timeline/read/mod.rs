//! What a member may see, for the owner of the conversation to answer with.
//!
//! Each question takes one consistent look ([`storage::View`]), so that what is returned reaches exactly up to the
//! `last` that it names. A stranger, a former member and a conversation that doesn't exist all give
//! [`Denied::NotMember`].

use protocol::{ConvId, ErrorCode, Role, UserId};
use storage::{Error, Table};

use super::door::Rows;
use super::keys;
use super::rows::{ConvRow, MemberRow, Row};

mod blocks;
mod consent;
mod hooks;
mod index;
mod log;
mod login;
mod members;
mod messages;
mod presence;
mod retain;
mod view;

pub use blocks::{BlocksPage, blocks};
pub use consent::{shared_with, wishes};
pub use hooks::{Away, ToTell, Waiting, to_tell};
pub use index::{
    Direction, IndexEntry, IndexPage, Pending, Placed, Watched, index, members_after, outbox, placed,
    watched, watches,
};
pub use log::{
    HistoryPage, Logged, Membership, Missed, Page, Window, history, missed, open, range, sync, without_words,
};
pub use login::{is_over, keyring};
pub use members::{BanEntry, BansPage, Cursors, MemberEntry, MembersPage, bans, member_since, members, role};
pub use messages::{Folded, MessagesPage, messages};
pub use presence::{Standing, may_type, standing};
pub use retain::{Due, Policies, Policy, due};
pub use view::{ConvView, PeerView, Summary, last, mentioning, summary};

/// Why a question is not answered.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Not a member now; say `not_member`.
    #[error("not a member of this conversation")]
    NotMember,
    /// A member may not see that; the text is for the client.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The storage failed; say `unavailable` or `internal`.
    #[error("cannot read: {0}")]
    Storage(#[from] Error),
}

type Result<T> = std::result::Result<T, Denied>;

/// A conversation and one of its members.
struct Seat {
    conv: ConvRow,
    me: MemberRow,
    role: Role,
}

// === impl Denied, Seat ===

impl Denied {
    /// Returns the code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Denied::NotMember => ErrorCode::NotMember,
            Denied::Forbidden(_) => ErrorCode::Forbidden,
            Denied::Storage(Error::Closed | Error::Full { .. }) => ErrorCode::Unavailable,
            Denied::Storage(_) => ErrorCode::Internal,
        }
    }
}

impl Seat {
    fn of(rows: &impl Rows, conv: &ConvId, user: &UserId) -> Result<Seat> {
        if let Some(member) = rows.get(Table::Member, &keys::member(conv, user))?
            && let me = MemberRow::decode(&member)?
            && let Some(role) = me.role
            && let Some(conv) = rows.get(Table::Conversation, conv.as_str().as_bytes())?
        {
            return Ok(Seat {
                conv: ConvRow::decode(&conv)?,
                me,
                role,
            });
        }
        Err(Denied::NotMember)
    }
}
