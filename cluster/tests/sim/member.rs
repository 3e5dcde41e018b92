//! One simulated member: a cluster handle over a disk that survives crashes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use cluster::transport::SimNetworkHandle;
use cluster::{
    Cluster, ClusterClock, ClusterTuning, Config, ConnectionState, FeatureLevel, NodeId, OwnedShard,
    Responder, Service, ShardId,
};
use parking_lot::Mutex;
use storage::{MemoryDisk, MemoryOptions, Store};

use crate::batcher::{self, CommandSender};
use crate::clocks::Clocks;
use crate::machine::{self, LogMachine, TABLES};

/// A request that members exchange: `shard u16`, then a command for its owner.
pub(crate) const SUBMIT: u16 = 1;
/// Another: `shard u16`, `conversation u16`; answered with its last number, by the owner after a read barrier.
pub(crate) const READ: u16 = 2;
/// Shards in a simulation.
pub(crate) const SHARDS: u16 = 3;

/// An epoch that began, for the invariant that no two are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) shard: ShardId,
    pub(crate) epoch: u64,
    pub(crate) node: NodeId,
    /// Counts the starts of the node.
    pub(crate) life: u32,
}

/// A simulated member.
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) disk: MemoryDisk,
    cluster: RefCell<Option<Cluster>>,
    lives: Cell<u32>,
    network: SimNetworkHandle,
    sync_delay: Duration,
    activations: Arc<Mutex<Vec<Activation>>>,
    clocks: Arc<Clocks>,
    /// The first start of the first member has no other seeds, so that it waits for nobody.
    pub(crate) is_first_alone: Cell<bool>,
    /// The next start makes the member the only one of its cluster.
    pub(crate) recovers: Cell<bool>,
    /// Newest command kind of the member's build, from its next start.
    pub(crate) newest_kind: Cell<u8>,
    /// Feature level that the member's build supports, from its next start.
    pub(crate) supported_level: Cell<FeatureLevel>,
}

/// An epoch of this member.
#[derive(Clone)]
struct OwnedEpoch {
    shard: ShardId,
    epoch: u64,
    commands: CommandSender,
}

/// The service of a member: forwards submitted commands to the batchers of its shards.
struct Owner {
    node: NodeId,
    life: u32,
    owned: Mutex<HashMap<ShardId, OwnedEpoch>>,
    activations: Arc<Mutex<Vec<Activation>>>,
    cluster: OnceLock<Cluster>,
}

// === impl Member ===

impl Member {
    pub(crate) fn new(
        node: NodeId,
        network: &SimNetworkHandle,
        sync_delay: Duration,
        activations: &Arc<Mutex<Vec<Activation>>>,
        clocks: &Arc<Clocks>,
    ) -> Member {
        Member {
            node,
            disk: MemoryDisk::new(),
            cluster: RefCell::new(None),
            lives: Cell::new(0),
            network: network.clone(),
            sync_delay,
            activations: activations.clone(),
            clocks: clocks.clone(),
            is_first_alone: Cell::new(true),
            recovers: Cell::new(false),
            newest_kind: Cell::new(machine::NEW_KIND),
            supported_level: Cell::new(FeatureLevel::SUPPORTED),
        }
    }

