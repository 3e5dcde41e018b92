//! History of failovers: the notes that this member writes when it takes a shard over, and their way to the meta group.
//!
//! ```text
//! takeover applied here ─▶ note: who, and why as seen from here ─▶ pending ─▶ meta group's owner ─▶ its log
//! ```
//!
//! Notes wait in memory until the meta group has an owner that accepts them, which after the loss of a node may take as
//! long as the takeovers themselves. They are lost with the process.

mod cause;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use storage::ShardId;
use tokio::sync::Notify;

use self::cause::Seen;
use crate::blocking::{blocking, run_blocking};
use crate::ids::{META_SHARD, NodeId, ShardOwner, UNOWNED};
use crate::member::{Member, Replica};
use crate::shard::{
    Failover, FailoverCause, FailoverHistory, FailoverNote, MemberMethod, decode_notes, encode_notes,
    read_failovers,
};
use crate::transport::Responder;

/// Time to collect notes before they are sent: a node that ends is replaced in all its shards at about the same time.
const COLLECT: Duration = Duration::from_millis(100);
/// Pause after a failed attempt.
const RETRY: Duration = Duration::from_millis(500);
/// Time limit of one request to the meta group's owner.
const DEADLINE: Duration = Duration::from_secs(2);
/// Maximum number of notes in one command.
const BATCH: usize = 256;
/// Maximum number of notes that wait, as many as the history keeps. The oldest are dropped beyond it.
const WAITING: usize = 1_000;

/// Notes that the meta group does not have yet.
#[derive(Default)]
pub(crate) struct PendingFailovers {
    notes: Mutex<VecDeque<FailoverNote>>,
    added: Notify,
}

/// Sends notes until the member stops.
pub(super) async fn run(node: Arc<Member>) {
    loop {
        tokio::select! {
            () = node.pending_failovers.added.notified() => {}
            () = node.stopping().cancelled() => return,
        }
        tokio::time::sleep(COLLECT).await;
        while let Some(mut batch) = node.pending_failovers.first() {
            for note in batch.iter_mut().filter(|note| note.cause == FailoverCause::Moved) {
                // The announcement of a drain takes another connection than the transfers, and may arrive behind them.
                if node.health.is_draining(note.from) {
                    note.cause = FailoverCause::Drained;
                }
            }
            let recorded = tokio::select! {
                recorded = node.record_failovers(&batch) => recorded,
                () = node.stopping().cancelled() => return,
            };
            match recorded {
                Ok(()) => node.pending_failovers.forget(&batch),
                Err(reason) => {
                    tracing::debug!(reason, notes = batch.len(), "failovers not recorded, will retry");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY) => {}
                        () = node.stopping().cancelled() => return,
                    }
                }
            }
        }
    }
}

// === impl Member: failovers ===

impl Member {
    /// Writes a note if this process takes a shard over from an earlier owner. Called by the apply task, so it must not
    /// block.
    pub(super) fn note_failover(&self, shard: ShardId, owner: ShardOwner, replaced: ShardOwner) {
        let is_here = owner.node == self.id() && owner.incarnation == self.incarnation();
        // The first owner of a shard replaces nobody.
        if !is_here || replaced.epoch == 0 {
            return;
        }
        let Some(replica) = self.replica(shard) else {
            return;
        };
        // A takeover that was proposed twice: the shard was owned all the time.
        if replaced.incarnation == self.incarnation() && replica.epoch().is_some() {
            return;
        }
        let from = match replaced.node {
            // The table still has the owner that was deposed.
            UNOWNED => self.table.owner(shard).map_or(UNOWNED, |(node, _)| node),
            node => node,
        };
        let (cause, unavailable) = self.seen(&replica, from, replaced).judge();
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.pending_failovers.add(FailoverNote {
            at_ms: self.clock().now_ms(),
            shard: shard.0,
            from,
            to: self.id(),
            epoch: owner.epoch,
            cause,
            unavailable_ms: unavailable.map(ms),
        });
    }

    fn seen(&self, replica: &Replica, from: NodeId, replaced: ShardOwner) -> Seen {
        let shard = replica.group.shard();
        let ended = replica.ended.lock().map(|at| at.elapsed());
        Seen {
            is_own: from == self.id(),
            is_same_process: replaced.incarnation == self.incarnation(),
            was_deposed: replaced.node == UNOWNED,
            is_draining: self.health.is_draining(from),
            handed_over: self.server.handed_over(from, shard),
            last_message: self.server.since_append(from, shard),
            down: self.health.down_for(from),
            ended,
            patience: self.config.election_min,
        }
    }

    /// Passes notes to the meta group, here or by a request to its owner.
    async fn record_failovers(self: &Arc<Member>, notes: &[FailoverNote]) -> Result<(), String> {
        let command = encode_notes(notes);
        if self.owned_epoch(META_SHARD).is_some() {
            return self.propose_failovers(command).await;
        }
        let owner = self.other_meta_owner()?;
        let answer = self.ask_rpc(owner, MemberMethod::NoteFailovers, command, DEADLINE);
        answer
            .await
            .map(drop)
            .ok_or_else(|| format!("node {owner} did not accept them"))
    }

