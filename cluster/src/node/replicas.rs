//! A member's replicas: started, given ownership, restarted, let go.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use storage::ShardId;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::error::{Error, NotOwner};
use crate::machine::Machine;
use crate::membership::admission;
use crate::node::{Node, ears};
use crate::ownership::supervise::supervise;
use crate::ownership::{Owner, UNOWNED};
use crate::raft::group::{Group, Parts};
use crate::service::Owned;
use crate::shard::META;
use crate::shard::map::{Map, MapMachine};
use crate::shard::propose::Proposer;
use crate::shard::read::Reads;
use crate::types::shard_name;

/// How long a replica must have run before it is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// How long a group without a leader is left to members that may own shards, beside two elections.
const LEAVE_TO_OTHERS: Duration = Duration::from_secs(1);

/// One shard's replica on this node.
pub(crate) struct Replica {
    pub(crate) group: Group,
    active: Mutex<Option<Active>>,
    /// When the last epoch began here, or the replica started.
    pub(crate) since: Mutex<Instant>,
    /// A change of its members or its leader is under way.
    pub(crate) busy: AtomicBool,
    /// Cancelled when the replica is let go.
    pub(crate) over: CancellationToken,
    /// The log has ended this member's epoch while it led: see [`supervise`].
    pub(crate) lapsed: Notify,
}

/// What an epoch has.
struct Active {
    proposer: Proposer,
    reads: Reads,
}

// === impl Node ===

impl Node {
    /// Starts what the disk holds; a node that bootstraps makes all groups.
    pub(super) async fn open_replicas(self: &Arc<Node>, bootstrap: bool) -> Result<(), Error> {
        for shard in self.store.shards()? {
            self.start_replica(shard).await?;
        }
        if bootstrap {
            admission::bootstrap(self).await?;
        }
        if let Some(map) = Map::load(&self.state(META))? {
            self.adopt(map);
        }
        Ok(())
    }

    /// Starts a replica, unless it runs.
    pub(crate) async fn start_replica(self: &Arc<Node>, shard: ShardId) -> Result<Arc<Replica>, Error> {
        if let Some(replica) = self.replica(shard) {
            return Ok(replica);
        }
        let machine: Arc<dyn Machine> = if shard == META {
            Arc::new(MapMachine)
        } else {
            self.machine.clone()
        };
        let parts = Parts {
            node: self.id(),
            store: self.store.clone(),
            transport: self.transport.clone(),
            machine,
            watcher: ears::Ears::new(self),
        };
        let group = Group::start(shard, &self.config, parts).await?;
        let replica = Arc::new(Replica {
            group,
            active: Mutex::new(None),
            since: Mutex::new(Instant::now()),
            busy: AtomicBool::new(false),
            over: self.stopping.child_token(),
            lapsed: Notify::new(),
        });
        self.replicas.write().insert(shard, replica.clone());
        self.tasks.spawn(supervise(self.clone(), replica.clone()));
        Ok(replica)
    }

