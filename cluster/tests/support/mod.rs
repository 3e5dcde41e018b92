//! Members of a real cluster in one process: TCP between them, a RocksDB each.

pub(crate) mod logging;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cluster::transport::{TcpTransport, TransportConfig};
use cluster::{
    Cluster, ClusterClock, ClusterTuning, CommittedBatch, Config, ConnectionState, FeatureLevel, NodeId,
    OwnedShard, Proposer, Responder, Service, ShardId, StateMachine, StateMachineError,
};
use parking_lot::Mutex;
use storage::{Store, TableCatalog, TableId, Transaction};
use tokio::net::TcpSocket;
use tokio::time::Instant;

/// Shards of the test clusters.
pub(crate) const SHARDS: u16 = 4;
/// Generous: a loaded machine must pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Writes each command as a row under its own text, and answers with the number of rows.
pub(crate) struct Rows;

pub(crate) struct Member {
    pub(crate) cluster: Cluster,
    pub(crate) store: Store,
    pub(crate) addr: String,
    path: PathBuf,
    owner: Arc<Owner>,
}

/// What a member's service was told about a peer's fan-out lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Up(u64),
    Down,
    /// Link and kind.
    Cast(u64, u16),
}

#[derive(Default)]
struct Owner {
    proposers: Mutex<HashMap<ShardId, Arc<tokio::sync::Mutex<Proposer>>>>,
    received: Mutex<Vec<(NodeId, Received)>>,
}

/// Returns a free address that no other socket gets while the test runs: the kernel gives a bound port to none that asks
/// for any, and refuses connections to it until a listener binds it, too.
pub(crate) fn reserved_addr() -> String {
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap().to_string();
    RESERVED.lock().push(socket);
    addr
}

pub(crate) fn config(addr: &str) -> Config {
    Config {
        advertise: addr.to_owned(),
        zone: String::new(),
        gateway_only: false,
        seeds: Vec::new(),
        shards: SHARDS,
        replication: 3,
        heartbeat: Duration::from_millis(300),
        election_min: Duration::from_millis(1000),
        election_max: Duration::from_millis(2000),
        snapshot_rate: 64 << 20,
        isolated_after: Duration::from_secs(10),
        trust_disks: false,
        unsafe_recover: false,
        fsync: true,
        drain_deadline: Duration::from_secs(10),
        supported_level: FeatureLevel::SUPPORTED,
        clock: ClusterClock::system(),
        tuning: ClusterTuning {
            transfer_delay: Duration::from_secs(1),
            snapshot_every: 200,
            keep_entries: 50,
        },
    }
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One member that bootstrapped alone, and `others` that joined it.
pub(crate) async fn grow(directory: &tempfile::TempDir, others: usize) -> Vec<Member> {
    let first = reserved_addr();
    let alone = Config {
        seeds: vec![first.clone()],
        ..config(&first)
    };
    let mut members = vec![Member::start(directory.path().join("1"), &first, alone).await];
    for shard in (0..SHARDS).map(ShardId) {
        members[0].write(shard, "written alone").await;
    }
    for number in 0..others {
        let addr = reserved_addr();
        let join = Config {
            seeds: vec![first.clone()],
            ..config(&addr)
        };
        members.push(Member::start(directory.path().join((number + 2).to_string()), &addr, join).await);
    }
    whole(&members).await;
    members
}

/// Every member holds its share and knows every owner.
pub(crate) async fn whole(members: &[Member]) {
    eventually("every member to be ready", async || {
        members.iter().all(|m| m.cluster.ready().is_ok())
    })
    .await;
}

/// The commands that were applied, each with its index.
const ROWS: TableId = TableId::new(3, "rows");
/// The tables of a member's store.
pub(crate) const TABLES: TableCatalog = TableCatalog::new(&[ROWS, cluster::META_TABLE]);

// === impl Rows ===

impl StateMachine for Rows {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        for command in batch.commands {
            tx.put(ROWS, command, &batch.index.to_be_bytes());
        }
        Ok(batch.commands.to_vec())
    }
}

// === impl Member ===

impl Member {
    pub(crate) async fn start(path: PathBuf, addr: &str, config: Config) -> Member {
        Member::start_with(path, addr, config, Arc::new(Rows)).await
    }

    /// Starts a member with another machine.
    pub(crate) async fn start_with(
        path: PathBuf,
        addr: &str,
        config: Config,
        machine: Arc<dyn StateMachine>,
    ) -> Member {
        logging::init();
        let store = Store::open(TABLES, &storage::Config::small(&path)).unwrap();
        let settings = TransportConfig {
            listen: addr.to_owned(),
            ..TransportConfig::default()
        };
        let transport = Arc::new(TcpTransport::bind(settings).await.unwrap());
        let owner = Arc::new(Owner::default());
        let cluster = Cluster::start(config, store.clone(), transport, machine, owner.clone())
            .await
            .unwrap();
        Member {
            cluster,
            store,
            path,
            addr: addr.to_owned(),
            owner,
        }
    }

