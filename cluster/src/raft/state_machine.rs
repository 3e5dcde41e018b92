//! Applies committed entries in order, each chunk in one storage transaction.
//!
//! Spine: step 9 of 13. Previous: `cluster: transport`. Next: `node: state_machine/apply`.
//!
//! Queue: committed entries in openraft's channel to the state machine, bounded by 1,024 calls. The Raft group waits
//! while it is full. One transaction takes at most 64 entries. Metric: `commands`.
//!
//! The transaction is not synced: the log is authoritative, and effects lost in a crash are applied again. That
//! requires that an entry's effects do not reach the disk before the entry does. A leader may commit through its
//! followers before its own write is done, so apply waits for the local flush.
//!
//! Every replica checks two things alike: the owner's epoch, and the time of each batch against the evidence stored
//! with it. A batch whose time is too far ahead never changes rows, and it ends the epoch of its proposer.

mod snapshots;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{ShardId, ShardState, Transaction};
use tokio::sync::watch;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use self::snapshots::SnapshotBuilder;
use crate::batch_codec;
use crate::blocking::run_blocking;
use crate::clock::{self, Stamp};
use crate::ids::{FeatureLevel, ShardOwner, UNOWNED};
use crate::raft::digest::{Digest, ReplicaDigest};
use crate::raft::row_copy::RowCopies;
use crate::raft::snapshot::SnapshotData;
use crate::raft::{
    Entry, LogId, Membership, Proposal, ProposalResult, Snapshot, SnapshotMeta, TypeConfig, codec,
};
use crate::state_machine::{CommittedBatch, StateMachine, StateMachineError, UndecodableCommand};

/// Maximum number of entries in one transaction.
const CHUNK_ENTRIES: usize = 64;

/// State machine of one group, over the node's disk.
#[derive(Clone)]
pub(crate) struct StateMachineStore {
    shard: ShardId,
    state: ShardState,
    machine: Arc<dyn StateMachine>,
    watcher: Arc<dyn ApplyObserver>,
    flushed: watch::Receiver<u64>,
    applied: AppliedPosition,
    standing: Arc<Mutex<ReplicaDigest>>,
    undecodable: Arc<OnceLock<String>>,
    copies: Arc<RowCopies>,
    supported_level: FeatureLevel,
}

/// Applied position of a replica; stored in the same transaction as the rows it describes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct AppliedPosition {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) owner: ShardOwner,
    /// Highest feature level of all batches up to `last`.
    pub(crate) level: FeatureLevel,
    /// Digest of all entries up to `last`.
    pub(crate) digest: Digest,
}

/// Observer of applied entries. Called from the group's apply task, so it must not block.
pub(crate) trait ApplyObserver: Send + Sync + 'static {
    /// Reports an applied takeover: from here on only batches of this owner are accepted. `replaced`: the owner before it.
    fn taken_over(&self, shard: ShardId, owner: ShardOwner, replaced: ShardOwner);
    /// Reports changed rows of the shard.
    fn changed(&self, shard: ShardId);
    /// Reports the time in which entries were applied.
    fn applied(&self, took: Duration);
}

type ProposalResponder = Option<ApplyResponder<TypeConfig>>;

/// Result of executing a run of entries.
struct Executed {
    /// Transaction that is still to be committed; `None` once it is.
    transaction: Option<Transaction>,
    answers: Vec<(ProposalResponder, ProposalResult)>,
    /// The owner that the last takeover replaced, possibly the same one of an earlier epoch.
    replaced: Option<ShardOwner>,
}

// === impl StateMachineStore ===

impl StateMachineStore {
    /// Opens a replica's state and reads its position from disk.
    ///
    /// # Errors
    /// If the disk or the record on it cannot be read.
    pub(crate) fn open(
        shard: ShardId,
        state: ShardState,
        machine: Arc<dyn StateMachine>,
        watcher: Arc<dyn ApplyObserver>,
        flushed: watch::Receiver<u64>,
        supported_level: FeatureLevel,
    ) -> Result<StateMachineStore, io::Error> {
        let applied = match state.applied().map_err(io::Error::other)? {
            Some(bytes) => codec::decode(&bytes)?,
            None => AppliedPosition::default(),
        };
        let standing = Arc::new(Mutex::new(applied.standing()));
        Ok(StateMachineStore {
            shard,
            copies: Arc::new(RowCopies::new(state.clone())),
            state,
            machine,
            watcher,
            flushed,
            applied,
            standing,
            undecodable: Arc::default(),
            supported_level,
        })
    }

    /// Returns the shared position and digest. They describe rows that are committed, never a transaction in progress.
    pub(crate) fn standing(&self) -> Arc<Mutex<ReplicaDigest>> {
        self.standing.clone()
    }

