//! What the rows have to say about presence and typing, both of which live in memory.

use protocol::{ConvId, UserId};
use storage::Table;

use super::super::door::Rows;
use super::super::keys;
use super::super::rows::{BlockRow, MemberRow, Row, SeenRow};
use super::super::rules::{self, Act};
use super::{Denied, Result, Seat};

/// How a user stands to one who wants to see the user's presence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// When the user was seen last, in milliseconds since the epoch, as far as it was noted.
    pub seen: Option<u64>,
    /// Since when the user blocks the other.
    pub barred: Option<u64>,
}

/// Returns how `user` stands to `viewer`; both rows are in the user's shard.
pub fn standing(rows: &impl Rows, user: &UserId, viewer: &UserId) -> Result<Standing> {
    let seen = rows.get(Table::UserIndex, &keys::seen(user))?;
    let seen = seen.map(|row| SeenRow::decode(&row)).transpose()?;
    let block = rows.get(Table::UserIndex, &keys::block(user, viewer))?;
    let block = block.map(|row| BlockRow::decode(&row)).transpose()?;
    Ok(Standing {
        seen: seen.map(|row| row.at_ms),
        barred: block.filter(|row| row.on).map(|row| row.at_ms),
    })
}

/// Whether the others are to see that `user` types in `conv`: a member who may write there, in a conversation of at most
/// `members`, and where it is a direct one without a block, from whichever side.
pub fn may_type(rows: &impl Rows, conv: &ConvId, user: &UserId, members: u64) -> Result<bool> {
    match Seat::of(rows, conv, user) {
        Ok(seat) => Ok(rules::may(seat.conv.kind, seat.role, Act::Send).is_ok()
            && !seat.me.barred
            && !blocks_the_other(rows, conv, user, &seat)?
            && seat.conv.members <= members),
        Err(Denied::NotMember | Denied::Forbidden(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn blocks_the_other(rows: &impl Rows, conv: &ConvId, user: &UserId, seat: &Seat) -> Result<bool> {
    let Some(peer) = seat.conv.peer_of(user) else {
        return Ok(false);
    };
    let row = rows.get(Table::Member, &keys::member(conv, peer))?;
    let row = row.map(|row| MemberRow::decode(&row)).transpose()?;
    Ok(row.is_some_and(|row| row.barred))
}