    /// Stops without a word to the others, and starts again on the same disk.
    pub(crate) async fn restart(self) -> Member {
        let addr = self.addr.clone();
        self.restart_at(&addr).await
    }

    /// As [`restart`](Self::restart), at another address.
    pub(crate) async fn restart_at(self, addr: &str) -> Member {
        let path = self.path.clone();
        self.stop().await;
        Member::start(path, addr, config(addr)).await
    }

    /// Starts again on the same disk, listening at `addr`, with other hints for the way to the cluster.
    pub(crate) async fn restart_with(self, addr: &str, seeds: Vec<String>) -> Member {
        let path = self.path.clone();
        self.stop().await;
        let config = Config {
            seeds,
            ..config(addr)
        };
        Member::start(path, addr, config).await
    }

    /// Starts again on the same disk, and returns why it does not.
    pub(crate) async fn restart_in_vain(self) -> String {
        let (path, addr) = (self.path.clone(), self.addr.clone());
        self.cluster.shutdown().await;
        self.store.close();
        let store = Store::open(TABLES, &storage::Config::small(&path)).unwrap();
        let settings = TransportConfig {
            listen: addr.clone(),
            ..TransportConfig::default()
        };
        let transport = Arc::new(TcpTransport::bind(settings).await.unwrap());
        let started = Cluster::start(config(&addr), store, transport, Arc::new(Rows), unused_service()).await;
        started.err().expect("it must not start").to_string()
    }

    /// What the service was told about a peer's fan-out lane.
    pub(crate) fn received(&self, from: NodeId) -> Vec<Received> {
        let received = self.owner.received.lock();
        received
            .iter()
            .filter(|(peer, _)| *peer == from)
            .map(|(_, received)| *received)
            .collect()
    }

    pub(crate) async fn stop(self) {
        self.cluster.shutdown().await;
        self.store.close();
        logging::nothing_alarming();
    }

    /// Proposes through whoever owns the shard, until it is committed.
    pub(crate) async fn write(&self, shard: ShardId, command: &str) -> u64 {
        let deadline = Instant::now() + DEADLINE;
        let mut body = BytesMut::new();
        body.put_u16(shard.0);
        body.put_slice(command.as_bytes());
        let body = body.freeze();
        loop {
            if let Some(owner) = self.cluster.route(shard).owner
                && let Ok(mut answer) = self
                    .cluster
                    .call(owner, 1, body.clone(), Duration::from_secs(5))
                    .await
            {
                return answer.get_u64();
            }
            assert!(Instant::now() < deadline, "{command} was not committed in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn has(&self, shard: ShardId, command: &str) -> bool {
        self.cluster
            .state(shard)
            .get(ROWS, command.as_bytes())
            .unwrap()
            .is_some()
    }

    /// Every shard has this many voters, as its owner's replica or another here sees it.
    pub(crate) fn voters(&self, shard: ShardId) -> usize {
        let status = self.cluster.status();
        let local = status.shards[usize::from(shard.0)].local.as_ref();
        local.map_or(0, |group| group.voters.len())
    }
}

// === impl Owner ===

impl Service for Owner {
    fn activated(&self, owned: OwnedShard) {
        let proposer = Arc::new(tokio::sync::Mutex::new(owned.proposer));
        self.proposers.lock().insert(owned.shard, proposer);
    }

    fn deactivated(&self, shard: ShardId, _epoch: u64) {
        self.proposers.lock().remove(&shard);
    }

    fn call(&self, _from: NodeId, _method: u16, mut body: Bytes, reply: Responder) {
        let shard = ShardId(body.get_u16());
        let Some(proposer) = self.proposers.lock().get(&shard).cloned() else {
            return reply.send(Err(Bytes::from_static(b"not the owner")));
        };
        tokio::spawn(async move {
            let result = proposer.lock().await.propose(&[body]).await;
            reply.send(match result {
                Ok(committed) => Ok(Bytes::copy_from_slice(&committed.index.to_be_bytes())),
                Err(error) => Err(Bytes::from(error.to_string())),
            });
        });
    }

    fn cast(&self, from: NodeId, link: u64, kind: u16, _body: Bytes) {
        self.received.lock().push((from, Received::Cast(link, kind)));
    }

    fn link(&self, _peer: NodeId, _state: ConnectionState) {}

    fn incoming(&self, peer: NodeId, state: ConnectionState) {
        let received = match state {
            ConnectionState::Up(link) => Received::Up(link),
            ConnectionState::Down => Received::Down,
        };
        self.received.lock().push((peer, received));
    }
}

/// A service for a member that never gets to serve.
pub(crate) fn unused_service() -> Arc<dyn Service> {
    Arc::new(Owner::default())
}
