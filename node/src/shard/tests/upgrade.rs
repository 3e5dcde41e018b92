//! Rolling upgrade of a cluster in memory from one feature level to the next, under load.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::transport::SimNetworkHandle;
use cluster::{Cluster, FeatureLevel, NodeId};
use protocol::{ClientMessageId, ConversationId, ConversationKind, UserId};
use storage::{MemoryDisk, MemoryOptions, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::config::Config;
use crate::service::ChatService;
use crate::shard::Settings;
use crate::shard_client::ConversationSpec;
use crate::state_machine::{CommandOrigin, ConversationOp, ShardStateMachine, TABLES};

const NODES: usize = 3;
const DEADLINE: Duration = Duration::from_secs(120);

/// Node that is restarted with other feature levels on the same disk.
struct UpgradedNode {
    id: NodeId,
    disk: MemoryDisk,
    running: RefCell<Option<(Rc<ChatService>, Cluster)>>,
}

struct Upgrade {
    network: SimNetworkHandle,
    runtime: Runtime,
    nodes: Vec<UpgradedNode>,
    /// Message numbers of the acks.
    acked: RefCell<Vec<u64>>,
    over: Cell<bool>,
}

// === impl Upgrade ===

impl Upgrade {
    fn new() -> Upgrade {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let nodes = (1..=NODES as u64).map(|id| UpgradedNode {
            id: NodeId(id),
            disk: MemoryDisk::new(),
            running: RefCell::new(None),
        });
        Upgrade {
            network: SimNetworkHandle::new(1),
            runtime,
            nodes: nodes.collect(),
            acked: RefCell::default(),
            over: Cell::new(false),
        }
    }

    async fn start(&self, position: usize, level: FeatureLevel) {
        let node = &self.nodes[position];
        let service = ChatService::start(Settings::from(&Config::default()), self.runtime.handle().clone());
        let config = cluster::Config {
            advertise: self.network.addr(node.id),
            seeds: vec![self.network.addr(NodeId(1))],
            shards: 2,
            supported_level: level,
            ..cluster::Config::from(&Config::default())
        };
        let store = Store::memory(TABLES, &node.disk, MemoryOptions::default());
        let transport = Arc::new(self.network.transport(node.id));
        let (machine, replication) = (Arc::new(ShardStateMachine), service.service());
        let started = self
            .runtime
            .spawn(async move { Cluster::start(config, store, transport, machine, replication).await });
        let cluster = started.await.unwrap().unwrap();
        service.join(cluster.clone());
        *node.running.borrow_mut() = Some((Rc::new(service), cluster));
    }

    async fn stop(&self, position: usize) {
        let running = self.nodes[position].running.borrow_mut().take();
        let (service, cluster) = running.unwrap();
        let draining = cluster.clone();
        self.runtime
            .spawn(async move { draining.drain().await })
            .await
            .unwrap();
        service.stop().await;
        self.runtime
            .spawn(async move { cluster.shutdown().await })
            .await
            .unwrap();
    }

    fn clusters(&self) -> Vec<Cluster> {
        let running =
            |node: &UpgradedNode| node.running.borrow().as_ref().map(|(_, cluster)| cluster.clone());
        self.nodes.iter().filter_map(running).collect()
    }

    async fn eventually(&self, what: &str, done: impl Fn(&Cluster) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !self.clusters().iter().all(&done) {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends messages, one behind the other, each until it is acknowledged by some node.
    async fn send(self: Rc<Upgrade>, sender: usize, conv: ConversationId) {
        for number in 0.. {
            let cid = format!("{sender}-{number}");
            for attempt in 0.. {
                let node = &self.nodes[(sender + attempt) % NODES];
                let client = node
                    .running
                    .borrow()
                    .as_ref()
                    .map(|(service, _)| service.conversations());
                if let Some(client) = client {
                    let origin = CommandOrigin {
                        user: UserId::parse("alice").unwrap(),
                        cid: ClientMessageId::parse(&cid).ok(),
                        exclude_session: 0,
                    };
                    let op = ConversationOp::Send {
                        direct: None,
                        body: "{}".into(),
                        reply_to: None,
                        mentions: vec![],
                    };
                    if let Ok(ack) = client.submit(conv.clone(), origin, op).await {
                        self.acked.borrow_mut().push(ack.mn);
                        break;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if self.over.get() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[actix::test]
async fn a_rolling_upgrade_to_the_next_level_loses_nothing() {
    let (old, new) = (FeatureLevel(1), FeatureLevel(2));
    let upgrade = Rc::new(Upgrade::new());
    for position in 0..NODES {
        upgrade.start(position, old).await;
    }
    upgrade
        .eventually("three nodes", |cluster| cluster.ready().is_ok())
        .await;
    let client = upgrade.nodes[0]
        .running
        .borrow()
        .as_ref()
        .unwrap()
        .0
        .conversations();
    let (user, cid) = (
        UserId::parse("alice").unwrap(),
        ClientMessageId::parse("make").unwrap(),
    );
    let created = client
        .create(
            user,
            cid,
            0,
            ConversationSpec::plain(ConversationKind::Group, vec![]),
        )
        .await;
    let conv = created.unwrap().conv;
    let senders: Vec<_> = (0..4)
        .map(|sender| actix::spawn(upgrade.clone().send(sender, conv.clone())))
        .collect();
    for position in 0..NODES {
        upgrade
            .eventually("the old level", |cluster| cluster.feature_level() == old)
            .await;
        let before = upgrade.acked.borrow().len();
        upgrade.stop(position).await;
        upgrade.start(position, new).await;
        upgrade
            .eventually("its return", |cluster| cluster.ready().is_ok())
            .await;
        assert!(upgrade.acked.borrow().len() > before, "sends go on");
    }
    upgrade
        .eventually("the new level", |cluster| cluster.feature_level() == new)
        .await;
    let risen = upgrade.acked.borrow().len();
    let deadline = Instant::now() + DEADLINE;
    while upgrade.acked.borrow().len() < risen + 50 {
        assert!(Instant::now() < deadline, "no sends at the new level");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    upgrade.over.set(true);
    for sender in senders {
        sender.await.unwrap();
    }
    // Every message has one number, and no number is missing.
    let mut acked = std::mem::take(&mut *upgrade.acked.borrow_mut());
    acked.sort_unstable();
    assert_eq!(acked, (1..=acked.len() as u64).collect::<Vec<_>>());
    for position in 0..NODES {
        upgrade.stop(position).await;
    }
    if let Some(upgrade) = Rc::into_inner(upgrade) {
        upgrade.runtime.shutdown_background();
    }
}
