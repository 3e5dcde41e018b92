//! Who is in a conversation.

use protocol::{ConvId, Role, UserId};
use serde::{Deserialize, Serialize};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{MemberRow, Row, corrupt};
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
    /// What has arrived.
    pub delivered: u64,
    /// What was read.
    pub read: u64,
}

/// Returns up to `limit` members above `after`, for `user`, who must be one.
pub fn members(
    rows: &impl Rows,
    conv: &ConvId,
    user: &UserId,
    after: Option<&UserId>,
    limit: usize,
) -> Result<MembersPage> {
    Seat::of(rows, conv, user)?;
    let (mut start, end) = keys::range_after(conv.as_str(), after.map(UserId::as_str));
    let mut items: Vec<MemberEntry> = Vec::new();
    loop {
        let found = rows.scan(Table::Member, &start..&end, Order::Ascending, limit + 1)?;
        for (key, row) in &found {
            let MemberRow {
                role: Some(role),
                delivered,
                read,
                ..
            } = MemberRow::decode(row)?
            else {
                continue;
            };
            if items.len() == limit {
                let next = items.last().map(|item| item.user.clone());
                return Ok(MembersPage { items, next });
            }
            items.push(MemberEntry {
                user: user_of(conv, key)?,
                role,
                delivered,
                read,
            });
        }
        match found.last() {
            Some((key, _)) if found.len() > limit => {
                start = key.to_vec();
                start.push(0);
            }
            _ => return Ok(MembersPage { items, next: None }),
        }
    }
}

/// Returns the role of `user`, `None` for one who is no member. For the owner's own checks.
pub fn role(rows: &impl Rows, conv: &ConvId, user: &UserId) -> Result<Option<Role>> {
    match Seat::of(rows, conv, user) {
        Ok(seat) => Ok(Some(seat.role)),
        Err(Denied::NotMember) => Ok(None),
        Err(error) => Err(error),
    }
}

fn user_of(conv: &ConvId, key: &[u8]) -> Result<UserId> {
    let user = key
        .get(conv.as_str().len() + 1..)
        .and_then(|user| std::str::from_utf8(user).ok());
    let user = user.and_then(|user| UserId::parse(user).ok());
    user.ok_or_else(|| Denied::Storage(corrupt("a malformed member key")))
}
