//! Events behind a position: for nodes that missed a part of the fan-out, and for sessions that continue.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::log::{LoggedEvent, placed};
use super::view::last;
use super::{QueryError, Result, ShardQuery};
use crate::state_machine::keys;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{ConvRow, MemberRow, VersionedRow};

/// Events of one conversation in the response to `Range`, `Missed` or a registration.
pub(crate) const RANGE: usize = 256;

/// Query by a subscription manager for a range of a log, without a membership check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RangeQuery {
    pub conv: ConversationId,
    /// Exclusive lower bound of the seqs.
    pub after: u64,
}

/// Query for the events that a user, a member at that position, has missed since.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SinceQuery {
    pub conv: ConversationId,
    pub user: UserId,
    /// Seq of the last event that the user has.
    pub after: u64,
}

/// Range of a log, the result of a [`RangeQuery`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ranged {
    /// Last seq of the log.
    pub last: u64,
    /// Events from the first retained one above `after`; bounded, so they may end before `last`.
    pub events: Vec<LoggedEvent>,
}

/// Events that a user missed behind a position, for a resumed session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// Events behind the position, ascending and without a gap; possibly not all.
    pub events: Vec<LoggedEvent>,
    /// Position of the last event visible to the user.
    pub last: u64,
    /// True if the following events are trimmed or not visible to the user; `events` is empty then.
    pub gap: bool,
    /// Membership at the time of the read.
    pub membership: MembershipSpan,
}

/// Fate of the membership that a user had at some position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MembershipSpan {
    /// The same membership continues.
    Same,
    /// It ended, and another one began.
    Renewed,
    /// It ended, and none followed.
    Over,
}

// === impl RangeQuery, SinceQuery ===

impl ShardQuery for RangeQuery {
    type Page = Ranged;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.conv
    }

    fn read(&self, rows: &impl RowReader) -> Result<Ranged> {
        let last = last(rows, &self.conv)?.map_or(0, |(last, _)| last.seq);
        let events = range(rows, &self.conv, self.after, RANGE)?;
        Ok(Ranged { last, events })
    }
}

impl ShardQuery for SinceQuery {
    type Page = Missed;

    fn routing_key(&self) -> impl AsRef<[u8]> {
        &self.conv
    }

    fn read(&self, rows: &impl RowReader) -> Result<Missed> {
        missed(rows, &self.conv, &self.user, self.after, RANGE)
    }
}

/// Returns up to `limit` of the oldest events above `after` without a permission check: for nodes that missed a part of
/// the fan-out, never for a user. The first event is not `after + 1` if that was trimmed.
pub fn range(
    rows: &impl RowReader,
    conv: &ConversationId,
    after: u64,
    limit: usize,
) -> Result<Vec<LoggedEvent>> {
    let Some(row) = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())? else {
        return Ok(Vec::new());
    };
    // Rows below may still exist while they are swept; they must not be served.
    let floor = ConvRow::decode(&row)?.floor();
    placed(
        rows,
        conv,
        // One below the maximum, because the end of the key range is exclusive.
        (after.saturating_add(1).max(floor), u64::MAX - 1),
        ScanOrder::Ascending,
        limit,
        floor,
    )
}

/// Returns up to `limit` events for `user`, who has everything up to `after` and was a member there. They follow
/// without a gap, up to the event that ended the membership if one did. If the next event is trimmed or was never
/// visible, the result is a gap without events. `after` = 0 starts with the membership.
pub(in crate::state_machine) fn missed(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    after: u64,
    limit: usize,
) -> Result<Missed> {
    let member = rows.get(ChatTable::Member, &keys::member(conv, user))?;
    let row = rows.get(ChatTable::Conversation, conv.as_str().as_bytes())?;
    let (Some(member), Some(row)) = (member, row) else {
        return Err(QueryError::NotMember);
    };
    let (me, row) = (MemberRow::decode(&member)?, ConvRow::decode(&row)?);
    // A session without any position starts at its membership, not at the start of the log.
    let after = if after == 0 {
        me.since.saturating_sub(1)
    } else {
        after
    };
    let next = after.saturating_add(1);
    let (membership, last) = match me.role {
        // A membership that covers `next` is the one of the position; a later start means that it ended in between.
        Some(_) if me.since <= next => (MembershipSpan::Same, row.last_s),
        Some(_) => (MembershipSpan::Renewed, after),
        None => (MembershipSpan::Over, me.until),
    };
    let gap = next < me.since.max(row.floor()) && after < last || membership == MembershipSpan::Renewed;
    let events = if gap {
        Vec::new()
    } else {
        placed(
            rows,
            conv,
            (next, last),
            ScanOrder::Ascending,
            limit,
            me.floor(&row),
        )?
    };
    Ok(Missed {
        // An empty result below `last` also counts as a gap: the session must not repeat a read that yields nothing.
        gap: gap || events.is_empty() && after < last,
        events,
        last,
        membership,
    })
}
