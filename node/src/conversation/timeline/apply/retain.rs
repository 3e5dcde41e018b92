//! `retain`: the owner lets go of the oldest events, by the node's settings. What the log then says of them is the same
//! on every replica, whatever each node's settings and clock say: only the place up to which they go is decided outside.
//!
//! The floor rises by a [`SHARE`] of what is there at most, whatever the command says: a setting or a time that was wrong
//! for one round costs no conversation more. What is below it nobody is shown from then on. The rows follow, [`STEP`] at
//! a time, so that no entry of the log takes long to apply. The last event keeps its place for ever, because the next is
//! numbered after it and inboxes show it; when its time has come its words go instead. The keys of commands (`cid`) are
//! kept by a rule of their own.

use storage::{Order, Table};

use super::super::deleted;
use super::super::door::RowsMut;
use super::super::fold::{self, FoldRow};
use super::super::keys;
use super::super::outcome::{Applied, Effect};
use super::super::rows::{ConvRow, EventKind, Row, corrupt};
use super::super::work::Work;
use super::message::{blank, unalert};
use super::{By, Result, not_member};

/// One command lets go of the oldest quarter of a conversation's events, rounded up. Less would leave a busy conversation
/// behind its age where that is only a few rounds long; more would leave an operator who made a mistake too little time
/// to see it.
const SHARE: u64 = 4;

/// Rows that one command removes, about.
pub(in super::super) const STEP: usize = 512;

/// Raises the floor towards `below` and removes rows below it.
pub(super) fn retain(work: &mut Work<'_, impl RowsMut>, by: By<'_>, below: u64) -> Result<Applied> {
    let Some(mut conv) = work.conv(by.conv)? else {
        return not_member();
    };
    let before = conv.later.clone();
    let there = conv.last_s + 1 - conv.floor();
    let below = below.min(conv.floor() + there.div_ceil(SHARE));
    rise(work, by, &mut conv, below)?;
    if below > conv.last_s {
        silence(work, by, &mut conv)?;
    }
    sweep(work, by, &mut conv)?;
    if conv.later != before {
        work.set_conv(by.conv, conv);
    }
    Ok(Applied::silent(Effect::None))
}

/// Raises the floor, and counts the messages below it as gone.
fn rise(work: &mut Work<'_, impl RowsMut>, by: By<'_>, conv: &mut ConvRow, below: u64) -> Result<()> {
    let floor = below.min(conv.last_s);
    if floor > conv.floor() {
        let gone = work.event(by.conv, floor - 1)?;
        let gone = gone.ok_or_else(|| corrupt("a hole in the log"))?;
        conv.later.gone_mn = conv.later.gone_mn.max(gone.mn);
        conv.later.floor = floor;
        conv.later.swept = conv.later.swept.max(1);
    }
    Ok(())
}

/// Takes the words of the last event.
fn silence(work: &mut Work<'_, impl RowsMut>, by: By<'_>, conv: &mut ConvRow) -> Result<()> {
    let s = conv.last_s;
    if conv.later.blanked == s {
        return Ok(());
    }
    conv.later.blanked = s;
    conv.later.gone_mn = conv.last_mn;
    let last = work.event(by.conv, s)?;
    let last = last.ok_or_else(|| corrupt("a hole in the log"))?;
    match last.kind {
        EventKind::Message => {
            // Nothing stands behind it, so it was not edited.
            blank(work, by, s, &last, EventKind::Tombstone)?;
            let fold = FoldRow {
                deleted: Some(s),
                ..FoldRow::default()
            };
            fold.put(work.rows, by.conv, s);
            for user in fold::mentioned(&last) {
                unalert(work, by, s, &user)?;
            }
        }
        EventKind::Edit => blank(work, by, s, &last, EventKind::Edit)?,
        _ => {}
    }
    Ok(())
}

/// Removes rows below the floor: reactions first, then what has become of messages, then which were deleted, then the
/// events.
fn sweep(work: &mut Work<'_, impl RowsMut>, by: By<'_>, conv: &mut ConvRow) -> Result<()> {
    let (from, to) = (conv.later.swept, conv.floor());
    if from >= to {
        return Ok(());
    }
    let mut left = STEP;
    let (start, end) = keys::reactions(by.conv, from, to);
    for (key, _) in work
        .rows
        .scan(Table::Message, &start..&end, Order::Ascending, left)?
    {
        work.rows.delete(Table::Message, &key);
        left -= 1;
    }
    let (start, end) = (keys::fold(by.conv, from), keys::fold(by.conv, to));
    for (key, row) in work
        .rows
        .scan(Table::Message, &start..&end, Order::Ascending, left)?
    {
        // The edits of a message that is gone may stand above the floor: they keep their places without words.
        for s in FoldRow::decode(&row)?.edits.into_iter().filter(|s| *s >= to) {
            let edit = work.event(by.conv, s)?;
            let edit = edit.ok_or_else(|| corrupt("an edit is gone"))?;
            blank(work, by, s, &edit, EventKind::Edit)?;
        }
        work.rows.delete(Table::Message, &key);
        left -= 1;
    }
    left -= deleted::forget(work.rows, by.conv, conv.later.gone_mn, left)?;
    let swept = to.min(from + left as u64);
    for s in from..swept {
        work.rows.delete(Table::Message, &keys::message(by.conv, s));
    }
    conv.later.swept = swept;
    Ok(())
}
