//! Replicas of a member: start, activation of epochs, restart and removal.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage::ShardId;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::error::{Error, NotOwner};
use crate::ids::{META_SHARD, NodeId, ShardOwner, UNOWNED, shard_name};
use crate::member::takeover::supervise;
use crate::member::{Member, join, transport_handler};
use crate::raft::{Group, GroupDeps};
use crate::service::OwnedShard;
use crate::shard::{ClusterMap, FreshReads, MapStateMachine, Proposer};
use crate::state_machine::StateMachine;

/// Minimum run time of a replica before it is restarted after a failure.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// Time, beside two election timeouts, during which a group without a leader is left to members that may own shards.
const LEAVE_TO_OTHERS: Duration = Duration::from_secs(1);

/// Returns the key of the record that a replica [replays](Replica::replays): not empty while it does.
fn replay_mark(shard: ShardId) -> String {
    format!("cluster/replays/{}", shard.0)
}

/// Replica of one shard on this node.
pub(crate) struct Replica {
    pub(crate) group: Group,
    active: Mutex<Option<ActiveEpoch>>,
    /// Start of the last epoch on this node, or of the replica.
    pub(crate) since: Mutex<Instant>,
    /// A change of the group's voters or leader is in progress.
    pub(crate) busy: AtomicBool,
    /// The replica was added to a group that existed, and has not received the present membership yet: it must not stand
    /// in elections. The log may begin with a membership of this member alone, in which it would elect itself.
    pub(crate) replays: AtomicBool,
    /// Cancelled when the replica is removed, restarted or stopped.
    pub(crate) over: CancellationToken,
    /// Time since which the last epoch is known to have ended, if this replica ended it or saw its owner deposed.
    pub(crate) ended: Mutex<Option<Instant>>,
    /// Notified when the log ended this member's epoch while it led: see [`supervise`].
    pub(crate) lapsed: Notify,
}

/// Components that live as long as an epoch.
struct ActiveEpoch {
    epoch: u64,
    /// Cancelled at the end of the epoch.
    over: CancellationToken,
    reads: FreshReads,
    /// Proposer of the meta group. The lock keeps one entry in flight. The proposer of another shard belongs to the
    /// service.
    map_proposer: Option<Arc<MapProposer>>,
}

/// Proposer of the meta group, shared by all map changes.
pub(crate) type MapProposer = tokio::sync::Mutex<Proposer>;

// === impl Member ===

impl Member {
    /// Starts the replicas that the disk contains; a bootstrapping node creates all groups.
    pub(super) async fn open_replicas(self: &Arc<Member>, bootstrap: bool) -> Result<(), Error> {
        for shard in self.store.shards()? {
            self.start_replica(shard).await?;
        }
        if bootstrap {
            join::bootstrap(self).await?;
        }
        if let Some(map) = ClusterMap::load(&self.state(META_SHARD))? {
            self.adopt(map);
        }
        Ok(())
    }

    /// Starts a replica, unless it runs already.
    pub(crate) async fn start_replica(self: &Arc<Member>, shard: ShardId) -> Result<Arc<Replica>, Error> {
        // Only the start and the reconciliation loop start replicas, one after the other, so two starts cannot race.
        if let Some(replica) = self.replica(shard) {
            return Ok(replica);
        }
        let machine: Arc<dyn StateMachine> = if shard == META_SHARD {
            Arc::new(MapStateMachine)
        } else {
            self.machine.clone()
        };
        let mark = replay_mark(shard);
        let marked = self.store.get_node(&mark)?.is_some_and(|mark| !mark.is_empty());
        let parts = GroupDeps {
            replays: marked,
            node: self.id(),
            store: self.store.clone(),
            transport: self.transport.clone(),
            machine,
            watcher: transport_handler::TransportHandler::new(self),
        };
        let group = Group::start(shard, &self.config, parts).await?;
        // A new cluster has no map yet, and its only member creates the groups.
        let replays = marked || (group.is_pristine() && !self.map().shards.is_empty());
        if replays && !marked {
            // Before the first entry: a restart in the middle must not forget it.
            group.stand(false);
            self.store.put_node(&mark, b"replays")?;
        }
        let replica = Arc::new(Replica {
            group,
            replays: AtomicBool::new(replays),
            active: Mutex::new(None),
            since: Mutex::new(Instant::now()),
            ended: Mutex::new(None),
            busy: AtomicBool::new(false),
            over: self.stopping.child_token(),
            lapsed: Notify::new(),
        });
        // Inserted before the supervisor starts: the takeover that it proposes finds the replica in this table.
        self.replicas.write().insert(shard, replica.clone());
        self.tasks.spawn(supervise(self.clone(), replica.clone()));
        Ok(replica)
    }