    /// Starts a replica again that a full disk had stopped, once there is room.
    pub(crate) async fn restart_failed(self: &Arc<Node>) -> Result<(), Error> {
        if self.store.poisoned().is_some() || self.store.room().is_err() {
            return Ok(());
        }
        for replica in self.all_replicas() {
            let shard = replica.group.shard();
            // What fails at once after a restart, as on a damaged record, must not fail in a tight loop.
            let rested = replica.since.lock().elapsed() >= RESTART_PAUSE;
            if let Some(reason) = replica.group.failure().filter(|_| rested)
                && !self.stopping.is_cancelled()
            {
                replica.over.cancel();
                self.deactivate(&replica);
                replica.group.shutdown().await;
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
                    "a replica had failed; started again"
                );
            }
        }
        Ok(())
    }

    /// Lets a replica go that other nodes hold now, with its rows.
    pub(crate) async fn remove_replica(&self, shard: ShardId) -> Result<(), Error> {
        let Some(replica) = self.replicas.write().remove(&shard) else {
            return Ok(());
        };
        replica.over.cancel();
        replica.group.shutdown().await;
        self.server.forget(shard);
        let state = self.state(shard);
        blocking(move || state.destroy())
            .await
            .map_err(|_| Error::Stopped)??;
        tracing::info!(shard = shard_name(shard), "replica removed");
        Ok(())
    }

    /// A takeover was applied on this replica.
    pub(crate) fn taken_over(self: &Arc<Node>, shard: ShardId, owner: Owner) {
        let lapsed = owner.node == UNOWNED;
        if !lapsed {
            self.table.learn(shard, owner.node, owner.epoch);
        }
        let Some(replica) = self.replica(shard) else {
            return;
        };
        if owner.node == self.id() && owner.incarnation == self.incarnation() {
            self.activate(&replica, owner);
        } else {
            self.deactivate(&replica);
        }
        if lapsed {
            replica.lapsed.notify_one();
        }
    }

    /// Leaves elections to others where this member may not own: it stands only once nobody has led for a while, lest a
    /// group stay without a leader that only it can lead.
    pub(crate) fn stand_where_it_may(&self) {
        let may_own = self.clock().may_own();
        let patience = self.config.election_max * 2 + LEAVE_TO_OTHERS;
        for replica in self.all_replicas() {
            let quiet = || self.server.quiet(replica.group.shard()) > patience;
            replica.group.stand(may_own || quiet());
        }
    }

    fn activate(self: &Arc<Node>, replica: &Arc<Replica>, owner: Owner) {
        let (shard, epoch) = (replica.group.shard(), owner.epoch);
        self.deactivate(replica);
        let proposer = Proposer::new(shard, epoch, &self.config, self.metrics.clone());
        let reads = Reads::new(shard, owner, self.config.election_max, self.metrics.clone());
        *replica.active.lock() = Some(Active {
            proposer: proposer.clone(),
            reads: reads.clone(),
        });
        *replica.since.lock() = Instant::now();
        self.metrics.took_over();
        let run = proposer
            .clone()
            .run(replica.group.clone(), self.store.clone(), self.clock().clone());
        self.tasks.spawn(run);
        self.tasks.spawn(reads.run(replica.group.clone()));
        if shard != META {
            self.service.activated(Owned {
                shard,
                epoch,
                proposer,
            });
        }
        self.announce();
        self.changed.notify_one();
    }

    pub(crate) fn deactivate(&self, replica: &Replica) {
        let Some(Active { proposer, reads }) = replica.active.lock().take() else {
            return;
        };
        let shard = replica.group.shard();
        proposer.close();
        reads.close();
        self.metrics.lost();
        if shard != META {
            self.service.deactivated(shard, proposer.epoch());
        }
    }

    /// Waits until a local read sees every acknowledged write.
    pub(crate) async fn readable(&self, shard: ShardId, epoch: u64) -> Result<(), NotOwner> {
        let replica = self.replica(shard).ok_or(NotOwner)?;
        let reads = replica.reads(epoch).ok_or(NotOwner)?;
        #[cfg(feature = "planted-bugs")]
        if crate::planted::lease_reads() {
            let proved = replica.group.leased(self.config.election_max).await;
            return if proved { Ok(()) } else { Err(NotOwner) };
        }
        if reads.confirmed().await {
            Ok(())
        } else {
            Err(NotOwner)
        }
    }

    /// Proposes a batch under any epoch: the simulation's deposed owner.
    #[cfg(feature = "planted-bugs")]
    pub(crate) async fn propose_as(
        &self,
        shard: ShardId,
        epoch: u64,
        commands: Vec<bytes::Bytes>,
    ) -> Option<bool> {
        use crate::raft::{Answer, Proposal};
        let commands = crate::shard::batch::pack(&commands);
        let group = self.replica(shard)?.group.clone();
        let (_, answer) = group
            .propose(Proposal::Batch {
                epoch,
                now_ms: 0,
                reached_ms: 0,
                commands,
            })
            .await
            .ok()?;
        Some(matches!(answer, Answer::Outcomes(_)))
    }

    pub(super) async fn stop_replicas(&self) {
        // Taken out first: requests that still arrive find no replica instead of a stopped one.
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
    /// The epoch under which this replica owns its shard.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.active.lock().as_ref().map(|active| active.proposer.epoch())
    }

    pub(crate) fn proposer(&self) -> Option<Proposer> {
        self.active.lock().as_ref().map(|active| active.proposer.clone())
    }

    /// The reads of an epoch, if it is the present one.
    fn reads(&self, epoch: u64) -> Option<Reads> {
        let active = self.active.lock();
        let active = active
            .as_ref()
            .filter(|active| active.proposer.epoch() == epoch)?;
        Some(active.reads.clone())
    }
}