    /// Proposes a command with notes as the meta group's owner.
    async fn propose_failovers(&self, command: Bytes) -> Result<(), String> {
        let replica = self.replica(META_SHARD);
        let proposer = replica
            .and_then(|replica| replica.map_proposer())
            .ok_or("this node does not own the meta group")?;
        let batch = [command];
        let proposed = async move { proposer.lock().await.propose(&batch).await };
        // Without a majority the proposal would wait until one is connected again.
        let committed = tokio::time::timeout(DEADLINE, proposed).await;
        committed
            .map_err(|e| e.to_string())?
            .map(drop)
            .map_err(|e| e.to_string())
    }

    /// Returns the history from a time on.
    pub(crate) async fn failovers(self: &Arc<Member>, since_ms: u64) -> Result<FailoverHistory, String> {
        let current = match self.owned_epoch(META_SHARD) {
            Some(epoch) => self.current_failovers(epoch, since_ms).await,
            None => self.ask_failovers(since_ms).await,
        };
        if let Ok(items) = current {
            return Ok(FailoverHistory {
                items,
                is_current: true,
            });
        }
        // Without an owner, which is when an operator needs the history most.
        let replica = self.replica(META_SHARD).ok_or("the meta group has no owner")?;
        let rows = self.state(replica.group.shard());
        let items = blocking(move || read_failovers(&rows, since_ms)).await;
        Ok(FailoverHistory {
            items: items.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?,
            is_current: false,
        })
    }

    async fn ask_failovers(&self, since_ms: u64) -> Result<Vec<Failover>, String> {
        let owner = self.other_meta_owner()?;
        let body = Bytes::copy_from_slice(&since_ms.to_be_bytes());
        let answer = self.ask_rpc(owner, MemberMethod::GetFailovers, body, DEADLINE);
        let answer = answer.await.ok_or("the meta group's owner did not answer")?;
        postcard::from_bytes(&answer).map_err(|e| e.to_string())
    }

    /// Reads the history as the meta group's owner.
    async fn current_failovers(&self, epoch: u64, since_ms: u64) -> Result<Vec<Failover>, String> {
        let proved = tokio::time::timeout(DEADLINE, self.readable(META_SHARD, epoch)).await;
        if !matches!(proved, Ok(Ok(()))) {
            return Err("no longer the owner of the meta group".to_owned());
        }
        let rows = self.state(META_SHARD);
        run_blocking(|| read_failovers(&rows, since_ms)).map_err(|e| e.to_string())
    }

    fn other_meta_owner(&self) -> Result<NodeId, String> {
        let owner = self.table.owner(META_SHARD).map(|(owner, _)| owner);
        owner
            .filter(|owner| *owner != self.id())
            .ok_or_else(|| "the meta group has no known owner".to_owned())
    }

    /// Handles notes of another member.
    pub(super) fn serve_failover_notes(self: &Arc<Member>, command: Bytes, reply: Responder) {
        // Each replica would stop before a command that it cannot decode.
        if decode_notes(&command).is_err() {
            return reply.send(Err(Bytes::from_static(b"malformed notes")));
        }
        let node = self.clone();
        self.tasks().spawn(async move {
            let recorded = node.propose_failovers(command).await;
            reply.send(recorded.map(|()| Bytes::new()).map_err(Bytes::from));
        });
    }

    /// Handles a question of another member for the history.
    pub(super) fn serve_failovers(self: &Arc<Member>, mut body: Bytes, reply: Responder) {
        let (Ok(since_ms), Some(epoch)) = (body.try_get_u64(), self.owned_epoch(META_SHARD)) else {
            return reply.send(Err(Bytes::from_static(b"not the owner")));
        };
        let node = self.clone();
        self.tasks().spawn(async move {
            let items = node.current_failovers(epoch, since_ms).await;
            let encoded = items.and_then(|items| postcard::to_stdvec(&items).map_err(|e| e.to_string()));
            reply.send(encoded.map(Bytes::from).map_err(Bytes::from));
        });
    }
}

// === impl PendingFailovers ===

impl PendingFailovers {
    fn add(&self, note: FailoverNote) {
        let mut notes = self.notes.lock();
        if notes.len() == WAITING {
            notes.pop_front();
        }
        notes.push_back(note);
        drop(notes);
        self.added.notify_one();
    }

    /// Returns the oldest notes; `None` if none waits.
    fn first(&self) -> Option<Vec<FailoverNote>> {
        let notes = self.notes.lock();
        (!notes.is_empty()).then(|| notes.iter().take(BATCH).cloned().collect())
    }

    /// Removes notes that were recorded.
    fn forget(&self, recorded: &[FailoverNote]) {
        let is_recorded = |note: &FailoverNote| {
            let same = |other: &FailoverNote| (other.shard, other.epoch) == (note.shard, note.epoch);
            recorded.iter().any(same)
        };
        self.notes.lock().retain(|note| !is_recorded(note));
    }
}
