//! Correction of the rows that users' shards hold of conversations, after all shards were restored from a backup.
//!
//! A backup reads each shard at a moment of its own. A shard read earlier lacks what another one has told it since, and
//! the outbox has ticked that off; a shard read later holds what the conversation's shard, as restored, does not know.
//! The conversation's shard decides: these rows follow from its rows, so they are compared and written anew. A version
//! is an index of the conversation's log, which continues behind the restored one, so the next change is newer than any
//! row that is written here.

use std::collections::BTreeMap;

use cluster::ShardId;
use protocol::response::LastEvent;
use protocol::{ConversationId, ConversationKind, UserId};
use storage::{Error, ScanOrder, ShardState};

use super::ChatTable;
use super::device_cursors::DeviceCursorsRow;
use super::erasure::ErasedUserRow;
use super::keys::{self, KeyKind};
use super::outcome::OutboxId;
use super::row_store::{RowReader, RowWriter};
use super::rows::{BlockRow, ConvRow, IndexRow, MemberRow, VersionedRow};

/// Rows that are read at once.
const PAGE: usize = 1024;
/// Corrections that are held before they are written.
const PENDING: usize = 4096;

/// Restored shard and the index of its log at which it begins.
pub(crate) type RestoredShard = (ShardState, u64);

/// Numbers of rows that were corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CorrectedRows {
    /// Conversations of users, added, removed or of another version.
    pub(crate) memberships: u64,
    /// Entries of block lists.
    pub(crate) blocks: u64,
    /// Positions in the lists of conversations that lie behind the end of the log.
    pub(crate) positions: u64,
    /// Devices with a cursor behind the end of a log; their next session begins anew.
    pub(crate) devices: u64,
}

struct Correction<'s> {
    shards: &'s [RestoredShard],
    pending: BTreeMap<u16, Vec<RowChange>>,
    held: usize,
    corrected: CorrectedRows,
}

/// Row to write, or to remove without a value.
type RowChange = (ChatTable, Vec<u8>, Option<Vec<u8>>);

/// Corrects the rows of users in all shards of a cluster, in the order of their numbers. `now_ms` is the time of changes
/// whose own time is unknown.
///
/// # Errors
/// If a row cannot be decoded, or the store refuses a write.
pub(crate) fn correct_user_rows(shards: &[RestoredShard], now_ms: u64) -> Result<CorrectedRows, Error> {
    let mut correction = Correction {
        shards,
        pending: BTreeMap::new(),
        held: 0,
        corrected: CorrectedRows::default(),
    };
    // Two passes: the second one reads rows that the first one has written.
    for (state, _) in shards {
        each_row(state, ChatTable::Member, |key, row| {
            correction.check_member(key, row, now_ms)
        })?;
    }
    correction.write()?;
    for (state, _) in shards {
        each_row(state, ChatTable::UserIndex, |key, row| {
            correction.check_user(key, row, now_ms)
        })?;
        each_row(state, ChatTable::Login, |key, row| {
            correction.check_device(key, row)
        })?;
    }
    correction.write()?;
    Ok(correction.corrected)
}

// === impl Correction ===

