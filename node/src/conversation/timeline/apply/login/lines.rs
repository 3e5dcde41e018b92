//! Lines of refresh tokens: each token is used once and replaced by the next, so that a stolen one shows.
//!
//! Whoever shows a token that has been replaced ends the line, for the thief and for the user: one of the two has used
//! it before, and nobody can say which. One exception: the token before the present one, for a short time, as long as
//! the present one has not been used. It is how a client asks again that never got the answer. The token that was in
//! that answer is void then, so if it was a thief who asked, the user's next refresh ends the line.

use protocol::{Cid, ConvId};
use storage::{Order, Table};

use super::super::super::door::RowsMut;
use super::super::super::keys;
use super::super::super::login::{Hidden, LineRow, verdict};
use super::super::super::outcome::{Applied, Effect};
use super::super::super::rows::Row;
use super::super::super::work::Work;
use super::super::Result;
use super::{answer, expiry, no, yes};

/// Lines of one user; the one that ends first makes room for another.
const LINES: usize = 64;

/// Opens a line.
pub(super) fn open(
    work: &mut Work<'_, impl RowsMut>,
    user: &ConvId,
    id: &Cid,
    token: &Hidden,
    valid_ms: u64,
) -> Result<Applied> {
    let key = keys::line(user, id);
    if work.rows.get(Table::UserIndex, &key)?.is_some() {
        return yes(work);
    }
    let mut lines = all(work, user)?;
    lines.sort_by(|a, b| (a.1.expires_ms, &a.0).cmp(&(b.1.expires_ms, &b.0)));
    let excess = (lines.len() + 1).saturating_sub(LINES);
    for (key, line) in &lines[..excess] {
        expiry::remove(work.rows, key, line.expires_ms);
    }
    let expires_ms = work.now_ms.saturating_add(valid_ms);
    let row = LineRow {
        expires_ms,
        opened_ms: work.now_ms,
        token: token.clone(),
        before: None,
    };
    expiry::put(work.rows, &key, &row.encode(), None, expires_ms);
    yes(work)
}

/// Replaces the token of a line.
pub(super) fn turn(
    work: &mut Work<'_, impl RowsMut>,
    user: &ConvId,
    id: &Cid,
    token: &Hidden,
    next: &Hidden,
    valid_ms: u64,
    grace_ms: u64,
) -> Result<Applied> {
    let key = keys::line(user, id);
    let now_ms = work.now_ms;
    let row = work.rows.get(Table::UserIndex, &key)?;
    let Some(mut row) = row.map(|row| LineRow::decode(&row)).transpose()? else {
        return no(work);
    };
    if row.expires_ms <= now_ms {
        return no(work);
    }
    let before_ms = row.expires_ms;
    if row.token == *token {
        row.before = Some((row.token, now_ms));
    } else {
        let replaced = row.before.as_ref().filter(|(before, _)| before == token);
        match replaced {
            Some(_) if row.token == *next => return yes(work),
            Some((_, at_ms)) if at_ms.saturating_add(grace_ms) > now_ms => {}
            _ => {
                expiry::remove(work.rows, &key, before_ms);
                return Ok(Applied {
                    effect: Effect::Ended(Some(id.clone())),
                    ..answer(work, verdict::REUSED, 0)
                });
            }
        }
    }
    row.token = next.clone();
    row.expires_ms = now_ms.saturating_add(valid_ms);
    expiry::put(work.rows, &key, &row.encode(), Some(before_ms), row.expires_ms);
    yes(work)
}

/// Ends a line. One that is not there may have sessions all the same: of an owner that died before it told them.
pub(super) fn end(work: &mut Work<'_, impl RowsMut>, user: &ConvId, id: &Cid) -> Result<Applied> {
    let key = keys::line(user, id);
    if let Some(row) = work.rows.get(Table::UserIndex, &key)? {
        expiry::remove(work.rows, &key, LineRow::decode(&row)?.expires_ms);
    }
    ended(work, Effect::Ended(Some(id.clone())))
}

/// Ends every line of the user, `id` among them, whether it is there or not.
pub(super) fn end_all(work: &mut Work<'_, impl RowsMut>, user: &ConvId, id: &Cid) -> Result<Applied> {
    let mut ids = vec![id.clone()];
    for (key, line) in all(work, user)? {
        expiry::remove(work.rows, &key, line.expires_ms);
        ids.extend(keys::line_id(user, &key).filter(|known| known != id));
    }
    ended(work, Effect::EndedAll(ids))
}

fn ended(work: &Work<'_, impl RowsMut>, effect: Effect) -> Result<Applied> {
    Ok(Applied {
        effect,
        ..answer(work, verdict::YES, 0)
    })
}

fn all(work: &Work<'_, impl RowsMut>, user: &ConvId) -> Result<Vec<(bytes::Bytes, LineRow)>> {
    let (start, end) = keys::lines(user);
    let found = work
        .rows
        .scan(Table::UserIndex, &start..&end, Order::Ascending, LINES)?;
    let decoded = found
        .into_iter()
        .map(|(key, row)| Ok((key, LineRow::decode(&row)?)));
    decoded.collect()
}
