//! The batcher and the life of conversation actors on a one-node cluster in memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::transport::SimNetworkHandle;
use cluster::{Cluster, CommittedBatch, NodeId, StateMachine, StateMachineError};
use parking_lot::Mutex;
use protocol::{ClientMessageId, ConversationId, ConversationKind, ErrorCode, UserId};
use storage::{MemoryDisk, MemoryOptions, Store, Transaction};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::config::Config;
use crate::service::ChatService;
use crate::shard::messages::{Panic, PanicInResults};
use crate::shard::settings::Settings;
use crate::shard_client::{CommandAck, CommandError, ConversationSpec, ShardClient};
use crate::state_machine::{CommandOrigin, ConversationOp, EventEnvelope, ShardStateMachine, TABLES};
use crate::subscription::Subscriber;

struct Node {
    service: ChatService,
    cluster: Cluster,
    conversations: ShardClient,
    runtime: Runtime,
    entries: Arc<Mutex<Vec<usize>>>,
}

/// State machine that records the number of commands in each log entry.
struct RecordingStateMachine(Arc<Mutex<Vec<usize>>>);

impl StateMachine for RecordingStateMachine {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        self.0.lock().push(batch.commands.len());
        ShardStateMachine.apply(tx, batch)
    }
}

/// Subscriber that records the positions of the events.
struct Positions(UserId, RefCell<Vec<u64>>);

impl Subscriber for Positions {
    fn id(&self) -> u64 {
        1
    }

    fn user(&self) -> &UserId {
        &self.0
    }

    fn event(&self, published: &EventEnvelope) {
        self.1.borrow_mut().push(published.seq);
    }

    fn jumped(&self, _: &ConversationId, _: u64) {}

    fn ended(&self, _: &ConversationId) {}

    fn joined(&self, _: &ConversationId) {}
}

impl Node {
    async fn start(settings: Settings) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = ChatService::start(settings, runtime.handle().clone());
        let replication = service.service();
        let entries: Arc<Mutex<Vec<usize>>> = Arc::default();
        let machine = Arc::new(RecordingStateMachine(entries.clone()));
        let started = runtime.spawn(async move {
            let network = SimNetworkHandle::new(1);
            let config = cluster::Config {
                advertise: network.addr(NodeId(1)),
                seeds: vec![network.addr(NodeId(1))],
                shards: 2,
                ..cluster::Config::from(&Config::default())
            };
            // Long enough for commands to queue up behind an entry.
            let options = MemoryOptions {
                sync_delay: Duration::from_millis(5),
                ..MemoryOptions::default()
            };
            let store = Store::memory(TABLES, &MemoryDisk::new(), options);
            let transport = Arc::new(network.transport(NodeId(1)));
            Cluster::start(config, store, transport, machine, replication).await
        });
        let cluster = started.await.unwrap().unwrap();
        service.join(cluster.clone());
        let conversations = service.conversations();
        Node {
            service,
            cluster,
            conversations,
            runtime,
            entries,
        }
    }

    fn send(
        &self,
        conv: &ConversationId,
        cid: &str,
    ) -> impl Future<Output = Result<CommandAck, CommandError>> + use<> {
        self.submit("alice", conv, cid, message())
    }

    fn submit(
        &self,
        user: &str,
        conv: &ConversationId,
        cid: &str,
        op: ConversationOp,
    ) -> impl Future<Output = Result<CommandAck, CommandError>> + use<> {
        let origin = CommandOrigin {
            user: UserId::parse(user).unwrap(),
            cid: ClientMessageId::parse(cid).ok(),
            exclude_session: 0,
        };
        self.conversations.submit(conv.clone(), origin, op)
    }

    async fn group(&self) -> ConversationId {
        let (user, cid) = (
            UserId::parse("alice").unwrap(),
            ClientMessageId::parse("make").unwrap(),
        );
        self.conversations
            .create(
                user,
                cid,
                0,
                ConversationSpec::plain(ConversationKind::Group, vec![]),
            )
            .await
            .unwrap()
            .conv
    }

    async fn stop(self) {
        self.service.stop().await;
        self.cluster.shutdown().await;
        self.runtime.shutdown_background();
    }
}

fn message() -> ConversationOp {
    ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    }
}

async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Sends 60 messages at once and returns the number of commands in each log entry.
async fn entries_of_a_burst(settings: Settings) -> Vec<usize> {
    let node = Node::start(settings).await;
    let conv = node.group().await;
    node.entries.lock().clear();
    let sends: Vec<_> = (0..60).map(|n| node.send(&conv, &format!("{n:02}"))).collect();
    let acks = futures::future::join_all(sends).await;
    let order: Vec<u64> = acks.into_iter().map(|ack| ack.unwrap().mn).collect();
    assert_eq!(order, (1..=60).collect::<Vec<_>>());
    let entries = std::mem::take(&mut *node.entries.lock());
    node.stop().await;
    entries
}