impl Correction<'_> {
    /// Compares the row of a member with the user's row for the conversation, and a block with the blocking user's.
    fn check_member(&mut self, key: &[u8], row: &[u8], now_ms: u64) -> Result<(), Error> {
        let Some((conv, user)) = keys::member_parts(key) else {
            return Ok(());
        };
        let member = MemberRow::decode(row)?;
        // A user who was only banned or blocked has no membership that was ever told.
        if member.version.index > 0 {
            self.correct_membership(&conv, &user, &member, now_ms)?;
        }
        if member.banned
            && conv.kind() == Some(ConversationKind::Direct)
            && let Some(known) = self.conversation(&conv)?
            && let Some(peer) = known.peer_of(&user)
        {
            let peer = peer.clone();
            self.correct_block(&conv, &peer, &user, true, now_ms)?;
        }
        Ok(())
    }

    fn correct_membership(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
        member: &MemberRow,
        now_ms: u64,
    ) -> Result<(), Error> {
        let (shard, state) = self.of(user.as_str());
        let key = keys::index(user, conv);
        let known = state.get(ChatTable::UserIndex.of_store(), &key)?;
        let known = known.map(|row| IndexRow::decode(&row)).transpose()?;
        let erased = state.get(ChatTable::UserIndex.of_store(), &keys::erased(user))?;
        let erased = erased.map(|row| ErasedUserRow::decode(&row)).transpose()?;
        let is_member = member.role.is_some();
        if known
            .as_ref()
            .is_some_and(|known| known.version == member.version && known.member == is_member)
        {
            return Ok(());
        }
        let row = IndexRow {
            member: is_member,
            version: member.version,
            at_ms: known.as_ref().map_or(now_ms, |known| known.at_ms),
            last: known.as_ref().map_or_else(LastEvent::default, |known| known.last),
            large: known.as_ref().is_some_and(|known| known.large),
        };
        self.corrected.memberships += 1;
        // The conversation names the user still or again: the erasure goes on, as after a membership that came late.
        if let Some(ErasedUserRow { job }) = erased {
            let running = keys::running_erasure(job);
            self.put(shard, (ChatTable::UserIndex, running, Some(Vec::new())))?;
        }
        self.replace_index(shard, (user, conv), known.as_ref(), Some(&row))
    }

    /// Corrects the entry of `user`'s block list for `other`.
    fn correct_block(
        &mut self,
        conv: &ConversationId,
        user: &UserId,
        other: &UserId,
        on: bool,
        now_ms: u64,
    ) -> Result<(), Error> {
        let (shard, state) = self.of(user.as_str());
        let key = keys::block(user, other);
        let known = state.get(ChatTable::UserIndex.of_store(), &key)?;
        let known = known.map(|row| BlockRow::decode(&row)).transpose()?;
        if known.as_ref().is_some_and(|known| known.on == on) {
            return Ok(());
        }
        let row = BlockRow {
            on,
            // Newer than every entry that is still in the outbox, and older than the next one.
            version: OutboxId {
                index: self.index_of(conv),
                n: u32::MAX,
            },
            at_ms: known.map_or(now_ms, |known| known.at_ms),
        };
        self.corrected.blocks += 1;
        self.put(shard, (ChatTable::UserIndex, key, Some(row.encode())))
    }

    /// Compares a user's row with the conversation's shard.
    fn check_user(&mut self, key: &[u8], row: &[u8], now_ms: u64) -> Result<(), Error> {
        match keys::user_parts(key) {
            Some((KeyKind::Index, user, conv)) => {
                let Ok(conv) = ConversationId::parse(conv) else {
                    return Ok(());
                };
                let known = IndexRow::decode(row)?;
                let (shard, _) = self.of(user.as_str());
                let member = self.member(&conv, &user)?;
                if member.is_none_or(|member| member.version.index == 0) {
                    // The conversation, as restored, does not know of the user. A row without a version is a note
                    // that arrived before the membership, which counts for nothing.
                    if known.version.index > 0 {
                        self.corrected.memberships += 1;
                        self.replace_index(shard, (&user, &conv), Some(&known), None)?;
                    }
                    return Ok(());
                }
                let Some(log) = self.conversation(&conv)? else {
                    return Ok(());
                };
                // Later notes would be taken for older ones until the log has passed this position again.
                if known.last.seq > log.last_s {
                    let last = LastEvent {
                        seq: log.message_s,
                        message_number: log.last_mn,
                        timestamp_ms: log.message_ts,
                    };
                    let row = IndexRow {
                        last,
                        ..known.clone()
                    };
                    self.corrected.positions += 1;
                    self.replace_index(shard, (&user, &conv), Some(&known), Some(&row))?;
                }
                Ok(())
            }
            Some((KeyKind::Block, user, other)) => {
                let Ok(other) = UserId::parse(other) else {
                    return Ok(());
                };
                let conv = ConversationId::direct(&user, &other);
                let blocks = self.member(&conv, &other)?.is_some_and(|other| other.banned);
                self.correct_block(&conv, &user, &other, blocks, now_ms)
            }
            _ => Ok(()),
        }
    }

    /// Removes the cursors of a device that are ahead of a log: its stream would leave out what comes there next.
    fn check_device(&mut self, key: &[u8], row: &[u8]) -> Result<(), Error> {
        if !keys::is_device_cursors(key) {
            return Ok(());
        }
        let device = DeviceCursorsRow::decode(row)?;
        for (conv, position) in &device.cursors.positions {
            if self
                .conversation(conv)?
                .is_some_and(|conv| *position <= conv.last_s)
            {
                continue;
            }
            let Some(user) = keys::device_cursors_user(key) else {
                return Ok(());
            };
            let (shard, _) = self.of(user);
            self.corrected.devices += 1;
            let expiry = keys::login_expiry(device.expires_ms, key);
            self.put(shard, (ChatTable::Login, expiry, None))?;
            return self.put(shard, (ChatTable::Login, key.to_vec(), None));
        }
        Ok(())
    }

    /// Replaces a user's row for a conversation, and its entry in the order by time.
    fn replace_index(
        &mut self,
        shard: ShardId,
        (user, conv): (&UserId, &ConversationId),
        known: Option<&IndexRow>,
        row: Option<&IndexRow>,
    ) -> Result<(), Error> {
        if let Some(known) = known.filter(|known| known.member) {
            let order = keys::order(user, known.order_ms(), conv);
            self.put(shard, (ChatTable::UserIndex, order, None))?;
        }
        if let Some(row) = row.filter(|row| row.member) {
            let order = keys::order(user, row.order_ms(), conv);
            self.put(shard, (ChatTable::UserIndex, order, Some(row.encode())))?;
        }
        let bytes = row.map(VersionedRow::encode);
        self.put(shard, (ChatTable::UserIndex, keys::index(user, conv), bytes))
    }

    fn conversation(&self, conv: &ConversationId) -> Result<Option<ConvRow>, Error> {
        let (_, state) = self.of(conv.as_str());
        let row = state.get(ChatTable::Conversation.of_store(), conv.as_str().as_bytes())?;
        row.map(|row| ConvRow::decode(&row)).transpose()
    }

    fn member(&self, conv: &ConversationId, user: &UserId) -> Result<Option<MemberRow>, Error> {
        let (_, state) = self.of(conv.as_str());
        let row = state.get(ChatTable::Member.of_store(), &keys::member(conv, user))?;
        row.map(|row| MemberRow::decode(&row)).transpose()
    }

    /// Returns the shard of a conversation or user.
    fn of(&self, id: &str) -> (ShardId, &ShardState) {
        let count = u16::try_from(self.shards.len()).unwrap_or(u16::MAX);
        let shard = cluster::shard_of(id.as_bytes(), count);
        (shard, &self.shards[usize::from(shard.0)].0)
    }

    fn index_of(&self, conv: &ConversationId) -> u64 {
        let (shard, _) = self.of(conv.as_str());
        self.shards[usize::from(shard.0)].1
    }

    fn put(&mut self, shard: ShardId, change: RowChange) -> Result<(), Error> {
        self.pending.entry(shard.0).or_default().push(change);
        self.held += 1;
        // In the order of the changes of a shard, so that a row of two changes has the last one.
        if self.held >= PENDING {
            self.write()
        } else {
            Ok(())
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        for (shard, changes) in std::mem::take(&mut self.pending) {
            let (state, _) = &self.shards[usize::from(shard)];
            let applied = state.applied()?.unwrap_or_default();
            let mut transaction = state.transaction();
            for (table, key, value) in changes {
                match value {
                    Some(value) => RowWriter::put(&mut transaction, table, &key, &value),
                    None => RowWriter::delete(&mut transaction, table, &key),
                }
            }
            transaction.commit(applied)?;
        }
        self.held = 0;
        Ok(())
    }
}

/// Calls `each` with every row of a table, in pages of one consistent view.
fn each_row(
    state: &ShardState,
    table: ChatTable,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let view = state.view();
    let mut from = Vec::new();
    loop {
        let page = RowReader::scan(&view, table, &from..&[], ScanOrder::Ascending, PAGE)?;
        for (key, row) in &page {
            each(key, row)?;
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => from = [&key[..], &[0]].concat(),
            _ => return Ok(()),
        }
    }
}
