//! The life of conversation actors on a one-node cluster in memory.

use std::sync::Arc;
use std::time::Duration;

use cluster::transport::MemoryNetwork;
use cluster::{Cluster, NodeId};
use protocol::{Cid, ConvId, Kind, UserId};
use storage::{MemoryDisk, MemoryOptions, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::messages::Panic;
use crate::conversation::timeline::{ChatMachine, Command, Op};
use crate::conversation::{Backbone, Conversations, Done, Refusal, Settings};

struct Node {
    backbone: Backbone,
    cluster: Cluster,
    conversations: Conversations,
    runtime: Runtime,
}

impl Node {
    async fn start(settings: Settings) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let backbone = Backbone::start(settings, runtime.handle().clone());
        let service = backbone.service();
        let started = runtime.spawn(async move {
            let network = MemoryNetwork::new(1);
            let config = cluster::Config {
                advertise: network.addr(NodeId(1)),
                bootstrap: true,
                shards: 2,
                ..cluster::Config::default()
            };
            let store = Store::memory(&MemoryDisk::new(), MemoryOptions::default());
            let transport = Arc::new(network.transport(NodeId(1)));
            Cluster::start(config, store, transport, Arc::new(ChatMachine), service).await
        });
        let cluster = started.await.unwrap().unwrap();
        backbone.join(cluster.clone());
        let conversations = backbone.conversations();
        Node {
            backbone,
            cluster,
            conversations,
            runtime,
        }
    }

    fn send(&self, conv: &ConvId, cid: &str) -> impl Future<Output = Result<Done, Refusal>> + use<> {
        let op = Op::Send {
            direct: None,
            body: "{}".into(),
            reply_to: None,
            mentions: vec![],
        };
        let (conv, user) = (conv.clone(), UserId::parse("alice").unwrap());
        self.conversations.submit(Command {
            conv,
            user,
            cid: Cid::parse(cid).ok(),
            skip: 0,
            op,
        })
    }

    async fn group(&self) -> ConvId {
        let (user, cid) = (UserId::parse("alice").unwrap(), Cid::parse("make").unwrap());
        self.conversations
            .create(user, cid, 0, Kind::Group, vec![], None)
            .await
            .unwrap()
            .conv
    }

    async fn stop(self) {
        self.backbone.stop().await;
        self.cluster.shutdown().await;
        self.runtime.shutdown_background();
    }
}

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix::test]
async fn a_conversation_whose_actor_dies_is_rebuilt_and_loses_nothing() {
    let node = Node::start(Settings::default()).await;
    let conv = node.group().await;
    let shard = node.cluster.shard_of(conv.as_str().as_bytes());
    let shared = node.backbone.shared().clone();

    // Commands before, between and behind the deaths, all under way at once.
    let mut sends = Vec::new();
    for round in 0..60 {
        sends.push(node.send(&conv, &format!("{round:02}")));
        if round % 20 == 10 {
            shared
                .active(shard)
                .unwrap()
                .addr
                .try_send(Panic(conv.clone()))
                .unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    let acks = futures::future::join_all(sends).await;
    let order: Vec<u64> = acks.into_iter().map(|ack| ack.unwrap().mn).collect();
    assert_eq!(order, (1..=60).collect::<Vec<_>>());
    assert!(shared.metrics.actors_rebuilt.get() > 0);
    node.stop().await;
}

#[actix::test]
async fn an_idle_conversation_is_passivated_and_comes_back() {
    let node = Node::start(Settings {
        actor_idle: Duration::from_millis(100),
        ..Settings::default()
    })
    .await;
    let conv = node.group().await;
    let shared = node.backbone.shared().clone();
    let first = node.send(&conv, "1").await.unwrap();
    eventually("no actor is left", || shared.metrics.actors.get() == 0).await;
    assert_eq!(node.send(&conv, "2").await.unwrap().mn, 2);
    let again = node.send(&conv, "1").await.unwrap();
    assert!(
        again.dup && again.s == first.s,
        "what the actor forgot, the rows know"
    );
    node.stop().await;
}