#[actix::test]
async fn one_command_per_entry_with_a_limit_of_one() {
    let one = Settings {
        batch_commands: 1,
        ..Settings::from(&Config::default())
    };
    let entries = entries_of_a_burst(one).await;
    assert!(entries.iter().all(|commands| *commands == 1), "{entries:?}");
    assert!(entries.len() >= 60, "{entries:?}");
}

#[actix::test]
async fn commands_behind_an_entry_become_one_entry() {
    let entries = entries_of_a_burst(Settings::from(&Config::default())).await;
    assert!(entries.iter().sum::<usize>() >= 60, "{entries:?}");
    assert!(entries.len() < 30, "{entries:?}");
}

#[actix::test]
async fn a_conversation_whose_actor_dies_is_rebuilt_and_loses_nothing() {
    let node = Node::start(Settings::from(&Config::default())).await;
    let conv = node.group().await;
    let shard = node.cluster.shard_of(&conv);
    let shared = node.service.shared().clone();

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
    assert!(shared.client.metrics.actors_rebuilt.get() > 0);
    node.stop().await;
}

#[actix::test]
async fn results_that_panic_lose_no_command() {
    let node = Node::start(Settings::from(&Config::default())).await;
    let conv = node.group().await;
    let shared = node.service.shared().clone();
    let owned = shared.active(node.cluster.shard_of(&conv)).unwrap();

    let mut sends = Vec::new();
    for round in 0..40 {
        sends.push(node.send(&conv, &format!("{round:02}")));
        if round % 20 == 10 {
            owned.addr.try_send(PanicInResults(conv.clone())).unwrap();
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    let acks = futures::future::join_all(sends).await;
    let order: Vec<u64> = acks.into_iter().map(|ack| ack.unwrap().mn).collect();
    assert_eq!(order, (1..=40).collect::<Vec<_>>());
    assert!(shared.client.metrics.actors_rebuilt.get() > 0);
    node.stop().await;
}

#[actix::test]
async fn event_whose_results_panic_is_delivered() {
    let node = Node::start(Settings::from(&Config::default())).await;
    let conv = node.group().await;
    let alice = UserId::parse("alice").unwrap();
    let subscriber = Rc::new(Positions(alice, RefCell::default()));
    let hub = node.service.relay().hub();
    hub.subscribe(&conv, subscriber.clone()).await.unwrap();
    let shared = node.service.shared().clone();
    let owned = shared.active(node.cluster.shard_of(&conv)).unwrap();
    owned.addr.try_send(PanicInResults(conv.clone())).unwrap();
    // The last event: none behind it shows the gap.
    let ack = node.send(&conv, "lost").await.unwrap();
    assert!(ack.dup, "the log has it since the first attempt");
    eventually("the event", || subscriber.1.borrow().last() == Some(&ack.s)).await;
    assert_eq!(subscriber.1.borrow().len(), 1);
    node.stop().await;
}

#[actix::test]
async fn ack_of_an_invitation_follows_the_precheck_cache() {
    let node = Node::start(Settings::from(&Config::default())).await;
    let conv = node.group().await;
    let bob = || UserId::parse("bob").unwrap();
    for round in 0..20 {
        // Refused by the log at first, and by the cache the second time.
        for cid in ["a", "b"] {
            let refused = node
                .submit("bob", &conv, &format!("{cid}{round}"), message())
                .await;
            assert_eq!(refused.unwrap_err().code, ErrorCode::NotMember);
        }
        let invite = ConversationOp::Invite { who: bob() };
        node.submit("alice", &conv, &format!("i{round}"), invite)
            .await
            .unwrap();
        node.submit("bob", &conv, &format!("c{round}"), message())
            .await
            .unwrap();
        let kick = ConversationOp::Kick { who: bob() };
        node.submit("alice", &conv, &format!("k{round}"), kick)
            .await
            .unwrap();
    }
    let prechecked = node.service.shared().client.metrics.prechecked.get();
    assert!(prechecked > 0, "the cache has refused nothing");
    node.stop().await;
}

#[actix::test]
async fn an_idle_conversation_is_passivated_and_comes_back() {
    let node = Node::start(Settings {
        actor_idle: Duration::from_millis(100),
        ..Settings::from(&Config::default())
    })
    .await;
    let conv = node.group().await;
    let shared = node.service.shared().clone();
    let first = node.send(&conv, "1").await.unwrap();
    eventually("no actor is left", || shared.client.metrics.actors.get() == 0).await;
    assert_eq!(node.send(&conv, "2").await.unwrap().mn, 2);
    let again = node.send(&conv, "1").await.unwrap();
    assert!(
        again.dup && again.s == first.s,
        "what the actor forgot, the rows know"
    );
    node.stop().await;
}
