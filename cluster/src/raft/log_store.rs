//! A group's log, over the storage writer that all groups of the node share.
//!
//! Spine: step 7 of 13. Previous: `cluster: shard/proposer`. Next: `storage: writer`.
//!
//! Queue: the channel of the Raft group, bounded by 1,024 calls. A caller waits while it is full; a shard has one
//! batch in flight, so batches do not fill it. Metrics: `proposals`, `proposals_failed`.
//!
//! openraft reads entries as soon as `append` returns, while the writer may still be waiting for its disk. Reads
//! therefore use the in-memory [`UnflushedLog`] first. Votes and truncations wait for their fsync, in the same queue as
//! the appends: a vote that overtakes an append can lose committed entries.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use storage::{Durability, HardKey, RaftLog};
use tokio::sync::{oneshot, watch};

use crate::blocking::blocking;
use crate::raft::unflushed_log::UnflushedLog;
use crate::raft::{Entry, LogId, TypeConfig, Vote, codec};

/// Maximum bytes of entries returned by one read.
const READ_BYTES: usize = 1 << 20;

/// Log of one group. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<LogStoreShared>,
}

struct LogStoreShared {
    log: RaftLog,
    tail: Mutex<UnflushedLog>,
    flushed: watch::Sender<u64>,
}

// === impl LogStore ===

impl LogStore {
    /// Opens a group's log and reads its position from disk.
    ///
    /// # Errors
    /// If the disk or a record on it cannot be read.
    pub(crate) fn open(log: RaftLog) -> Result<LogStore, io::Error> {
        let vote = read_hard(&log, HardKey::Vote)?;
        let purged: Option<LogId> = read_hard(&log, HardKey::Purged)?;
        let last = match log.bounds().map_err(io::Error::other)? {
            Some((_, last)) => {
                let entries = log.read(last..last + 1, 1).map_err(io::Error::other)?;
                match entries.first() {
                    Some((_, bytes)) => Some(codec::decode::<Entry>(bytes)?.log_id),
                    None => return Err(io::Error::other(format!("log entry {last} is missing"))),
                }
            }
            // A log without entries continues behind the position up to which it was purged.
            None => purged,
        };
        let flushed = last.map_or(0, |last| last.index + 1);
        let tail = UnflushedLog::at(vote, purged, last);
        let shared = LogStoreShared {
            log,
            tail: Mutex::new(tail),
            flushed: watch::channel(flushed).0,
        };
        Ok(LogStore {
            shared: Arc::new(shared),
        })
    }

    /// Makes `node` the only voter of a group whose other replicas are lost: appends a membership of this node alone,
    /// in a term of its own. Every entry before it counts as committed once the group has elected this node. Returns
    /// the index of the last entry that the log had, when the disk has the new one.
    ///
    /// # Errors
    /// If the disk cannot be read or written.
    pub(crate) async fn make_sole_voter(log: RaftLog, node: u64) -> Result<u64, io::Error> {
        let (vote, last) = {
            let store = LogStore::open(log.clone())?;
            let tail = store.shared.tail.lock();
            (tail.vote, tail.last)
        };
        let voted = vote.map_or(0, |vote| vote.leader_id.term);
        let term = voted.max(last.map_or(0, |last| last.leader_id.term)) + 1;
        let end = last.map_or(0, |last| last.index);
        let entry = Entry::new_membership(
            LogId::new_term_index(term, end + 1),
            openraft::Membership::new_with_defaults(vec![BTreeSet::from([node])], [node]),
        );
        let (done, voted) = completion();
        // Before the entry: an entry of a term newer than the vote would belong to a leader that nobody elected.
        log.put_hard(
            HardKey::Vote,
            codec::encode(&Vote::new(term, node))?,
            Durability::Synced,
            Some(done),
        );
        let (done, appended) = completion();
        log.append(vec![(end + 1, codec::encode(&entry)?)], done);
        wait(voted).await?;
        wait(appended).await?;
        Ok(end)
    }

    /// Returns a receiver of the first index that is not on disk; all lower entries are.
    pub(crate) fn flushed(&self) -> watch::Receiver<u64> {
        self.shared.flushed.subscribe()
    }

    /// Returns the newest term that this replica has voted in or received. The value is updated before the response
    /// with that vote is sent. A caller that gets an older term therefore asked before the vote was given.
    pub(crate) fn promised(&self) -> u64 {
        self.shared.tail.lock().vote.map_or(0, |vote| vote.leader_id.term)
    }

    /// Returns true if the group has neither a vote nor an entry here.
    pub(crate) fn is_pristine(&self) -> bool {
        let tail = self.shared.tail.lock();
        tail.vote.is_none() && tail.last.is_none()
    }