    /// Restarts replicas that a full disk had stopped, once there is room.
    pub(crate) async fn restart_failed(self: &Arc<Member>) -> Result<(), Error> {
        if self.store.poisoned().is_some() || self.store.room().is_err() {
            return Ok(());
        }
        for replica in self.all_replicas() {
            let shard = replica.group.shard();
            // A replica that fails again immediately, such as at a damaged record, must not be restarted in a tight
            // loop.
            let rested = replica.since.lock().elapsed() >= RESTART_PAUSE;
            // It would stop again before the same entry, until another build is started.
            let undecodable = replica.group.undecodable().is_some();
            if let Some(reason) = replica.group.failure().filter(|_| rested)
                && !undecodable
                && !self.stopping.is_cancelled()
            {
                // The supervisor stops first: it must not propose a takeover to the group that is stopping.
                replica.over.cancel();
                self.deactivate(&replica);
                replica.group.shutdown().await;
                // The append queues hold the stopped group; new appends must reach the restarted one.
                self.server.forget(shard);
                self.replicas.write().remove(&shard);
                self.start_replica(shard).await?;
                let Some(held_back) = self.restarts.due() else {
                    continue;
                };
                tracing::warn!(
                    shard = shard_name(shard),
                    reason,
                    held_back,
                    "replica failed, restarted"
                );
            }
        }
        Ok(())
    }

    /// Removes a replica that other nodes hold now, and deletes its rows.
    pub(crate) async fn remove_replica(&self, shard: ShardId) -> Result<(), Error> {
        if !self.stop_replica(shard).await {
            return Ok(());
        }
        self.delete_replica(shard).await
    }

    /// Stops a replica, whose log and rows stay. Returns false if there is none.
    pub(super) async fn stop_replica(&self, shard: ShardId) -> bool {
        // Removed first, so that requests find no replica instead of one that is being stopped.
        let Some(replica) = self.replicas.write().remove(&shard) else {
            return false;
        };
        replica.over.cancel();
        self.deactivate(&replica);
        replica.group.shutdown().await;
        self.server.forget(shard);
        true
    }

    /// Deletes log, vote and rows of a replica that is stopped: a running group could write into the deleted state.
    pub(super) async fn delete_replica(&self, shard: ShardId) -> Result<(), Error> {
        let state = self.state(shard);
        blocking(move || state.destroy())
            .await
            .map_err(|_| Error::Stopped)??;
        tracing::info!(shard = shard_name(shard), "replica removed");
        Ok(())
    }

    /// Handles a takeover that was applied on this replica. `replaced`: the owner before it.
    pub(crate) fn taken_over(self: &Arc<Member>, shard: ShardId, owner: ShardOwner, replaced: ShardOwner) {
        let lapsed = owner.node == UNOWNED;
        // Before the table learns the new owner: it may name the old one.
        self.note_failover(shard, owner, replaced);
        if !lapsed {
            self.table.learn(shard, owner.node, owner.epoch);
        }
        let Some(replica) = self.replica(shard) else {
            return;
        };
        // The incarnation is part of the check: a takeover of an earlier process of this node gives this one no rights.
        if owner.node == self.id() && owner.incarnation == self.incarnation() {
            self.activate(&replica, owner);
        } else {
            self.deactivate(&replica);
        }
        if lapsed {
            // The permit is stored if the supervisor is not waiting at this moment.
            replica.lapsed.notify_one();
            *replica.ended.lock() = Some(Instant::now());
        }
    }

    /// Disables elections by replicas of a member that may not own shards. They are enabled again after a time without
    /// a leader, because a group may have no other member that can lead.
    pub(crate) fn stand_where_it_may(&self) {
        let may_own = self.clock().may_own();
        let patience = self.config.election_max * 2 + LEAVE_TO_OTHERS;
        for replica in self.all_replicas() {
            let quiet = || self.server.quiet(replica.group.shard()) > patience;
            let replays = replica.replays.load(Ordering::Acquire);
            replica.group.stand(!replays && (may_own || quiet()));
        }
    }

