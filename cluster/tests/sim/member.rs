//! One simulated member: a cluster handle over a disk that survives crashes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use cluster::transport::MemoryNetwork;
use cluster::{Cluster, Config, LinkState, NodeId, Owned, Proposer, Reply, Service, ShardId};
use parking_lot::Mutex;
use storage::{MemoryDisk, MemoryOptions, Store};

use crate::machine::LogMachine;

/// The one request that members exchange: `shard u16`, then a command for its owner.
pub(crate) const SUBMIT: u16 = 1;
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
    pub(crate) cluster: RefCell<Option<Cluster>>,
    lives: RefCell<u32>,
    network: MemoryNetwork,
    activations: Arc<Mutex<Vec<Activation>>>,
}

/// The service of a member: forwards submitted commands to the proposers it was given.
struct Owner {
    node: NodeId,
    life: u32,
    proposers: Mutex<HashMap<ShardId, Proposer>>,
    activations: Arc<Mutex<Vec<Activation>>>,
}

// === impl Member ===

impl Member {
    pub(crate) fn new(
        node: NodeId,
        network: &MemoryNetwork,
        activations: &Arc<Mutex<Vec<Activation>>>,
    ) -> Member {
        Member {
            node,
            disk: MemoryDisk::new(),
            cluster: RefCell::new(None),
            lives: RefCell::new(0),
            network: network.clone(),
            activations: activations.clone(),
        }
    }

    /// Starts the member on what its disk holds.
    pub(crate) async fn start(&self) -> Result<(), cluster::Error> {
        let life = {
            let mut lives = self.lives.borrow_mut();
            *lives += 1;
            *lives
        };
        let config = Config {
            advertise: self.network.addr(self.node),
            bootstrap: self.node == NodeId(1),
            join: (1..=3).map(|id| self.network.addr(NodeId(id))).collect(),
            shards: SHARDS,
            snapshot_every: 40,
            keep_entries: 10,
            settle: Duration::from_secs(2),
            ..Config::default()
        };
        let owner = Owner {
            node: self.node,
            life,
            proposers: Mutex::default(),
            activations: self.activations.clone(),
        };
        let store = Store::memory(&self.disk, MemoryOptions::default());
        let transport = Arc::new(self.network.transport(self.node));
        let started = Cluster::start(config, store, transport, Arc::new(LogMachine), Arc::new(owner)).await?;
        *self.cluster.borrow_mut() = Some(started);
        Ok(())
    }

    /// Kills the member as a power cut would: what its disk had not synced is gone.
    pub(crate) fn crash(&self) {
        self.network.crash(self.node);
        self.disk.crash();
        if let Some(dead) = self.cluster.borrow_mut().take() {
            // Its tasks reach neither network nor disk any more; they only have to end.
            tokio::spawn(async move { dead.shutdown().await });
        }
    }

    pub(crate) fn running(&self) -> Option<Cluster> {
        self.cluster.borrow().clone()
    }
}

// === impl Owner ===

impl Service for Owner {
    fn activated(&self, owned: Owned) {
        self.activations.lock().push(Activation {
            shard: owned.shard,
            epoch: owned.epoch,
            node: self.node,
            life: self.life,
        });
        self.proposers.lock().insert(owned.shard, owned.proposer);
    }

    fn deactivated(&self, shard: ShardId, _epoch: u64) {
        self.proposers.lock().remove(&shard);
    }

    fn call(&self, _from: NodeId, method: u16, mut body: Bytes, reply: Reply) {
        assert_eq!(method, SUBMIT);
        let shard = ShardId(body.get_u16());
        let Some(proposer) = self.proposers.lock().get(&shard).cloned() else {
            return reply.send(Err(Bytes::from_static(b"not the owner")));
        };
        let done = move |result: Result<cluster::Committed, cluster::ProposeError>| match result {
            Ok(committed) => reply.send(Ok(committed.outcomes[0].clone())),
            Err(error) => reply.send(Err(Bytes::from(error.to_string()))),
        };
        // A full queue drops the reply, which the client takes for an unknown outcome.
        drop(proposer.submit(vec![body], Box::new(done)));
    }

    fn cast(&self, _from: NodeId, _link: u64, _kind: u16, _body: Bytes) {}

    fn link(&self, _peer: NodeId, _state: LinkState) {}
}
