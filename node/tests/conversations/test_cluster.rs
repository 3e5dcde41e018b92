//! Nodes without sockets: the conversation side of each, over real cluster members on a network and disks in memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::transport::SimNetworkHandle;
use cluster::{Cluster, ClusterTuning, NodeId};
use node::config::Config;
use node::presence::LocalPresence;
use node::service::ChatService;
use node::shard::Settings;
use node::shard_client::{CommandAck, CommandError, ShardClient};
use node::state_machine::{
    AdditionLimits, CommandOrigin, ConversationOp, EventEnvelope, RetentionPolicies, RetentionPolicy,
    ShardStateMachine, TABLES,
};
use node::subscription::{Subscriber, SubscriptionHub};
use node::telemetry::metrics::MetricsRegistry;
use protocol::{ClientMessageId, ConversationId, ConversationKind, Event, UserId};
use storage::{MemoryDisk, MemoryOptions, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Generous: a loaded machine must pass.
const DEADLINE: Duration = Duration::from_secs(60);
const SHARDS: u16 = 4;
/// Short, so that a test needn't wait long for somebody to be gone.
const HOLD_DOWN: Duration = Duration::from_millis(500);

/// The nodes of a test.
pub(crate) struct TestCluster {
    pub(crate) network: SimNetworkHandle,
    pub(crate) nodes: Vec<Node>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    disk: MemoryDisk,
    pub(crate) service: ChatService,
    pub(crate) cluster: Cluster,
    pub(crate) conversations: ShardClient,
    pub(crate) hub: SubscriptionHub,
    pub(crate) presence: LocalPresence,
    figures: MetricsRegistry,
    runtime: Option<Runtime>,
}

/// A session that writes down what it gets.
pub(crate) struct RecordingSubscriber {
    id: u64,
    user: UserId,
    pub(crate) seen: RefCell<HashMap<ConversationId, Vec<(u64, String)>>>,
    pub(crate) joined: RefCell<Vec<ConversationId>>,
    /// Events that are in no log.
    pub(crate) whispers: RefCell<Vec<String>>,
    /// Positions behind what was gone.
    pub(crate) jumps: RefCell<Vec<(ConversationId, u64)>>,
    /// Conversations that ended without the event that says so.
    pub(crate) ended: RefCell<Vec<ConversationId>>,
}

// === impl TestCluster, Node ===

impl TestCluster {
    pub(crate) async fn start(nodes: u64) -> TestCluster {
        TestCluster::with(nodes, |_| ()).await
    }

    /// Starts nodes whose settings `change` has the last word on.
    pub(crate) async fn with(nodes: u64, change: impl Fn(&mut Settings)) -> TestCluster {
        let network = SimNetworkHandle::new(1);
        let mut cluster = TestCluster {
            network,
            nodes: Vec::new(),
        };
        for id in 1..=nodes {
            let config = Config::default();
            let mut settings = Settings {
                positions_every: Duration::from_millis(200),
                // A few users make many groups here.
                added: AdditionLimits { by_one: 0, by_all: 0 },
                users: node::presence::Settings {
                    offline_grace: HOLD_DOWN,
                    register_timeout: HOLD_DOWN / 2,
                    node_timeout: Duration::from_secs(2),
                    gather: Duration::from_millis(10),
                    ..node::presence::Settings::from(&config)
                },
                ..Settings::from(&config)
            };
            change(&mut settings);
            let node = Node::start(&cluster.network, NodeId(id), nodes, settings).await;
            cluster.nodes.push(node);
        }
        let all = usize::try_from(nodes).unwrap();
        eventually("every shard has its owner and all its replicas", async || {
            cluster.nodes.iter().all(|node| {
                node.cluster.ready().is_ok()
                    && node
                        .cluster
                        .status()
                        .shards
                        .iter()
                        .all(|shard| shard.replicas.len() == all)
            })
        })
        .await;
        cluster
    }

    /// Starts three nodes that keep so many messages of a group, and let go of what is older at once.
    pub(crate) async fn keeping(messages: u64) -> TestCluster {
        TestCluster::with(3, |settings| {
            let group = RetentionPolicy {
                max_messages: Some(messages),
                ..RetentionPolicy::default()
            };
            settings.retention = RetentionPolicies {
                group,
                ..RetentionPolicies::default()
            };
            settings.retention_interval = Duration::from_millis(20);
        })
        .await
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    /// The owner of a conversation, and the others.
    pub(crate) fn owner_and_others(&self, conv: &ConversationId) -> (NodeId, Vec<NodeId>) {
        let owner = self.nodes[self.owner_of(conv)].id;
        (
            owner,
            self.nodes
                .iter()
                .map(|node| node.id)
                .filter(|id| *id != owner)
                .collect(),
        )
    }

    fn owner_of(&self, conv: &ConversationId) -> usize {
        let cluster = &self.nodes[0].cluster;
        let owner = cluster.route(cluster.shard_of(conv)).owner.unwrap();
        self.nodes.iter().position(|node| node.id == owner).unwrap()
    }

    /// Kills a node as a power cut would.
    pub(crate) async fn crash(&mut self, id: NodeId) {
        let at = self.nodes.iter().position(|node| node.id == id).unwrap();
        let mut node = self.nodes.remove(at);
        self.network.crash(node.id);
        node.disk.crash();
        node.service.stop().await;
        if let Some(runtime) = node.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) async fn stop(mut self) {
        for node in &self.nodes {
            node.service.stop().await;
            node.cluster.shutdown().await;
        }
        for node in &mut self.nodes {
            if let Some(runtime) = node.runtime.take() {
                runtime.shutdown_background();
            }
        }
    }
}

impl Node {
    async fn start(network: &SimNetworkHandle, id: NodeId, nodes: u64, settings: Settings) -> Node {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = ChatService::start(settings, runtime.handle().clone());
        let config = cluster::Config {
            advertise: network.addr(id),
            bootstrap: id == NodeId(1),
            join: (1..=nodes).map(|id| network.addr(NodeId(id))).collect(),
            shards: SHARDS,
            tuning: ClusterTuning {
                transfer_delay: Duration::from_secs(1),
                ..ClusterTuning::default()
            },
            ..cluster::Config::from(&Config::default())
        };
        let disk = MemoryDisk::new();
        let (network, store_disk, replication) = (network.clone(), disk.clone(), service.service());
        let started = runtime.spawn(async move {
            let store = Store::memory(
                TABLES,
                &store_disk,
                MemoryOptions {
                    sync_delay: Duration::from_millis(1),
                    ..Default::default()
                },
            );
            let transport = Arc::new(network.transport(id));
            Cluster::start(config, store, transport, Arc::new(ShardStateMachine), replication).await
        });
        let cluster = started.await.unwrap().unwrap();
        service.join(cluster.clone());
        let (conversations, hub) = (service.conversations(), service.relay().hub());
        let presence = service.presence().local_presence();
        let figures = MetricsRegistry::default();
        figures.register(|registry| service.register(registry));
        Node {
            id,
            disk,
            service,
            cluster,
            conversations,
            hub,
            presence,
            figures,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn send(
        &self,
        user: &str,
        conv: &ConversationId,
        text: &str,
    ) -> impl Future<Output = Result<CommandAck, CommandError>> + Send + use<> {
        let body = format!("{{\"text\":\"{text}\"}}").into_boxed_str();
        let op = ConversationOp::Send {
            direct: None,
            body,
            reply_to: None,
            mentions: vec![],
        };
        self.command(user, conv, text, op)
    }

    pub(crate) fn command(
        &self,
        by: &str,
        conv: &ConversationId,
        id: &str,
        op: ConversationOp,
    ) -> impl Future<Output = Result<CommandAck, CommandError>> + Send + use<> {
        let cid = matches!(op, ConversationOp::Read { .. } | ConversationOp::Delivered { .. })
            .then_some(())
            .xor(Some(()))
            .map(|()| cid(id));
        let origin = CommandOrigin {
            user: user(by),
            cid,
            exclude_session: 0,
        };
        self.conversations.submit(conv.clone(), origin, op)
    }

    /// Sends until it is acknowledged, as a client does.
    pub(crate) async fn send_until_acked(&self, by: &str, conv: &ConversationId, text: &str) -> CommandAck {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.send(by, conv, text).await {
                Ok(done) => return done,
                Err(refusal) if refusal.code.temporary() => {
                    assert!(Instant::now() < deadline, "never acknowledged: {refusal}");
                    tokio::time::sleep(Duration::from_millis(refusal.retry_ms.unwrap_or(50).min(200))).await;
                }
                Err(refusal) => panic!("refused for good: {refusal}"),
            }
        }
    }

    /// The value of a figure of this node.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let text = self.figures.render();
        let line = text.lines().find_map(|line| {
            line.strip_prefix("rookery_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        });
        line.unwrap().parse().unwrap()
    }

    pub(crate) async fn group(&self, by: &str, members: &[&str]) -> ConversationId {
        let members = members.iter().map(|member| user(member)).collect();
        let made = self
            .conversations
            .create(user(by), cid("make"), 0, ConversationKind::Group, members, None)
            .await;
        made.unwrap().conv
    }

    pub(crate) async fn listen(&self, by: &str, conv: &ConversationId) -> (Rc<RecordingSubscriber>, u64) {
        let subscriber = RecordingSubscriber::new(by);
        let as_of = self.hub.subscribe(conv, subscriber.clone()).await.unwrap();
        (subscriber, as_of)
    }
}

// === impl RecordingSubscriber ===

impl RecordingSubscriber {
    pub(crate) fn new(by: &str) -> Rc<RecordingSubscriber> {
        thread_local!(static NEXT: Cell<u64> = const { Cell::new(1) });
        let id = NEXT.with(|next| next.replace(next.get() + 1));
        Rc::new(RecordingSubscriber {
            id,
            user: user(by),
            seen: RefCell::default(),
            joined: RefCell::default(),
            whispers: RefCell::default(),
            jumps: RefCell::default(),
            ended: RefCell::default(),
        })
    }

    pub(crate) fn last(&self, conv: &ConversationId) -> u64 {
        self.seen
            .borrow()
            .get(conv)
            .and_then(|seen| seen.last())
            .map_or(0, |(seq, _)| *seq)
    }

    /// The events, after a check that none is missing and none came twice.
    pub(crate) fn contiguous(&self, conv: &ConversationId, as_of: u64) -> Vec<String> {
        let seen = self.seen.borrow();
        let events = seen.get(conv).cloned().unwrap_or_default();
        for ((seq, _), expected) in events.iter().zip(as_of + 1..) {
            assert_eq!(*seq, expected, "{} in {conv}", self.user);
        }
        events.into_iter().map(|(_, tail)| tail).collect()
    }
}

impl Subscriber for RecordingSubscriber {
    fn id(&self) -> u64 {
        self.id
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn event(&self, published: &EventEnvelope) {
        let tail = String::from_utf8(published.tail.to_vec()).unwrap();
        if published.seq == 0 {
            self.whispers.borrow_mut().push(tail);
        } else {
            self.seen
                .borrow_mut()
                .entry(published.conv.clone())
                .or_default()
                .push((published.seq, tail));
        }
    }

    fn jumped(&self, conv: &ConversationId, at: u64) {
        self.jumps.borrow_mut().push((conv.clone(), at));
    }

    fn ended(&self, conv: &ConversationId) {
        self.ended.borrow_mut().push(conv.clone());
    }

    fn joined(&self, conv: &ConversationId) {
        self.joined.borrow_mut().push(conv.clone());
    }
}

/// The client message ids of the messages among the events, in order.
pub(crate) fn cids(events: &[String]) -> Vec<String> {
    let event = |tail: &String| Event::decode(&format!("{{{tail}"));
    let cid = |event| match event {
        Some(Event::Msg(msg)) => Some(msg.client_message_id.to_string()),
        _ => None,
    };
    events.iter().filter_map(|tail| cid(event(tail))).collect()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn cid(text: &str) -> ClientMessageId {
    ClientMessageId::parse(text).unwrap()
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