    /// Lets a replica stand in elections once its membership contains all members to which the map assigns one: from
    /// then on it elects nobody without a majority of those that count.
    pub(crate) fn end_replay(&self, replica: &Replica, placed: &BTreeSet<NodeId>) -> Result<(), Error> {
        let replays = replica.replays.load(Ordering::Acquire);
        if replays && placed.contains(&self.id()) && replica.group.voters().is_superset(placed) {
            self.store.put_node(&replay_mark(replica.group.shard()), &[])?;
            replica.replays.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn activate(self: &Arc<Member>, replica: &Arc<Replica>, owner: ShardOwner) {
        let (shard, epoch) = (replica.group.shard(), owner.epoch);
        // The old epoch ends before the new one begins: the service must see them in that order.
        self.deactivate(replica);
        let over = CancellationToken::new();
        let proposer = Proposer::new(
            replica.group.clone(),
            epoch,
            over.clone(),
            self.level.clone(),
            self.store.clone(),
            self.clock().clone(),
            self.metrics.clone(),
        );
        let (map_proposer, proposer) = if shard == META_SHARD {
            (Some(Arc::new(MapProposer::new(proposer))), None)
        } else {
            (None, Some(proposer))
        };
        let reads = FreshReads::new(shard, owner, self.config.election_max, self.metrics.clone());
        // Before the service is informed, which may read or propose immediately.
        *replica.active.lock() = Some(ActiveEpoch {
            epoch,
            over,
            reads: reads.clone(),
            map_proposer,
        });
        *replica.since.lock() = Instant::now();
        self.metrics.took_over();
        self.tasks.spawn(reads.run(replica.group.clone()));
        if let Some(proposer) = proposer {
            self.service.activated(OwnedShard {
                shard,
                epoch,
                proposer,
            });
        }
        // Clients are redirected by this announcement; without it they would wait for the next one, up to a second.
        self.announce();
        self.changed.notify_one();
    }

    pub(crate) fn deactivate(&self, replica: &Replica) {
        // Removed in one step, because the supervisor and the apply task may end the same epoch.
        let Some(ended) = replica.active.lock().take() else {
            return;
        };
        let shard = replica.group.shard();
        // Cancelled before the service is informed, so that no batch of this epoch starts afterwards.
        ended.over.cancel();
        ended.reads.close();
        *replica.ended.lock() = Some(Instant::now());
        self.metrics.lost();
        if shard != META_SHARD {
            self.service.deactivated(shard, ended.epoch);
        }
    }

    /// Waits until a local read sees every acknowledged write; fails if this node does not own the shard under `epoch`.
    pub(crate) async fn readable(&self, shard: ShardId, epoch: u64) -> Result<(), NotOwner> {
        let replica = self.replica(shard).ok_or(NotOwner)?;
        let reads = replica.reads(epoch).ok_or(NotOwner)?;
        #[cfg(feature = "planted-bugs")]
        if crate::seeded_bugs::lease_reads() {
            let proved = replica.group.leased(self.config.election_max).await;
            return if proved { Ok(()) } else { Err(NotOwner) };
        }
        if reads.confirmed().await {
            Ok(())
        } else {
            Err(NotOwner)
        }
    }

    /// Proposes a batch under an arbitrary epoch, as a deposed owner would in the simulation.
    #[cfg(feature = "planted-bugs")]
    pub(crate) async fn propose_as(
        &self,
        shard: ShardId,
        epoch: u64,
        commands: Vec<bytes::Bytes>,
    ) -> Option<bool> {
        use crate::raft::{Proposal, ProposalResult};
        let commands = crate::batch_codec::pack(&commands);
        let group = self.replica(shard)?.group.clone();
        let (_, answer) = group
            .propose(Proposal::Batch {
                epoch,
                level: self.level.get(),
                now_ms: 0,
                reached_ms: 0,
                commands,
            })
            .await
            .ok()?;
        Some(matches!(answer, ProposalResult::Outcomes(_)))
    }

    pub(super) async fn stop_replicas(&self) {
        // Removed first, so that requests that still arrive find no replica instead of a stopped one.
        let replicas: Vec<Arc<Replica>> = self
            .replicas
            .write()
            .drain()
            .map(|(_, replica)| replica)
            .collect();
        futures::future::join_all(replicas.iter().map(|replica| async move {
            replica.over.cancel();
            self.deactivate(replica);
            replica.group.shutdown().await;
        }))
        .await;
    }
}

// === impl Replica ===

impl Replica {
    /// Returns the epoch under which this replica owns its shard; `None` if it does not.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.active.lock().as_ref().map(|active| active.epoch)
    }

    /// Returns the proposer of the meta group; `None` if this replica does not own it.
    pub(crate) fn map_proposer(&self) -> Option<Arc<MapProposer>> {
        self.active.lock().as_ref()?.map_proposer.clone()
    }

    /// Returns the reads of an epoch; `None` unless it is the current one.
    fn reads(&self, epoch: u64) -> Option<FreshReads> {
        let active = self.active.lock();
        let active = active.as_ref().filter(|active| active.epoch == epoch)?;
        Some(active.reads.clone())
    }
}
