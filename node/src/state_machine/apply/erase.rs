//! Erasure of a user in the user's shard: its begin, the record of each conversation, the removal of the user's rows, and
//! the mark that keeps them from coming back.

use crate::state_machine::ChatTable;
use protocol::{ConversationId, ErrorCode, UserId};
use storage::ScanOrder;

use super::login::{end_before, expiry};
use super::{Result, index, invalid, of_a_person, refused, user_access};
use crate::state_machine::apply_context::ApplyContext;
use crate::state_machine::command_table::UserOp;
use crate::state_machine::consent::AdditionVerdict;
use crate::state_machine::device_cursors::DeviceCursorsRow;
use crate::state_machine::erasure::{ErasedMessages, ErasedUserRow, ErasureId, ErasureJob, ErasureStep};
use crate::state_machine::keys;
use crate::state_machine::outcome::{OutboxId, UserOutcome};
use crate::state_machine::profile::ProfileRow;
use crate::state_machine::row_store::RowWriter;
use crate::state_machine::rows::{VersionedRow, corrupt};
use crate::state_machine::user_access::UserAccess;

/// Maximum number of rows that one command removes.
pub(in crate::state_machine) const STEP: usize = 512;

/// Begins the erasure of a user, or returns the one that was begun before.
pub(super) fn begin(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    id: ErasureId,
    tombstone: &UserId,
    messages: ErasedMessages,
) -> Result<UserOutcome> {
    of_a_person(user)?;
    if !tombstone.is_tombstone() {
        return invalid("the tombstone id lacks its prefix");
    }
    if let Some(ErasedUserRow { job: id }) = mark(work, user)? {
        let job = job(work, id)?;
        if job.messages != messages {
            return refused(ErrorCode::Conflict, "the erasure was begun for other messages");
        }
        // A membership that arrived after the end has marked it as running. The former tombstone id is forgotten.
        let running = work.rows.get(ChatTable::UserIndex, &keys::running_erasure(id))?;
        if job.tombstone.is_none() && running.is_some() {
            let (tombstone, done_ms) = (Some(tombstone.clone()), None);
            let job = ErasureJob {
                tombstone,
                done_ms,
                ..job
            };
            put_job(work, id, &job);
        }
        let logins = Vec::new();
        return Ok(UserOutcome::Erasing { id, logins });
    }
    let access = UserAccess {
        deactivated: true,
        ..user_access::read(work, user)?
    };
    work.rows
        .put(ChatTable::UserIndex, &keys::access(user), &access.encode());
    let logins = end_before(work, user, u64::MAX)?;
    let row = ErasedUserRow { job: id };
    work.rows
        .put(ChatTable::UserIndex, &keys::erased(user), &row.encode());
    let job = ErasureJob {
        user: user.clone(),
        messages,
        tombstone: Some(tombstone.clone()),
        started_ms: work.now_ms,
        done_ms: None,
        shards: Vec::new(),
    };
    put_job(work, id, &job);
    run(work, id);
    Ok(UserOutcome::Erasing { id, logins })
}

/// Decides commands that must not restore rows of an erased user. `None` leaves the decision to the command itself.
pub(super) fn of_erased(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    op: &UserOp,
) -> Result<Option<UserOutcome>> {
    let Some(ErasedUserRow { job }) = mark(work, user)? else {
        return Ok(None);
    };
    match op {
        // Somebody has added the user meanwhile: the erasure removes this membership, too.
        UserOp::IndexPut { member: true, .. } => {
            run(work, job);
            Ok(None)
        }
        // Late effects of former memberships and sessions.
        UserOp::IndexPut { .. }
        | UserOp::BlockPut { .. }
        | UserOp::Seen { .. }
        | UserOp::Wish { .. }
        | UserOp::PutCursors { .. } => Ok(Some(UserOutcome::Recorded)),
        UserOp::MayAdd { .. } => Ok(Some(UserOutcome::Addition(AdditionVerdict::Declined))),
        UserOp::Reserve { .. }
        | UserOp::PutProfile { .. }
        | UserOp::PutAccess {
            deactivated: Some(false),
            ..
        } => refused(ErrorCode::Conflict, "the user is erased"),
        UserOp::PutAccess { .. }
        | UserOp::Erase { .. }
        | UserOp::PutErased { .. }
        | UserOp::EraseRows { .. } => Ok(None),
    }
}