    /// Returns the shared description of the entry at which the replica stopped; empty while it runs.
    pub(crate) fn undecodable(&self) -> Arc<OnceLock<String>> {
        self.undecodable.clone()
    }

    /// Returns the shared copies of rows, for comparisons with other replicas.
    pub(crate) fn copies(&self) -> Arc<RowCopies> {
        self.copies.clone()
    }

    async fn apply_chunk(&mut self, chunk: Vec<(Entry, ProposalResponder)>) -> Result<(), io::Error> {
        let Some((last, _)) = chunk.last() else {
            return Ok(());
        };
        let last = last.log_id.index;
        let began = Instant::now();
        #[cfg(feature = "planted-bugs")]
        let wait = !crate::seeded_bugs::ack_before_fsync();
        #[cfg(not(feature = "planted-bugs"))]
        let wait = true;
        // Usually true: when a majority has synced an entry, this replica normally has, too.
        let synced = !wait || *self.flushed.borrow() > last;
        // The disk may stall; heartbeats run on the same threads and must not wait for it.
        let Executed {
            mut transaction,
            answers,
            replaced,
        } = run_blocking(|| {
            let mut executed = self.execute(chunk)?;
            if synced && let Some(transaction) = executed.transaction.take() {
                self.commit(transaction)?;
            }
            Ok::<_, io::Error>(executed)
        })?;
        if let Some(transaction) = transaction.take() {
            // Rows of an entry must not reach the disk before the entry itself: after a crash the applied position
            // would be ahead of the log.
            self.flushed
                .wait_for(|&end| end > last)
                .await
                .map_err(io::Error::other)?;
            run_blocking(|| self.commit(transaction))?;
        }
        // After the commit: the digest must describe rows that a comparison of replicas can read.
        *self.standing.lock() = self.applied.standing();
        self.copies.reached(last);
        let lapsed = self.applied.owner.node == UNOWNED;
        // Before the responses: the shard is active when the takeover's proposer continues.
        if let Some(replaced) = replaced.filter(|_| !lapsed) {
            self.watcher.taken_over(self.shard, self.applied.owner, replaced);
        }
        for (responder, answer) in answers {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        if let Some(replaced) = replaced.filter(|_| lapsed) {
            // After the responses: deactivating first would turn a batch that is certainly not applied into an unknown
            // outcome.
            self.watcher.taken_over(self.shard, self.applied.owner, replaced);
        }
        self.watcher.applied(began.elapsed());
        self.watcher.changed(self.shard);
        Ok(())
    }

    /// Executes the entries in a transaction that is still to be committed.
    fn execute(&mut self, chunk: Vec<(Entry, ProposalResponder)>) -> Result<Executed, io::Error> {
        let mut transaction = self.state.transaction();
        let mut answers = Vec::with_capacity(chunk.len());
        let mut replaced = None;
        for (entry, responder) in chunk {
            // Updated before the entry is executed: an error below stops the replica, so this position is not stored.
            self.applied.last = Some(entry.log_id);
            let mut effect = 0;
            let answer = match entry.payload {
                EntryPayload::Blank => ProposalResult::Nothing,
                EntryPayload::Membership(membership) => {
                    self.applied.membership = Membership::new(Some(entry.log_id), membership);
                    effect = xxh3_128(&codec::encode(&self.applied.membership)?);
                    ProposalResult::Nothing
                }
                EntryPayload::Normal(Proposal::Takeover { node, incarnation }) => {
                    replaced = Some(self.applied.owner);
                    self.applied.owner = ShardOwner {
                        node,
                        incarnation,
                        epoch: entry.log_id.index,
                        term: entry.log_id.leader_id.term,
                    };
                    effect = xxh3_128(&codec::encode(&self.applied.owner)?);
                    ProposalResult::Nothing
                }
                EntryPayload::Normal(Proposal::Batch {
                    epoch,
                    level,
                    now_ms,
                    reached_ms,
                    commands,
                }) => {
                    let (index, stamp) = (entry.log_id.index, Stamp { now_ms, reached_ms });
                    let answer =
                        self.apply_batch(&mut transaction, index, (epoch, level), stamp, commands)?;
                    // Reset per entry: the transaction starts a new digest with the next one.
                    effect = transaction.take_digest();
                    if let ProposalResult::Untimely = answer {
                        replaced = Some(self.applied.owner);
                        // After one refusal under an epoch nothing is accepted under it.
                        self.applied.owner = ShardOwner {
                            node: UNOWNED,
                            incarnation: 0,
                            // The index of this entry as the epoch makes every batch in flight stale, also those of the
                            // deposed owner.
                            epoch: index,
                            term: entry.log_id.leader_id.term,
                        };
                        effect = xxh3_128(&codec::encode(&self.applied.owner)?);
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
            replaced,
        })
    }

    fn commit(&self, transaction: Transaction) -> Result<(), io::Error> {
        transaction
            .commit(codec::encode(&self.applied)?)
            .map_err(io::Error::other)
    }

    fn apply_batch(
        &mut self,
        transaction: &mut Transaction,
        index: u64,
        (epoch, level): (u64, FeatureLevel),
        stamp: Stamp,
        commands: Bytes,
    ) -> Result<ProposalResult, io::Error> {
        #[cfg(feature = "planted-bugs")]
        let stale = epoch != self.applied.owner.epoch && !crate::seeded_bugs::epoch_unchecked();
        #[cfg(not(feature = "planted-bugs"))]
        let stale = epoch != self.applied.owner.epoch;
        // Checked before the time: an untimely batch of a deposed owner must not depose the current one.
        if stale {
            return Ok(ProposalResult::StaleEpoch);
        }
        #[cfg(feature = "planted-bugs")]
        let timely = clock::is_timely(stamp) || crate::seeded_bugs::time_unchecked();
        #[cfg(not(feature = "planted-bugs"))]
        let timely = clock::is_timely(stamp);
        if !timely {
            tracing::warn!(
                shard = %self.shard,
                index,
                ahead_ms = stamp.now_ms - stamp.reached_ms,
                "batch timestamp too far ahead: batch refused, shard owner deposed"
            );
            return Ok(ProposalResult::Untimely);
        }
        if level > self.supported_level {
            let newer = UndecodableCommand {
                kind: None,
                version: 0,
                reason: format!(
                    "feature level {level}, this build supports {}",
                    self.supported_level
                ),
            };
            return self.stop_before(index, &newer);
        }
        // An owner with an older cluster map may propose under a lower level than the previous owner. The rules of a
        // shard never go back.
        self.applied.level = self.applied.level.max(level);
        let Some(commands) = batch_codec::unpack(commands) else {
            let damaged = UndecodableCommand {
                kind: None,
                version: 0,
                reason: "the batch is damaged".to_owned(),
            };
            return self.stop_before(index, &damaged);
        };
        let batch = CommittedBatch {
            shard: self.shard,
            index,
            epoch,
            level: self.applied.level,
            now_ms: stamp.now_ms,
            reached_ms: stamp.reached_ms,
            commands: &commands,
        };
        match self.machine.apply(transaction, &batch) {
            Ok(outcomes) => Ok(ProposalResult::Outcomes(outcomes)),
            Err(StateMachineError::Storage(error)) => Err(io::Error::other(error)),
            Err(StateMachineError::Undecodable(undecodable)) => self.stop_before(index, &undecodable),
        }
    }

    /// Stops this replica before an entry that it cannot decode. The error drops the transaction, so the applied
    /// position on disk stays before the entry, and a build that knows the command continues there. Skipping the entry
    /// would make the rows differ from those of other replicas.
    fn stop_before(&self, index: u64, undecodable: &UndecodableCommand) -> Result<ProposalResult, io::Error> {
        #[cfg(feature = "planted-bugs")]
        if crate::seeded_bugs::undecodable_skipped() {
            return Ok(ProposalResult::Outcomes(Vec::new()));
        }
        tracing::error!(
            shard = %self.shard,
            index,
            kind = undecodable.kind,
            version = undecodable.version,
            reason = undecodable.reason,
            "replica stopped before an entry that this build cannot decode: start a newer build"
        );
        let reason = format!("entry {index}: {undecodable}");
        // Set once: the group has stopped and applies nothing any more.
        let _ = self.undecodable.set(reason.clone());
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }
}

// === impl AppliedPosition ===

impl AppliedPosition {
    fn standing(&self) -> ReplicaDigest {
        ReplicaDigest {
            applied: self.last.map_or(0, |last| last.index),
            digest: self.digest,
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachineStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), io::Error> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunk = Vec::new();
        while let Some(entry) = entries.try_next().await? {
            let is_wanted = self.copies.is_wanted_at(entry.0.log_id.index);
            chunk.push(entry);
            // Chunks bound the size of a transaction and the delay of the first response in a long run of entries.
            if chunk.len() == CHUNK_ENTRIES || is_wanted {
                self.apply_chunk(std::mem::take(&mut chunk)).await?;
            }
        }
        self.apply_chunk(chunk).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(self.snapshot())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        self.install(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.applied.last.is_some().then(|| self.snapshot()))
    }
}
