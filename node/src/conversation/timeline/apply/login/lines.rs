//! Lines of refresh tokens: each token is used once and replaced by the next, so that a stolen one shows.
//!
//! Whoever shows a token that has been replaced ends the line, for the thief and for the user: one of the two has used
//! it before, and nobody can say which. One exception: for a short time after a token was replaced it may be used again,
//! whatever became of its successor. It is how a client asks again that never got the answer, and what happens when two
//! tabs that share a token refresh it at once. Each such use gives a token of its own, and from then on each is replaced,
//! guarded and expires by itself. What comes later is theft.

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
/// Tokens of one line that can be used, and those replaced lately that are known: tabs of one browser, and answers that
/// were lost. The oldest makes room for another.
const TOKENS: usize = 16;
/// For how long a repeat is known as such: longer than any lane tries.
const REPEAT_MS: u64 = 120_000;

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
        tokens: vec![(token.clone(), expires_ms)],
        replaced: Vec::new(),
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
    if row.expires_ms <= work.reached_ms {
        return no(work);
    }
    let before_ms = row.expires_ms;
    row.replaced
        .retain(|(_, at_ms)| at_ms.saturating_add(grace_ms.max(REPEAT_MS)) > work.reached_ms);
    let replaced_ms = row.replaced.iter().find(|(replaced, _)| replaced == token);
    let replaced_ms = replaced_ms.map(|(_, at_ms)| *at_ms);
    if replaced_ms.is_some() && row.tokens.iter().any(|(present, _)| present == next) {
        // A lane sent it again.
        return yes(work);
    }
    let lately = replaced_ms.is_some_and(|at_ms| at_ms.saturating_add(grace_ms) > work.reached_ms);
    match row.tokens.iter().position(|(present, _)| present == token) {
        Some(at) => {
            let (token, expires_ms) = row.tokens.remove(at);
            if expires_ms <= work.reached_ms {
                // One that nobody used in time, of a line that others use: it is over, and says nothing against them.
                expiry::put(work.rows, &key, &row.encode(), Some(before_ms), before_ms);
                return no(work);
            }
            row.replaced.push((token, now_ms));
        }
        None if lately => {}
        None => {
            expiry::remove(work.rows, &key, before_ms);
            return Ok(Applied {
                effect: Effect::Ended(Some(id.clone())),
                ..answer(work, verdict::REUSED, 0)
            });
        }
    }
    row.expires_ms = now_ms.saturating_add(valid_ms);
    row.tokens.push((next.clone(), row.expires_ms));
    for known in [&mut row.tokens, &mut row.replaced] {
        let excess = known.len().saturating_sub(TOKENS);
        known.drain(..excess);
    }
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
