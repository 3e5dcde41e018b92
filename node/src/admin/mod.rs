//! State of all nodes for operators, drains that they order, and changes of the members and owners.
//!
//! ```text
//! overview ─▶ cluster map of this node
//!          └▶ NODE_REPORT to every node ─▶ report, or silence after half a second
//! stream   ─▶ an overview per second while somebody follows
//! drain    ─▶ ORDER_DRAIN to the node ─▶ shards to other nodes ─▶ sessions closed ─▶ drained, until resumed
//! ```

mod can_stop;
mod drain;
mod leave;
mod membership;
mod overview;
mod overview_feed;
mod rates;
mod report;
mod shard_move;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Cluster, NodeId, Responder};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use self::rates::NodeRates;
use crate::rpc;
use crate::session::{AdmissionControl, SessionRegistry};
use crate::telemetry::metrics::{MetricsRegistry, ServerMetrics};

pub use self::can_stop::StopVerdict;
pub use self::drain::DrainError;
pub(crate) use self::leave::LeaveOrder;
pub use self::membership::MembershipError;
pub use self::overview::Overview;
pub(crate) use self::overview_feed::OverviewFollower;
pub(crate) use self::support::NodeSupport;
pub(crate) use crate::rpc::DrainOrder;

/// Time for the answers of all nodes: a node that is slower counts as silent.
const REPORT_TIMEOUT: Duration = Duration::from_millis(500);

/// State of the nodes for operators. Cheap to clone.
#[derive(Clone)]
pub struct NodeAdmin {
    inner: Arc<Inner>,
}

/// Components of a node on which it reports.
pub struct NodeAdminDeps {
    pub cluster: Cluster,
    pub admission: Arc<AdmissionControl>,
    pub sessions: SessionRegistry,
    pub metrics: ServerMetrics,
    pub storage: storage::Metrics,
    /// Open connections, and their limit.
    pub connections: (Gauge, Gauge),
    /// Drains run on this runtime.
    pub runtime: Handle,
    pub fsync: bool,
    /// All metrics, for reports.
    pub figures: MetricsRegistry,
    /// Settings without secrets, as TOML.
    pub settings: Arc<str>,
}

struct Inner {
    deps: NodeAdminDeps,
    started: Instant,
    rates: Mutex<NodeRates>,
    drain: Mutex<Option<JoinHandle<()>>>,
    feed: overview_feed::OverviewFeed,
}

// === impl NodeAdmin ===

impl NodeAdmin {
    #[must_use]
    pub fn new(deps: NodeAdminDeps) -> NodeAdmin {
        let inner = Inner {
            deps,
            started: Instant::now(),
            rates: Mutex::default(),
            drain: Mutex::default(),
            feed: overview_feed::OverviewFeed::default(),
        };
        NodeAdmin {
            inner: Arc::new(inner),
        }
    }

    /// Returns true if `method` is an RPC of this component.
    pub(crate) fn serves(method: u16) -> bool {
        matches!(method, rpc::NODE_REPORT | rpc::ORDER_DRAIN | rpc::SUPPORT_REPORT)
    }

    /// Serves an RPC of another node, or of this one.
    pub(crate) fn call(&self, method: u16, body: &Bytes, reply: Responder) {
        let answer = match method {
            rpc::NODE_REPORT => rpc::decode(body).map(|rpc::NodeReportQuery| rpc::encode(&self.report())),
            rpc::SUPPORT_REPORT => {
                rpc::decode(body).map(|rpc::SupportQuery| rpc::encode(&self.support_report()))
            }
            _ => rpc::decode(body).map(|order| rpc::encode(&self.follow(order))),
        };
        match answer {
            Ok(answer) => reply.send(Ok(answer)),
            // Without a response the node counts as silent.
            Err(error) => tracing::debug!(%error, method, "malformed request about the state of this node"),
        }
    }

    /// Sends a request to a node; `None` without an answer in time.
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        node: NodeId,
        method: u16,
        question: &Q,
        patience: Duration,
    ) -> Option<A> {
        let cluster = &self.inner.deps.cluster;
        let call = cluster.call(node, method, rpc::encode(question), patience);
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(body)) => rpc::decode(&body).ok(),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}
