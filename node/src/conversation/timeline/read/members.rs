//! Who is in a conversation, and who is kept out of it.

use protocol::{ConvId, History, Kind, Role, UserId};
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{BanRow, MemberRow, Row, corrupt};
use super::super::rules::{self, Act};
use super::{Denied, Result, Seat};

/// A page of members, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MembersPage {
    /// The members.
    pub items: Vec<MemberEntry>,
    /// Where the next page begins.
    pub next: Option<UserId>,
}

/// A member.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MemberEntry {
    /// The user.
    pub user: UserId,
    /// The role.
    pub role: Role,
    /// What has arrived and what was read; only in conversations of up to 256 members.
    pub cursors: Option<Cursors>,
}

/// How far a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cursors {
    /// What has arrived.
    pub delivered: u64,
    /// What was read.
    pub read: u64,
}

/// A page of those who are banned, in the order of their ids.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BansPage {
    /// The bans.
    pub items: Vec<BanEntry>,
    /// Where the next page begins.
    pub next: Option<UserId>,
}

/// A ban.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BanEntry {
    /// Who is kept out.
    pub user: UserId,
    /// Who said so.
    pub by: UserId,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Rows that one page looks at before it ends: where many have left, pages are shorter, not slower.
const LOOKED_AT: usize = 4_096;

/// Returns up to `limit` members above `after`, for `user`, who must be one.
pub fn members(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<MembersPage> {
    let seat = Seat::of(rows, conv, user)?;
    let shown = seat.conv.members <= rules::CURSORS_SHOWN;
    let (mut start, end) = keys::range_after(conv.as_str(), after.map(UserId::as_str));
    let mut items: Vec<MemberEntry> = Vec::new();
    let mut looked_at = 0;
    loop {
        let found = rows.scan(Table::Member, &start..&end, Order::Ascending, limit + 1)?;
        for (key, row) in &found {
            let row = MemberRow::decode(row)?;
            let Some(role) = row.role else { continue };
            if items.len() == limit {
                let next = items.last().map(|item| item.user.clone());
                return Ok(MembersPage { items, next });
            }
            let member = user_of(conv, key)?;
            let (delivered, read) = match seat.conv.kind {
                Kind::Direct if member != *user => seat.me.sees(&row),
                _ => (row.delivered, row.read),
            };
            items.push(MemberEntry {
                user: member,
                role,
                cursors: shown.then_some(Cursors { delivered, read }),
            });
        }
        looked_at += found.len();
        match found.last() {
            Some((key, _)) if found.len() > limit => {
                if looked_at >= LOOKED_AT {
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

/// Returns up to `limit` of those who are banned, above `after`, for `user`, who must be an owner or admin.
pub fn bans(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<BansPage> {
    let seat = Seat::of(rows, conv, user)?;
    rules::may(seat.conv.kind, seat.role, Act::Bans).map_err(Denied::Forbidden)?;
    let (start, end) = keys::second_range_after(conv.as_str(), after.map(UserId::as_str));
    let found = rows.scan(
        Table::Member,
        &start..&end,
        Order::Ascending,
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

/// Returns the role of `user`, `None` for one who is no member. For the owner's own checks.
pub fn role(rows: &impl Rows, conv: &ConvId, user: &UserId) -> Result<Option<Role>> {
    match Seat::of(rows, conv, user) {
        Ok(seat) => Ok(Some(seat.role)),
        Err(Denied::NotMember) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the event from which on `user` is a member, `None` for one who is none, and how far back members read. For the
/// owner's own checks.
pub fn member_since(rows: &impl Rows, conv: &ConvId, user: &UserId) -> Result<(Option<u64>, History)> {
    match Seat::of(rows, conv, user) {
        Ok(seat) => Ok((Some(seat.me.since), seat.conv.history)),
        Err(Denied::NotMember) => Ok((None, History::Joined)),
        Err(error) => Err(error),
    }
}

fn user_of(conv: &ConvId, key: &[u8]) -> Result<UserId> {
    let user = keys::rest(conv.as_str(), key).and_then(|user| UserId::parse(user).ok());
    user.ok_or_else(|| Denied::Storage(corrupt("a malformed member key")))
}
