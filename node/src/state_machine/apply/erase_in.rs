//! Erasure of a user in a conversation: ends the membership, and removes the user from the rows in bounded steps.
//!
//! The steps walk the log once, from the first retained event to the last. Each event that names the user is written
//! anew with the tombstone id, at the same position and with the same ordinal; messages are deleted first if that is
//! asked for. The progress is a row of the conversation, so a repeated step continues where the last one ended, and a
//! conversation that the user was added to again is erased from there on.

use crate::state_machine::ChatTable;
use protocol::event::DeleteEvent;
use protocol::{ConversationId, ConversationKind, EncodedEvent, Event, MembershipChange, UserId, text};
use storage::ScanOrder;

use super::erase::{STEP, remove};
use super::membership::{expel, succeed};
use super::message::{redact, set_deleted};
use super::{CommandScope, Result, invalid, tick};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::erasure::{ErasedMessages, ErasureProgressRow, ErasureStep};
use crate::state_machine::keys;
use crate::state_machine::message_state::MessageStateRow;
use crate::state_machine::outcome::{ErasureOutcome, EventEnvelope};
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{
    BanRow, ConvRow, EventKind, EventRow, MemberRow, OutboxChange, VersionedRow, corrupt,
};

/// Bytes of an event that count as one more row of a step.
const EVENT_BYTES: usize = 1024;

/// User to erase from a conversation.
#[derive(Clone, Copy)]
pub(super) struct Erased<'a> {
    pub(super) conv: &'a ConversationId,
    pub(super) user: &'a UserId,
    pub(super) tombstone: &'a UserId,
    pub(super) messages: ErasedMessages,
}

/// Takes the next step. The conversation does not name the user any more once the step is done.
pub(super) fn step(
    work: &mut ApplyContext<'_, impl RowWriter>,
    erased: Erased<'_>,
) -> Result<ErasureOutcome> {
    let Erased { conv: id, user, .. } = erased;
    if !erased.tombstone.is_tombstone() || user.is_reserved() {
        return invalid("a person is replaced by a tombstone id");
    }
    let key = keys::erasure_progress(id, erased.tombstone);
    let row = work.rows.get(ChatTable::Member, &key)?;
    let before = row.map(|row| ErasureProgressRow::decode(&row)).transpose()?;
    let before = before.unwrap_or_default();
    let mut progress = before.clone();
    let (mut events, mut done) = (Vec::new(), true);
    if let Some(before) = work.conv(id)? {
        let mut conv = before.clone();
        end_membership(work, erased, &mut conv, &mut events)?;
        let mut left = STEP;
        walk(work, erased, &mut conv, &mut progress, &mut left, &mut events)?;
        left -= bans(work, erased, &mut progress, left)?;
        let scope = keys::dedup_scope(Some(id), user);
        left -= remove(work, ChatTable::Dedup, (&scope, &keys::behind(&scope)), left)?;
        done = left > 0;
        if done {
            // A later step, after another membership, reads the bans anew.
            progress.ban = None;
            forget(work, erased, &mut conv)?;
        }
        // Proposed again until it is done; a step without effect must not cost a write.
        if conv != before {
            work.set_conv(id, conv);
        }
    }
    if progress != before {
        work.rows.put(ChatTable::Member, &key, &progress.encode());
    }
    let step = ErasureStep {
        done,
        messages: progress.messages,
        events: progress.events,
        index: work.index(),
    };
    Ok(ErasureOutcome { step, events })
}

/// Removes the user from the members; the last owner is succeeded as after `leave`.
fn end_membership(
    work: &mut ApplyContext<'_, impl RowWriter>,
    Erased { conv: id, user, .. }: Erased<'_>,
    conv: &mut ConvRow,
    events: &mut Vec<EventEnvelope>,
) -> Result<()> {
    let member = work.member(id, user)?;
    let Some((role, member)) = member.and_then(|member| Some((member.role?, member))) else {
        return Ok(());
    };
    let by = CommandScope {
        conv: id,
        user,
        skip: 0,
    };
    succeed(work, by, conv, (user, role), events)?;
    events.push(expel(work, by, conv, user, member, MembershipChange::Leave));
    Ok(())
}

/// Removes the user from the next events of the log, those that it appends itself included.
fn walk(
    work: &mut ApplyContext<'_, impl RowWriter>,
    erased: Erased<'_>,
    conv: &mut ConvRow,
    progress: &mut ErasureProgressRow,
    left: &mut usize,
    events: &mut Vec<EventEnvelope>,
) -> Result<()> {
    // Events below are trimmed; retention removes their rows.
    progress.s = progress.s.max(conv.floor() - 1);
    while progress.s < conv.last_s && *left > 0 {
        let s = progress.s + 1;
        let row = work.event(erased.conv, s)?;
        let mut row = row.ok_or_else(|| corrupt("a gap in the log"))?;
        *left = left.saturating_sub(1 + row.tail.len() / EVENT_BYTES);
        let own = row.author == *erased.user;
        if own && row.kind == EventKind::Message && erased.messages == ErasedMessages::Delete {
            events.push(delete(work, erased, conv, (s, &row))?);
            let redacted = work.event(erased.conv, s)?;
            row = redacted.ok_or_else(|| corrupt("a gap in the log"))?;
        }
        if replace(work, erased, s, &row)? {
            let message = own && matches!(row.kind, EventKind::Message | EventKind::Tombstone);
            progress.messages += u64::from(message);
            progress.events += u64::from(!message);
        }
        progress.s = s;
    }
    Ok(())
}