    async fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, io::Error> {
        // The lock is released before the disk is read, because appends need it.
        let on_disk = {
            let tail = self.shared.tail.lock();
            match tail.first() {
                Some(first) if range.start >= first => return Ok(tail.read(range, max_bytes)),
                // Entries from `first` on may not be on disk yet.
                Some(first) => range.start..range.end.min(first),
                None => range.clone(),
            }
        };
        let log = self.shared.log.clone();
        let read = blocking(move || log.read(on_disk, max_bytes));
        let entries = read.await?.map_err(io::Error::other)?;
        if entries.is_empty() {
            // The disk has no entries that old; the rest of the range, if any, is in memory.
            return Ok(self.shared.tail.lock().read(range, max_bytes));
        }
        entries.iter().map(|(_, bytes)| codec::decode(bytes)).collect()
    }
}

impl LogStoreShared {
    fn mark_flushed(&self, generation: u64, end: u64) {
        let mut tail = self.tail.lock();
        // The flush of a truncated entry is not the flush of the entry that replaced it.
        if tail.generation == generation && tail.flushed < end {
            tail.flushed = end;
            tail.evict();
            // Sent under the lock: a truncation that lowers the value must not be overtaken.
            self.flushed.send_replace(end);
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut range = half_open(&range);
        let mut entries = Vec::new();
        while range.start < range.end {
            // The disk read returns only the part of the range that is not in memory.
            let part = self.read(range.clone(), usize::MAX).await?;
            let Some(last) = part.last() else { break };
            range.start = last.log_id.index + 1;
            entries.extend(part);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read(start..end, READ_BYTES).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let store = self.clone();
        // Boxed: openraft polls it without pinning.
        stream::try_unfold((store, half_open(&range)), |(store, range)| async move {
            if range.start >= range.end {
                return Ok(None);
            }
            let part = store.read(range.clone(), READ_BYTES).await?;
            let Some(last) = part.last() else { return Ok(None) };
            let rest = last.log_id.index + 1..range.end;
            Ok::<_, io::Error>(Some((stream::iter(part.into_iter().map(Ok)), (store, rest))))
        })
        .flat_map(|part| match part {
            Ok(entries) => entries.left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
        .boxed()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.tail.lock().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.shared.tail.lock();
        Ok(LogState {
            last_purged_log_id: tail.purged,
            last_log_id: tail.last,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = codec::encode(vote)?;
        // In memory before the write: a response with this vote must not be sent while `promised` is still older.
        self.shared.tail.lock().vote = Some(*vote);
        let (done, flushed) = completion();
        // The writer keeps the order of its queue, so earlier appends reach the disk with or before this vote.
        self.shared
            .log
            .put_hard(HardKey::Vote, bytes, Durability::Synced, Some(done));
        wait(flushed).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        let generation = {
            // Readable before the write: openraft reads the entries as soon as this call returns.
            let mut tail = self.shared.tail.lock();
            for entry in entries {
                encoded.push((entry.log_id.index, codec::encode(&entry)?));
                tail.push(entry);
            }
            tail.generation
        };
        let Some(&(last, _)) = encoded.last() else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let shared = self.shared.clone();
        let done = move |result: Result<(), storage::Error>| {
            // After a failed write the entries stay unflushed, so nothing of them is ever applied.
            if result.is_ok() {
                shared.mark_flushed(generation, last + 1);
            }
            callback.io_completed(result.map_err(io::Error::other));
        };
        #[cfg(feature = "planted-bugs")]
        if crate::seeded_bugs::ack_before_fsync() {
            self.shared.log.append(encoded, Box::new(|_| {}));
            done(Ok(()));
            return Ok(());
        }
        self.shared.log.append(encoded, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        let generation = {
            let mut tail = self.shared.tail.lock();
            // openraft may truncate at the end of the log; that needs no fsync.
            if tail.last.is_none_or(|present| present.index < from) {
                return Ok(());
            }
            // In memory first: no read may return a truncated entry while the disk is written.
            tail.truncate_from(from, last);
            self.shared.flushed.send_replace(tail.flushed);
            tail.generation
        };
        let (done, flushed) = completion();
        self.shared.log.truncate_from(from, done);
        wait(flushed).await?;
        // The fsync covers earlier appends in the writer's queue, too.
        self.shared.mark_flushed(generation, from);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let marker = codec::encode(&log_id)?;
        {
            let mut tail = self.shared.tail.lock();
            tail.purge_to(log_id);
            self.shared.flushed.send_replace(tail.flushed);
        }
        // Not awaited: if a crash undoes the purge, the log is only longer than necessary.
        self.shared.log.purge_to(log_id.index, marker);
        Ok(())
    }
}

fn read_hard<T: serde::de::DeserializeOwned>(log: &RaftLog, key: HardKey) -> Result<Option<T>, io::Error> {
    log.get_hard(key)
        .map_err(io::Error::other)?
        .map(|bytes| codec::decode(&bytes))
        .transpose()
}

type FlushCallback = oneshot::Receiver<Result<(), storage::Error>>;

fn completion() -> (storage::Completion, FlushCallback) {
    let (sender, receiver) = oneshot::channel();
    // Fails only if the waiting call was cancelled.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

async fn wait(completion: FlushCallback) -> Result<(), io::Error> {
    completion
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)
}

fn half_open<RB: RangeBounds<u64>>(range: &RB) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&index) => index.saturating_add(1),
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
