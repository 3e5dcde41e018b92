//! Members and bans of a conversation.

use crate::state_machine::ChatTable;
use protocol::response::{ConversationMember, MembersResponse, UserCards};
use protocol::rest::{BanEntryRow, BanList};
use protocol::{ConversationId, ConversationKind, CustomData, HistoryVisibility, Role, UserId};
use serde::{Deserialize, Serialize};
use storage::ScanOrder;

use super::live_rows::live_rows;
use super::{MemberQuery, QueryContext, QueryError, Result};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::rows::{BanRow, MemberRow, VersionedRow, corrupt};
use crate::state_machine::rules::Permission;
use crate::state_machine::{custom_data, keys, rules};

/// Query by a member for a page of the members.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MembersQuery {
    pub conv: ConversationId,
    pub user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub after: Option<UserId>,
    pub limit: u32,
}

/// Query by an owner or admin for a page of the banned users.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BansQuery {
    pub conv: ConversationId,
    pub user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub after: Option<UserId>,
    pub limit: u32,
}

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
    /// Custom data; `None` without data.
    pub data: Option<Box<str>>,
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

// === impl MembersQuery, MembersPage ===

impl MemberQuery for MembersQuery {
    type Page = MembersPage;

    fn conv(&self) -> &ConversationId {
        &self.conv
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn read_as(&self, rows: &impl RowReader, reader: &QueryContext) -> Result<MembersPage> {
        let MembersQuery {
            conv,
            user,
            after,
            limit,
        } = self;
        let with_cursors = reader.conv.members <= rules::LARGE_CONVERSATION;
        let (start, end) = keys::range_after(conv.as_str(), after.as_ref().map(UserId::as_str));
        let item = |key: &[u8], row: &[u8]| {
            let row = MemberRow::decode(row)?;
            // Former members leave a row.
            let Some(role) = row.role else { return Ok(None) };
            let member = user_of(conv, key)?;
            let (delivered, read) = match reader.conv.kind {
                // A blocked user sees the positions of the blocking peer as of the block.
                ConversationKind::Direct if member != *user => reader.me.sees(&row),
                _ => (row.delivered, row.read),
            };
            Ok(Some(MemberEntry {
                data: None,
                user: member,
                role,
                cursors: with_cursors.then_some(MemberCursors { delivered, read }),
            }))
        };
        let page = live_rows(
            rows,
            ChatTable::Member,
            start..end,
            *limit as usize,
            LOOKED_AT,
            item,
        )?;
        let next = page.next.map(|key| user_of(conv, &key)).transpose()?;
        let mut items = page.items;
        add_data(rows, conv, &mut items)?;
        Ok(MembersPage { items, next })
    }
}

impl MembersPage {
    /// Returns the protocol's form. The error is stored data that is no JSON object.
    pub fn page(self) -> std::result::Result<MembersResponse, String> {
        let items = self.items.into_iter().map(|member| {
            Ok(ConversationMember {
                user: member.user,
                role: member.role,
                delivered: member.cursors.map(|cursors| cursors.delivered),
                read: member.cursors.map(|cursors| cursors.read),
                data: member.data.map(CustomData::new).transpose()?,
            })
        });
        Ok(MembersResponse {
            items: items.collect::<std::result::Result<_, String>>()?,
            next: self.next.map(|user| user.as_str().to_owned()),
            users: UserCards::new(),
        })
    }
}

// === impl BansQuery, BansPage ===

impl MemberQuery for BansQuery {
    type Page = BansPage;

    fn conv(&self) -> &ConversationId {
        &self.conv
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn read_as(&self, rows: &impl RowReader, reader: &QueryContext) -> Result<BansPage> {
        rules::may(reader.conv.kind, reader.role, Permission::Bans).map_err(QueryError::Forbidden)?;
        let (conv, after) = (&self.conv, self.after.as_ref());
        let (start, end) = keys::second_range_after(conv.as_str(), after.map(UserId::as_str));
        let item = |key: &[u8], row: &[u8]| {
            let BanRow { by, at_ms } = BanRow::decode(row)?;
            let user = user_of(conv, key)?;
            Ok(Some(BanEntry { user, by, at_ms }))
        };
        let limit = self.limit as usize;
        let page = live_rows(rows, ChatTable::Member, start..end, limit, usize::MAX, item)?;
        let next = page.next.map(|key| user_of(conv, &key)).transpose()?;
        Ok(BansPage {
            items: page.items,
            next,
        })
    }
}

impl BansPage {
    /// Returns the protocol's form.
    #[must_use]
    pub fn page(self) -> BanList {
        let items = self.items.into_iter().map(|ban| BanEntryRow {
            user: ban.user,
            banned_by: ban.by,
            timestamp_ms: ban.at_ms,
        });
        BanList {
            items: items.collect(),
            next: self.next.map(|user| user.as_str().to_owned()),
        }
    }
}

/// Returns the role of `user`, `None` for a non-member.
#[cfg(test)]
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

/// Adds the custom data of the members of a page, which are in the order of their ids.
fn add_data(rows: &impl RowReader, conv: &ConversationId, items: &mut [MemberEntry]) -> Result<()> {
    let [first, ..] = items else { return Ok(()) };
    let start = keys::member_data(conv, &first.user);
    let mut end = keys::member_data(conv, &items[items.len() - 1].user);
    // The upper bound is exclusive, and the last member belongs to the page.
    end.push(0);
    // One scan for the page, because most members have no data.
    let found = rows.scan(ChatTable::Member, &start..&end, ScanOrder::Ascending, items.len())?;
    for (key, row) in &found {
        let user = user_of(conv, key)?;
        if let Ok(at) = items.binary_search_by(|entry| entry.user.cmp(&user)) {
            items[at].data = Some(custom_data::decode(row)?);
        }
    }
    Ok(())
}

fn user_of(conv: &ConversationId, key: &[u8]) -> Result<UserId> {
    let user = keys::rest(conv.as_str(), key).and_then(|user| UserId::parse(user).ok());
    user.ok_or_else(|| QueryError::Storage(corrupt("a malformed member key")))
}
