//! Step 8 of the life of a message: a group's log, over the storage-writer that all groups of the node share.
//!
//! openraft asks that entries can be read as soon as `append` returns, while the writer may still be waiting for its
//! disk: reads look into the [`Tail`] first. Votes and truncations wait for their fsync, in the same queue as the
//! appends, since a vote that overtakes an append loses committed entries.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use storage::{Durability, HardKey, Log};
use tokio::sync::{oneshot, watch};

use crate::blocking::blocking;
use crate::raft::tail::Tail;
use crate::raft::{Entry, LogId, TypeConfig, Vote, codec};

/// Bytes of entries handed out by one read.
const READ_BYTES: usize = 1 << 20;

/// A group's log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    log: Log,
    tail: Mutex<Tail>,
    flushed: watch::Sender<u64>,
}

// === impl LogStore ===

impl LogStore {
    /// Reads a group's position from disk.
    ///
    /// # Errors
    /// When the disk or a record on it can't be read.
    pub(crate) fn open(log: Log) -> Result<LogStore, io::Error> {
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
            None => purged,
        };
        let flushed = last.map_or(0, |last| last.index + 1);
        let tail = Tail::at(vote, purged, last);
        let shared = Shared {
            log,
            tail: Mutex::new(tail),
            flushed: watch::channel(flushed).0,
        };
        Ok(LogStore {
            shared: Arc::new(shared),
        })
    }

    /// Entries below the value are on disk.
    pub(crate) fn flushed(&self) -> watch::Receiver<u64> {
        self.shared.flushed.subscribe()
    }

    /// The newest term that this replica has voted in or heard of. It is here before the answer that promises it is sent,
    /// so whoever is told of an older one was told before that promise.
    pub(crate) fn promised(&self) -> u64 {
        self.shared.tail.lock().vote.map_or(0, |vote| vote.leader_id.term)
    }

    /// Whether nothing was ever written: no vote and no entry.
    pub(crate) fn is_pristine(&self) -> bool {
        let tail = self.shared.tail.lock();
        tail.vote.is_none() && tail.last.is_none()
    }

    async fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Entry>, io::Error> {
        let on_disk = {
            let tail = self.shared.tail.lock();
            match tail.first() {
                Some(first) if range.start >= first => return Ok(tail.read(range, max_bytes)),
                Some(first) => range.start..range.end.min(first),
                None => range.clone(),
            }
        };
        let log = self.shared.log.clone();
        let read = blocking(move || log.read(on_disk, max_bytes));
        let entries = read.await?.map_err(io::Error::other)?;
        if entries.is_empty() {
            // Nothing that old: what is there starts in memory, if anywhere.
            return Ok(self.shared.tail.lock().read(range, max_bytes));
        }
        entries.iter().map(|(_, bytes)| codec::decode(bytes)).collect()
    }
}

impl Shared {
    fn mark_flushed(&self, generation: u64, end: u64) {
        let mut tail = self.tail.lock();
        if tail.generation == generation && tail.flushed < end {
            tail.flushed = end;
            tail.evict();
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
        self.shared.tail.lock().vote = Some(*vote);
        let (done, flushed) = completion();
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
            if result.is_ok() {
                shared.mark_flushed(generation, last + 1);
            }
            callback.io_completed(result.map_err(io::Error::other));
        };
        #[cfg(feature = "planted-bugs")]
        if crate::planted::ack_before_fsync() {
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
            if tail.last.is_none_or(|present| present.index < from) {
                return Ok(());
            }
            tail.truncate_from(from, last);
            self.shared.flushed.send_replace(tail.flushed);
            tail.generation
        };
        let (done, flushed) = completion();
        self.shared.log.truncate_from(from, done);
        wait(flushed).await?;
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
        self.shared.log.purge_to(log_id.index, marker);
        Ok(())
    }
}

fn read_hard<T: serde::de::DeserializeOwned>(log: &Log, key: HardKey) -> Result<Option<T>, io::Error> {
    log.get_hard(key)
        .map_err(io::Error::other)?
        .map(|bytes| codec::decode(&bytes))
        .transpose()
}

type Completion = oneshot::Receiver<Result<(), storage::Error>>;

fn completion() -> (storage::Done, Completion) {
    let (sender, receiver) = oneshot::channel();
    // A caller that went away needs no answer.
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

async fn wait(completion: Completion) -> Result<(), io::Error> {
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