    /// Starts the member on what its disk holds.
    pub(crate) async fn start(&self) -> Result<(), cluster::Error> {
        let life = self.lives.get() + 1;
        self.lives.set(life);
        let is_alone = life == 1 && self.node == NodeId(1) && self.is_first_alone.get();
        let config = Config {
            advertise: self.network.addr(self.node),
            seeds: (1..=if is_alone { 1 } else { 3 })
                .map(|id| self.network.addr(NodeId(id)))
                .collect(),
            zone: String::new(),
            gateway_only: false,
            shards: SHARDS,
            replication: 3,
            heartbeat: Duration::from_millis(200),
            election_min: Duration::from_millis(400),
            election_max: Duration::from_millis(600),
            snapshot_rate: 64 << 20,
            isolated_after: Duration::from_secs(10),
            trust_disks: false,
            unsafe_recover: self.recovers.get(),
            fsync: true,
            drain_deadline: Duration::from_secs(10),
            supported_level: self.supported_level.get(),
            clock: ClusterClock::new(self.clocks.of(self.node).clone()),
            tuning: ClusterTuning {
                snapshot_every: 40,
                keep_entries: 10,
                transfer_delay: Duration::from_secs(2),
            },
        };
        let owner = Arc::new(Owner {
            node: self.node,
            life,
            owned: Mutex::default(),
            activations: self.activations.clone(),
            cluster: OnceLock::new(),
        });
        let options = MemoryOptions {
            sync_delay: self.sync_delay,
            ..MemoryOptions::default()
        };
        let store = Store::memory(TABLES, &self.disk, options);
        let transport = Arc::new(self.network.transport(self.node));
        let started = Cluster::start(
            config,
            store,
            transport,
            Arc::new(LogMachine::new(
                self.node,
                self.clocks.clone(),
                self.newest_kind.get(),
            )),
            owner.clone(),
        )
        .await;
        if self.lives.get() != life {
            // It lost power while it started.
            if let Ok(dead) = started {
                tokio::spawn(async move { dead.shutdown().await });
            }
            return Ok(());
        }
        let started = started?;
        let _ = owner.cluster.set(started.clone());
        *self.cluster.borrow_mut() = Some(started);
        Ok(())
    }

    /// Kills the member as a power cut would: of what its disk had not synced, only the first `kept` writes are there
    /// afterwards.
    pub(crate) fn crash(&self, retained: usize) {
        self.lives.set(self.lives.get() + 1);
        self.network.crash(self.node);
        self.disk.crash_keeping(retained);
        if let Some(dead) = self.cluster.borrow_mut().take() {
            // Its tasks reach neither network nor disk any more; they only have to end.
            tokio::spawn(async move { dead.shutdown().await });
        }
    }

    /// Stops the member as an operator would: leaders are handed over first.
    pub(crate) async fn stop(&self) {
        let Some(cluster) = self.running() else { return };
        cluster.drain().await;
        self.cluster.borrow_mut().take();
        cluster.shutdown().await;
        // What a clean close writes last is not relied upon.
        self.crash(0);
    }

    pub(crate) fn running(&self) -> Option<Cluster> {
        self.cluster.borrow().clone()
    }
}

// === impl Owner ===

impl Owner {
    /// The owner answers from its own rows once it has proved that it is still the owner.
    async fn read(cluster: Cluster, owned: OwnedEpoch, conversation: u16, reply: Responder) {
        reply.send(match cluster.readable(owned.shard, owned.epoch).await {
            Ok(()) => {
                let last = machine::last(&cluster.state(owned.shard), conversation);
                last.map(|last| Bytes::copy_from_slice(&last.to_be_bytes()))
                    .ok_or_else(|| Bytes::from_static(b"the disk is gone"))
            }
            Err(error) => Err(Bytes::from(error.to_string())),
        });
    }
}

impl Service for Owner {
    fn activated(&self, owned: OwnedShard) {
        self.activations.lock().push(Activation {
            shard: owned.shard,
            epoch: owned.epoch,
            node: self.node,
            life: self.life,
        });
        let epoch = OwnedEpoch {
            shard: owned.shard,
            epoch: owned.epoch,
            commands: batcher::start(owned.proposer),
        };
        self.owned.lock().insert(owned.shard, epoch);
    }

    fn deactivated(&self, shard: ShardId, _epoch: u64) {
        self.owned.lock().remove(&shard);
    }

    fn call(&self, _from: NodeId, method: u16, mut body: Bytes, reply: Responder) {
        let shard = ShardId(body.get_u16());
        let Some(owned) = self.owned.lock().get(&shard).cloned() else {
            return reply.send(Err(Bytes::from_static(b"not the owner")));
        };
        match (method, self.cluster.get().cloned()) {
            // A batcher that has ended drops the reply, which the client takes for an unknown outcome.
            (SUBMIT, _) => drop(owned.commands.send((body, reply))),
            (READ, Some(cluster)) => {
                tokio::spawn(Owner::read(cluster, owned, body.get_u16(), reply));
            }
            _ => reply.send(Err(Bytes::from_static(b"not ready"))),
        }
    }

    fn cast(&self, _from: NodeId, _link: u64, _kind: u16, _body: Bytes) {}

    fn link(&self, _peer: NodeId, _state: ConnectionState) {}
}
