//! Members and bans of a conversation.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, ConversationKind, HistoryVisibility, Role, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::{QueryContext, QueryError, Result};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{BanRow, MemberRow, VersionedRow, corrupt};
use crate::state_machine::rules::Permission;
use crate::state_machine::{keys, rules};

/// Page of members, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MembersPage {
    pub items: Vec<MemberEntry>,
    /// Cursor of the next page: the last id read; `None` on the last page.
    pub next: Option<UserId>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MemberEntry {
    pub user: UserId,
    pub role: Role,
    /// Delivered and read cursor; `None` in conversations of more than 256 members.
    pub cursors: Option<MemberCursors>,
}

/// Delivered and read position of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberCursors {
    pub delivered: u64,
    pub read: u64,
}

/// Page of bans, in the order of the users' ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BansPage {
    pub items: Vec<BanEntry>,
    /// Cursor of the next page: the last id of this one; `None` on the last page.
    pub next: Option<UserId>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BanEntry {
    pub user: UserId,
    pub by: UserId,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
}

/// Maximum number of rows that one page scans: with many former members pages get shorter, not slower.
const LOOKED_AT: usize = 4_096;

/// Returns up to `limit` members above `after` to `user`, who must be a member.
pub fn members(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<MembersPage> {
    let context = QueryContext::of(rows, conv, user)?;
    let with_cursors = context.conv.members <= rules::LARGE_CONVERSATION;
    let (mut start, end) = keys::range_after(conv.as_str(), after.map(UserId::as_str));
    let mut items: Vec<MemberEntry> = Vec::new();
    let mut looked_at = 0;
    loop {
        let found = rows.scan(ChatTable::Member, &start..&end, ScanOrder::Ascending, limit + 1)?;
        for (key, row) in &found {
            let row = MemberRow::decode(row)?;
            // Former members leave a row, so a scan may yield fewer entries than rows and has to continue.
            let Some(role) = row.role else { continue };
            if items.len() == limit {
                let next = items.last().map(|item| item.user.clone());
                return Ok(MembersPage { items, next });
            }
            let member = user_of(conv, key)?;
            let (delivered, read) = match context.conv.kind {
                // A blocked user sees the positions of the blocking peer as of the block.
                ConversationKind::Direct if member != *user => context.me.sees(&row),
                _ => (row.delivered, row.read),
            };
            items.push(MemberEntry {
                user: member,
                role,
                cursors: with_cursors.then_some(MemberCursors { delivered, read }),
            });
        }
        looked_at += found.len();
        match found.last() {
            Some((key, _)) if found.len() > limit => {
                if looked_at >= LOOKED_AT {
                    // The cursor is the last row read, even if it is no member: the next page resumes behind it.
                    let next = Some(user_of(conv, key)?);
                    return Ok(MembersPage { items, next });
                }
                start = key.to_vec();
                start.push(0);
            }
            _ => return Ok(MembersPage { items, next: None }),
        }
    }
}

/// Returns up to `limit` bans above `after` to `user`, who must be an owner or admin.
pub fn bans(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<BansPage> {
    let context = QueryContext::of(rows, conv, user)?;
    rules::may(context.conv.kind, context.role, Permission::Bans).map_err(QueryError::Forbidden)?;
    let (start, end) = keys::second_range_after(conv.as_str(), after.map(UserId::as_str));
    let found = rows.scan(
        ChatTable::Member,
        &start..&end,
        ScanOrder::Ascending,
        limit.saturating_add(1),
    )?;
    let items = found.iter().take(limit).map(|(key, row)| {
        let BanRow { by, at_ms } = BanRow::decode(row)?;
        let user = user_of(conv, key)?;
        Ok(BanEntry { user, by, at_ms })
    });
    let items = items.collect::<Result<Vec<_>>>()?;
    let next = items
        .last()
        .filter(|_| found.len() > limit)
        .map(|item| item.user.clone());
    Ok(BansPage { items, next })
}

/// Returns the role of `user`, `None` for a non-member. Without a permission check, for the shard owner itself.
pub fn role(rows: &impl RowReader, conv: &ConversationId, user: &UserId) -> Result<Option<Role>> {
    match QueryContext::of(rows, conv, user) {
        Ok(context) => Ok(Some(context.role)),
        Err(QueryError::NotMember) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the first event of the membership of `user`, `None` for a non-member, and the history visibility. Without a
/// permission check, for the shard owner itself.
pub fn member_since(
    rows: &impl RowReader,
    conv: &ConversationId,
    user: &UserId,
) -> Result<(Option<u64>, HistoryVisibility)> {
    match QueryContext::of(rows, conv, user) {
        Ok(context) => Ok((Some(context.me.since), context.conv.history)),
        Err(QueryError::NotMember) => Ok((None, HistoryVisibility::Joined)),
        Err(error) => Err(error),
    }
}

fn user_of(conv: &ConversationId, key: &[u8]) -> Result<UserId> {
    let user = keys::rest(conv.as_str(), key).and_then(|user| UserId::parse(user).ok());
    user.ok_or_else(|| QueryError::Storage(corrupt("a malformed member key")))
}
