//! Nodes without gateways: chat services over real cluster members on a simulated network and simulated disks.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::transport::SimNetworkHandle;
use cluster::{Cluster, ClusterTuning, NodeId};
use protocol::{ClientMessageId, ConversationId, ConversationKind, UserId};
use storage::{MemoryDisk, MemoryOptions, Store};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::{PATIENCE, RecordingSubscriber, eventually};
use crate::config::Config;
use crate::presence::{self, LocalPresence};
use crate::service::ChatService;
use crate::shard::Settings;
use crate::shard_client::{CommandAck, CommandError, ConversationSpec, ShardClient};
use crate::state_machine::{
    AdditionLimits, CommandOrigin, ConversationOp, RetentionPolicies, RetentionPolicy, ShardStateMachine,
    TABLES,
};
use crate::subscription::SubscriptionHub;
use crate::telemetry::metrics::MetricsRegistry;

const SHARDS: u16 = 4;
/// Short, so that tests do not wait long for an expiry.
const HOLD_DOWN: Duration = Duration::from_millis(500);

/// Chat services of a cluster, each with its own runtime and disk.
pub struct ServiceCluster {
    pub network: SimNetworkHandle,
    pub nodes: Vec<ServiceNode>,
}

/// Chat service of one node and its cluster member.
pub struct ServiceNode {
    pub id: NodeId,
    disk: MemoryDisk,
    pub service: ChatService,
    pub cluster: Cluster,
    pub conversations: ShardClient,
    pub hub: SubscriptionHub,
    pub presence: LocalPresence,
    figures: MetricsRegistry,
    runtime: Option<Runtime>,
}

// === impl ServiceCluster, ServiceNode ===

impl ServiceCluster {
    pub async fn start(nodes: u64) -> ServiceCluster {
        ServiceCluster::with(nodes, |_| ()).await
    }

    /// Starts nodes with the settings of tests and those of `change`.
    pub async fn with(nodes: u64, change: impl Fn(&mut Settings)) -> ServiceCluster {
        let network = SimNetworkHandle::new(1);
        let mut cluster = ServiceCluster {
            network,
            nodes: Vec::new(),
        };
        for id in 1..=nodes {
            let config = Config::default();
            let mut settings = Settings {
                positions_every: Duration::from_millis(200),
                // A few users create many groups in these tests.
                added: AdditionLimits { by_one: 0, by_all: 0 },
                users: presence::Settings {
                    offline_grace: HOLD_DOWN,
                    register_timeout: HOLD_DOWN / 2,
                    node_timeout: Duration::from_secs(2),
                    gather: Duration::from_millis(10),
                    ..presence::Settings::from(&config)
                },
                ..Settings::from(&config)
            };
            change(&mut settings);
            let node = ServiceNode::start(&cluster.network, NodeId(id), settings).await;
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

    /// Starts three nodes that retain this number of messages of a group, and remove older ones at once.
    pub async fn keeping(messages: u64) -> ServiceCluster {
        ServiceCluster::with(3, |settings| {
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

    pub fn node(&self, id: NodeId) -> &ServiceNode {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    /// Returns the owner of a conversation and the other nodes.
    pub fn owner_and_others(&self, conv: &ConversationId) -> (NodeId, Vec<NodeId>) {
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

    /// Stops a node as a power failure does: unsynced writes are lost.
    pub async fn crash(&mut self, id: NodeId) {
        let at = self.nodes.iter().position(|node| node.id == id).unwrap();
        let mut node = self.nodes.remove(at);
        self.network.crash(node.id);
        node.disk.crash();
        node.service.stop().await;
        if let Some(runtime) = node.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub async fn stop(mut self) {
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

impl ServiceNode {
    async fn start(network: &SimNetworkHandle, id: NodeId, settings: Settings) -> ServiceNode {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let service = ChatService::start(settings, runtime.handle().clone());
        let config = cluster::Config {
            advertise: network.addr(id),
            seeds: vec![network.addr(NodeId(1))],
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
        ServiceNode {
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

    pub fn send(
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

    pub fn command(
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

    /// Sends a message until it is acknowledged, as a client does.
    pub async fn send_until_acked(&self, by: &str, conv: &ConversationId, text: &str) -> CommandAck {
        let deadline = Instant::now() + PATIENCE;
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

    /// Returns the value of a metric of this node.
    pub fn figure(&self, name: &str) -> u64 {
        let text = self.figures.render();
        let line = text.lines().find_map(|line| {
            line.strip_prefix("rookery_")?
                .strip_prefix(name)?
                .strip_prefix(' ')
        });
        line.unwrap().parse().unwrap()
    }

    pub async fn group(&self, by: &str, members: &[&str]) -> ConversationId {
        let members = members.iter().map(|member| user(member)).collect();
        let made = self
            .conversations
            .create(
                user(by),
                cid("make"),
                0,
                ConversationSpec::plain(ConversationKind::Group, members),
            )
            .await;
        made.unwrap().conv
    }

    pub async fn listen(&self, by: &str, conv: &ConversationId) -> (Rc<RecordingSubscriber>, u64) {
        let subscriber = RecordingSubscriber::new(by);
        let as_of = self.hub.subscribe(conv, subscriber.clone()).await.unwrap();
        (subscriber, as_of)
    }
}

pub fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub fn cid(text: &str) -> ClientMessageId {
    ClientMessageId::parse(text).unwrap()
}