/// Deletes a message of the user, as `del` does.
fn delete(
    work: &mut ApplyContext<'_, impl RowWriter>,
    Erased {
        conv: id, tombstone, ..
    }: Erased<'_>,
    conv: &mut ConvRow,
    (of, message): (u64, &EventRow),
) -> Result<EventEnvelope> {
    let fold = MessageStateRow::of(work.rows, id, of)?;
    let alerted = redact(work, id, conv, (of, message), &fold)?;
    conv.last_ts = tick(work, conv);
    conv.last_s += 1;
    let (seq, timestamp_ms) = (conv.last_s, conv.last_ts);
    let event = Event::Del(DeleteEvent {
        conversation: id.clone(),
        seq,
        target_seq: of,
        user: tombstone.clone(),
        timestamp_ms,
    });
    let tail = work.put_event(id, seq, EventKind::Delete, conv.last_mn, tombstone, event.tail());
    set_deleted(work, id, of, seq, alerted)?;
    Ok(EventEnvelope {
        conv: id.clone(),
        seq,
        tail,
        removes: None,
        adds: None,
        skip: 0,
        only: None,
    })
}

/// Writes the event at `s` anew if it names the user. Returns false if it does not.
fn replace(
    work: &mut ApplyContext<'_, impl RowWriter>,
    Erased {
        conv: id,
        user,
        tombstone,
        ..
    }: Erased<'_>,
    s: u64,
    row: &EventRow,
) -> Result<bool> {
    let tail = std::str::from_utf8(&row.tail).map_err(|_| corrupt("an event is not text"))?;
    // Most events name somebody else, which the search tells without parsing them.
    let named = tail.contains(&format!("\"{user}\""));
    // An unreadable event names nobody: an error here would stop every replica.
    let event = match EncodedEvent::from_tail(&row.tail) {
        Ok(event) if named => event.event(),
        _ => None,
    };
    let renamed = event.and_then(|before| {
        let mut after = before.clone();
        after.replace_user(user, tombstone).then_some((before, after))
    });
    if row.author != *user && renamed.is_none() {
        return Ok(false);
    }
    let author = if row.author == *user {
        tombstone
    } else {
        &row.author
    };
    let tail = renamed
        .as_ref()
        .map_or_else(|| tail.to_owned(), |(_, after)| after.tail());
    work.put_event(id, s, row.kind, row.mn, author, tail);
    if let Some((Event::React(reaction), _)) = &renamed
        && reaction.user == *user
    {
        // The row of the reaction is keyed by the user; counted are the rows, so a moved one counts as before.
        let k = text::reaction_of(&reaction.reaction);
        let key = keys::reaction(id, reaction.target_seq, user, &k);
        if let Some(set) = work.rows.get(ChatTable::Message, &key)? {
            work.rows.delete(ChatTable::Message, &key);
            let key = keys::reaction(id, reaction.target_seq, tombstone, &k);
            work.rows.put(ChatTable::Message, &key, &set);
        }
    }
    Ok(true)
}

/// Removes the user as the author of bans, once the log is done. Returns the number of rows read.
fn bans(
    work: &mut ApplyContext<'_, impl RowWriter>,
    Erased {
        conv: id,
        user,
        tombstone,
        ..
    }: Erased<'_>,
    progress: &mut ErasureProgressRow,
    most: usize,
) -> Result<usize> {
    let (start, end) = keys::second_range_after(id.as_str(), progress.ban.as_ref().map(UserId::as_str));
    let found = work
        .rows
        .scan(ChatTable::Member, &start..&end, ScanOrder::Ascending, most)?;
    for (key, row) in &found {
        let who = keys::rest(id.as_str(), key).and_then(|who| UserId::parse(who).ok());
        progress.ban = Some(who.ok_or_else(|| corrupt("a malformed key of a ban"))?);
        let row = BanRow::decode(row)?;
        if row.by == *user {
            let by = tombstone.clone();
            let row = BanRow { by, ..row };
            work.rows.put(ChatTable::Member, key, &row.encode());
        }
    }
    Ok(found.len())
}

/// Removes the user's own rows, and the user from the conversation's row.
fn forget(
    work: &mut ApplyContext<'_, impl RowWriter>,
    Erased {
        conv: id,
        user,
        tombstone,
        ..
    }: Erased<'_>,
    conv: &mut ConvRow,
) -> Result<()> {
    // Taken before the user is replaced, and never the tombstone of an earlier erasure.
    let other = |id: &&UserId| **id != *user && !id.is_tombstone();
    let peer = conv.peer.as_ref();
    let peer = peer.and_then(|peer| Some(peer).filter(other).or(Some(&conv.creator).filter(other)));
    let peer = peer.cloned();
    if conv.creator == *user {
        conv.creator = tombstone.clone();
    }
    if conv.peer.as_ref() == Some(user) {
        conv.peer = Some(tombstone.clone());
    }
    work.rows.delete(ChatTable::Member, &keys::ban(id, user));
    if let Some(member) = work.member(id, user)? {
        work.remove_member(id, user);
        // The list of the peer would go on showing the block.
        if let Some(peer) = peer.filter(|_| member.banned) {
            let (who, on) = (user.clone(), false);
            let now_ms = work.now_ms;
            work.append_outbox(id, &peer, OutboxChange::Block { who, on }, now_ms);
        }
        // The other user of a direct conversation goes on seeing how far the messages were read.
        if conv.kind == ConversationKind::Direct {
            let row = MemberRow {
                read: member.read,
                read_mn: member.read_mn,
                delivered: member.delivered,
                ..MemberRow::non_member()
            };
            work.set_member(id, tombstone, row);
        }
    }
    Ok(())
}
