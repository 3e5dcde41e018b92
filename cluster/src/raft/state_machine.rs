//! Step 9 of the life of a message: committed entries are applied, in order, in one storage transaction each chunk.
//!
//! The transaction isn't fsynced: the log is the truth, and what a crash takes is applied again. For that to hold, an
//! entry's effects must not reach the disk before the entry does, and a leader may commit through its followers before
//! its own write is done: so apply waits for the local flush. The owner's epoch is checked here, on every replica
//! alike, and so is the time of each batch against the evidence that came with it: whatever let a time through that is
//! too far ahead, it doesn't get into the rows, and the epoch of who proposed it ends with it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{ShardId, State, Transaction};
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_128;

use crate::blocking::{blocking, in_place};
use crate::clock::{self, Stamp};
use crate::machine::{Batch, Machine};
use crate::ownership::{Owner, UNOWNED};
use crate::raft::digest::{Digest, Standing};
use crate::raft::snapshot::{self, SnapshotData};
use crate::raft::{Answer, Entry, LogId, Membership, Proposal, Snapshot, SnapshotMeta, TypeConfig, codec};
use crate::shard::batch;

/// Entries that one transaction covers at most.
const CHUNK_ENTRIES: usize = 64;

/// A group's replica of the state, over the node's disk.
#[derive(Clone)]
pub(crate) struct StateMachine {
    shard: ShardId,
    state: State,
    machine: Arc<dyn Machine>,
    watcher: Arc<dyn Watcher>,
    flushed: watch::Receiver<u64>,
    applied: Applied,
    standing: Arc<Mutex<Standing>>,
}

/// How far a replica is; stored in the same transaction as the rows it describes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) owner: Owner,
    /// Of every entry up to `last`.
    pub(crate) digest: Digest,
}

/// Told what was applied. Called from the group's apply task; must not block.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// A takeover was applied: from here on only this owner's batches count.
    fn taken_over(&self, shard: ShardId, owner: Owner);
    /// Rows of the shard changed.
    fn changed(&self, shard: ShardId);
}

type Responder = Option<ApplyResponder<TypeConfig>>;

/// What a run of entries did.
struct Executed {
    /// What is to be committed.
    transaction: Option<Transaction>,
    answers: Vec<(Responder, Answer)>,
    /// The shard has another owner, or the same one again.
    takeover: bool,
}

// === impl StateMachine ===

impl StateMachine {
    /// Reads a replica's position from disk.
    ///
    /// # Errors
    /// When the disk or the record on it can't be read.
    pub(crate) fn open(
        shard: ShardId,
        state: State,
        machine: Arc<dyn Machine>,
        watcher: Arc<dyn Watcher>,
        flushed: watch::Receiver<u64>,
    ) -> Result<StateMachine, io::Error> {
        let applied = match state.applied().map_err(io::Error::other)? {
            Some(bytes) => codec::decode(&bytes)?,
            None => Applied::default(),
        };
        let standing = Arc::new(Mutex::new(applied.standing()));
        Ok(StateMachine {
            shard,
            state,
            machine,
            watcher,
            flushed,
            applied,
            standing,
        })
    }

    /// Where the replica is, for whoever asks: what is committed on its disk, never in between.
    pub(crate) fn standing(&self) -> Arc<Mutex<Standing>> {
        self.standing.clone()
    }