/// Returns true if an erasure of the user was begun.
pub(super) fn is_erased(work: &ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<bool> {
    Ok(mark(work, user)?.is_some())
}

/// Records a conversation that does not name the user any more, and removes it from the user's list. A repetition finds
/// no row and records nothing.
pub(super) fn put_erased(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    conversation: &ConversationId,
    version: OutboxId,
    (shard, step): (u16, &ErasureStep),
) -> Result<UserOutcome> {
    let Some(ErasedUserRow { job: id }) = mark(work, user)? else {
        return invalid("the user is not erased");
    };
    let key = keys::index(user, conversation);
    // Another version is a later membership, which the erasure has not seen yet.
    let Some(known) = index::get(work, &key)?.filter(|known| known.version == version) else {
        return Ok(UserOutcome::Recorded);
    };
    if known.member {
        let order = keys::order(user, known.order_ms(), conversation);
        work.rows.delete(ChatTable::UserIndex, &order);
    }
    work.rows.delete(ChatTable::UserIndex, &key);
    let mut job = job(work, id)?;
    let entry = job.shard(shard);
    entry.conversations += 1;
    entry.messages += step.messages;
    entry.events += step.events;
    entry.index = entry.index.max(step.index);
    put_job(work, id, &job);
    Ok(UserOutcome::Recorded)
}

/// Removes rows of the user. With the last of them the erasure ends.
pub(super) fn rows(
    work: &mut ApplyContext<'_, impl RowWriter>,
    user: &UserId,
    shard: u16,
) -> Result<UserOutcome> {
    let Some(ErasedUserRow { job: id }) = mark(work, user)? else {
        return invalid("the user is not erased");
    };
    let mut job = job(work, id)?;
    let outcome = |more, profile| Ok(UserOutcome::RowsErased { more, profile });
    // Done before: a repetition changes nothing.
    if job.tombstone.is_none() {
        return outcome(false, None);
    }
    // A conversation that is left would lose its entry, by which the erasure finds it.
    let (start, end) = keys::range_after(user.as_str(), None);
    if !scan(work, ChatTable::UserIndex, (&start, &end), 1)?.is_empty() {
        return outcome(true, None);
    }
    let mut left = STEP;
    let (start, end) = keys::erasable(user);
    left -= remove(work, ChatTable::UserIndex, (&start, &end), left)?;
    let scope = keys::dedup_scope(None, user);
    left -= remove(work, ChatTable::Dedup, (&scope, &keys::behind(&scope)), left)?;
    let (start, end) = keys::all_device_cursors(user);
    for (key, row) in scan(work, ChatTable::Login, (&start, &end), left)? {
        expiry::remove(work.rows, &key, DeviceCursorsRow::decode(&row)?.expires_ms);
        left -= 1;
    }
    if left == 0 {
        return outcome(true, None);
    }
    // The scope without its final zero byte is the key of the counter row.
    work.rows.delete(ChatTable::Dedup, &scope[..scope.len() - 1]);
    let profile = empty_profile(work, user)?;
    job.shard(shard).index = work.index();
    job.tombstone = None;
    job.done_ms = Some(work.now_ms);
    put_job(work, id, &job);
    work.rows.delete(ChatTable::UserIndex, &keys::running_erasure(id));
    outcome(false, profile)
}

/// Removes the values of the profile and returns its new version; `None` if it has none. The version stays, so that
/// every copy is recognised as outdated.
fn empty_profile(work: &mut ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<Option<u64>> {
    let key = keys::profile(user);
    let row = work.rows.get(ChatTable::UserIndex, &key)?;
    let row = row.map(|row| ProfileRow::decode(&row)).transpose()?;
    let values = |row: &ProfileRow| row.name.is_some() || row.avatar.is_some() || row.data.is_some();
    let Some(row) = row.filter(values) else {
        return Ok(None);
    };
    let empty = ProfileRow {
        ver: row.ver + 1,
        ..ProfileRow::default()
    };
    work.rows.put(ChatTable::UserIndex, &key, &empty.encode());
    Ok(Some(empty.ver))
}

/// Removes up to `most` rows of a range, and returns their number.
pub(super) fn remove(
    work: &mut ApplyContext<'_, impl RowWriter>,
    table: ChatTable,
    range: (&[u8], &[u8]),
    most: usize,
) -> Result<usize> {
    let found = scan(work, table, range, most)?;
    for (key, _) in &found {
        work.rows.delete(table, key);
    }
    Ok(found.len())
}

fn scan(
    work: &ApplyContext<'_, impl RowWriter>,
    table: ChatTable,
    (start, end): (&[u8], &[u8]),
    most: usize,
) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>> {
    Ok(work.rows.scan(table, start..end, ScanOrder::Ascending, most)?)
}

fn mark(work: &ApplyContext<'_, impl RowWriter>, user: &UserId) -> Result<Option<ErasedUserRow>> {
    let row = work.rows.get(ChatTable::UserIndex, &keys::erased(user))?;
    Ok(row.map(|row| ErasedUserRow::decode(&row)).transpose()?)
}

fn job(work: &ApplyContext<'_, impl RowWriter>, id: ErasureId) -> Result<ErasureJob> {
    let row = work.rows.get(ChatTable::UserIndex, &keys::erasure(id))?;
    let row = row.ok_or_else(|| corrupt("an erasure is missing"))?;
    Ok(ErasureJob::decode(&row)?)
}

fn put_job(work: &mut ApplyContext<'_, impl RowWriter>, id: ErasureId, job: &ErasureJob) {
    work.rows
        .put(ChatTable::UserIndex, &keys::erasure(id), &job.encode());
}

fn run(work: &mut ApplyContext<'_, impl RowWriter>, id: ErasureId) {
    work.rows
        .put(ChatTable::UserIndex, &keys::running_erasure(id), b"");
}