    async fn apply_chunk(&mut self, chunk: Vec<(Entry, Responder)>) -> Result<(), io::Error> {
        let Some((last, _)) = chunk.last() else {
            return Ok(());
        };
        let last = last.log_id.index;
        #[cfg(feature = "planted-bugs")]
        let wait = !crate::planted::ack_before_fsync();
        #[cfg(not(feature = "planted-bugs"))]
        let wait = true;
        // As a rule it is, when a majority has synced.
        let synced = !wait || *self.flushed.borrow() > last;
        // The disk may stall: the threads that send heartbeats don't wait for it.
        let Executed {
            mut transaction,
            answers,
            takeover,
        } = in_place(|| {
            let mut executed = self.execute(chunk)?;
            if synced && let Some(transaction) = executed.transaction.take() {
                self.commit(transaction)?;
            }
            Ok::<_, io::Error>(executed)
        })?;
        if let Some(transaction) = transaction.take() {
            self.flushed
                .wait_for(|&end| end > last)
                .await
                .map_err(io::Error::other)?;
            in_place(|| self.commit(transaction))?;
        }
        *self.standing.lock() = self.applied.standing();
        let lapsed = self.applied.owner.node == UNOWNED;
        if takeover && !lapsed {
            self.watcher.taken_over(self.shard, self.applied.owner);
        }
        for (responder, answer) in answers {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        if takeover && lapsed {
            // Later than the answer, which says that the batch was certainly not applied.
            self.watcher.taken_over(self.shard, self.applied.owner);
        }
        self.watcher.changed(self.shard);
        Ok(())
    }

    /// Carries out the entries in a transaction that is still to be committed.
    fn execute(&mut self, chunk: Vec<(Entry, Responder)>) -> Result<Executed, io::Error> {
        let mut transaction = self.state.transaction();
        let mut answers = Vec::with_capacity(chunk.len());
        let mut takeover = false;
        for (entry, responder) in chunk {
            self.applied.last = Some(entry.log_id);
            let mut effect = 0;
            let answer = match entry.payload {
                EntryPayload::Blank => Answer::Nothing,
                EntryPayload::Membership(membership) => {
                    self.applied.membership = Membership::new(Some(entry.log_id), membership);
                    effect = xxh3_128(&codec::encode(&self.applied.membership)?);
                    Answer::Nothing
                }
                EntryPayload::Normal(Proposal::Takeover { node, incarnation }) => {
                    self.applied.owner = Owner {
                        node,
                        incarnation,
                        epoch: entry.log_id.index,
                        term: entry.log_id.leader_id.term,
                    };
                    effect = xxh3_128(&codec::encode(&self.applied.owner)?);
                    takeover = true;
                    Answer::Nothing
                }
                EntryPayload::Normal(Proposal::Batch {
                    epoch,
                    now_ms,
                    reached_ms,
                    commands,
                }) => {
                    let (index, stamp) = (entry.log_id.index, Stamp { now_ms, reached_ms });
                    let answer = self.apply_batch(&mut transaction, index, epoch, stamp, commands)?;
                    effect = transaction.take_digest();
                    if let Answer::Untimely = answer {
                        // After one refusal under an epoch nothing is accepted under it.
                        self.applied.owner = Owner {
                            node: UNOWNED,
                            incarnation: 0,
                            epoch: index,
                            term: entry.log_id.leader_id.term,
                        };
                        effect = xxh3_128(&codec::encode(&self.applied.owner)?);
                        takeover = true;
                    }
                    answer
                }
            };
            self.applied.digest = self.applied.digest.after(&entry.log_id, effect);
            answers.push((responder, answer));
        }
        Ok(Executed {
            transaction: Some(transaction),
            answers,
            takeover,
        })
    }

    fn commit(&self, transaction: Transaction) -> Result<(), io::Error> {
        transaction
            .commit(codec::encode(&self.applied)?)
            .map_err(io::Error::other)
    }

    fn apply_batch(
        &self,
        transaction: &mut Transaction,
        index: u64,
        epoch: u64,
        stamp: Stamp,
        commands: Bytes,
    ) -> Result<Answer, io::Error> {
        #[cfg(feature = "planted-bugs")]
        let stale = epoch != self.applied.owner.epoch && !crate::planted::epoch_unchecked();
        #[cfg(not(feature = "planted-bugs"))]
        let stale = epoch != self.applied.owner.epoch;
        if stale {
            return Ok(Answer::StaleEpoch);
        }
        #[cfg(feature = "planted-bugs")]
        let timely = clock::is_timely(stamp) || crate::planted::time_unchecked();
        #[cfg(not(feature = "planted-bugs"))]
        let timely = clock::is_timely(stamp);
        if !timely {
            tracing::warn!(
                shard = %self.shard,
                index,
                ahead_ms = stamp.now_ms - stamp.reached_ms,
                "a batch was of a time that is too far ahead: refused, and its owner is deposed"
            );
            return Ok(Answer::Untimely);
        }
        let commands = batch::unpack(commands).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("batch at {index} is damaged"))
        })?;
        let batch = Batch {
            shard: self.shard,
            index,
            epoch,
            now_ms: stamp.now_ms,
            reached_ms: stamp.reached_ms,
            commands: &commands,
        };
        let outcomes = self
            .machine
            .apply(transaction, &batch)
            .map_err(io::Error::other)?;
        Ok(Answer::Outcomes(outcomes))
    }

    fn snapshot(&self) -> Snapshot {
        let meta = SnapshotMeta {
            last_log_id: self.applied.last,
            last_membership: self.applied.membership.clone(),
        };
        Snapshot {
            meta,
            snapshot: SnapshotData::Local(self.state.clone()),
        }
    }
}

// === impl Applied ===

impl Applied {
    fn standing(&self) -> Standing {
        Standing {
            applied: self.last.map_or(0, |last| last.index),
            digest: self.digest,
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunk = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            chunk.push(entry);
            if chunk.len() == CHUNK_ENTRIES {
                self.apply_chunk(std::mem::take(&mut chunk)).await?;
            }
        }
        self.apply_chunk(chunk).await
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            snapshot: self.snapshot(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (import, applied) = match snapshot {
            SnapshotData::Received { import, applied } => (import, applied),
            // openraft offers a replica's own position at start; its rows are in place.
            SnapshotData::Local(_) if meta.last_log_id == self.applied.last => return Ok(()),
            SnapshotData::Local(other) => snapshot::copy(other, self.state.clone()).await?,
        };
        let position: Applied = codec::decode(&applied)?;
        blocking(move || import.finish(applied))
            .await?
            .map_err(io::Error::other)?;
        tracing::info!(shard = %self.shard, index = meta.last_log_id.map(|l| l.index), "snapshot installed");
        let owner_changed = self.applied.owner != position.owner;
        self.applied = position;
        *self.standing.lock() = self.applied.standing();
        if owner_changed {
            self.watcher.taken_over(self.shard, self.applied.owner);
        }
        self.watcher.changed(self.shard);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.applied.last.is_some().then(|| self.snapshot()))
    }
}

/// Reports the position up to which the log may be purged: the rows themselves are the snapshot.
pub(crate) struct Builder {
    snapshot: Snapshot,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let SnapshotData::Local(state) = &self.snapshot.snapshot else {
            return Err(io::Error::other("a received snapshot cannot be built"));
        };
        // The log may be purged up to here afterwards, so the rows must survive a power cut from now on.
        let state = state.clone();
        let rows = state.clone();
        blocking(move || rows.sync()).await?.map_err(io::Error::other)?;
        Ok(Snapshot {
            meta: self.snapshot.meta.clone(),
            snapshot: SnapshotData::Local(state),
        })
    }
}
