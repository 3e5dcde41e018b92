//! Requests of clients that another node answers, because it holds their connection.
//!
//! A client whose connection consists of single requests may send each of them to another node. The id of the connection
//! names the node that holds it, and the others forward the requests. Each takes no more than the connection of its
//! client here, and the holder serves one of a kind at a time.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cluster::{CallError, Cluster, NodeId, Responder};
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::rpc;
use crate::rpc::forward::ForwardedRequest;
pub(crate) use crate::rpc::forward::{ForwardedAction, ForwardedResponse};

/// Time after which the holder reports a payload as pending whose packets are not accepted yet, so that a silent node is
/// noticed however long they wait.
pub(crate) const POST_STEP: Duration = Duration::from_secs(5);
/// Repetitions of a request after a lost connection to the holder, and the time before each.
const REPETITIONS: u32 = 2;
const REPEAT_AFTER: Duration = Duration::from_millis(250);
/// Time for a response beyond the one that a request waits by itself.
const RESPONSE_TIME: Duration = Duration::from_secs(5);
/// Maximum bytes of the payloads that wait for a response. They share the queue to a node with the commands of all
/// clients, and a payload may wait for long: above the rate, or for room at its connection.
const WAITING_BYTES: usize = 8 << 20;

/// Sends requests to the nodes of their connections, and serves those of other nodes. Cheap to clone.
#[derive(Clone)]
pub struct RequestForwarder {
    inner: Arc<Inner>,
}

struct Inner {
    /// Requests of other nodes are served on this runtime.
    runtime: Handle,
    cluster: OnceLock<Cluster>,
    connections: OnceLock<Arc<dyn HeldConnections>>,
    /// Bytes left of `WAITING_BYTES`.
    room: Semaphore,
}

/// Connections that this node holds.
pub(crate) trait HeldConnections: Send + Sync {
    /// Serves a request about a connection, in a future that any thread may poll.
    fn serve(&self, connection: u128, action: ForwardedAction) -> BoxFuture<'static, ForwardedResponse>;
}

// === impl RequestForwarder ===

impl RequestForwarder {
    /// Creates the forwarder of a node that has not joined its cluster yet.
    #[must_use]
    pub fn new(runtime: Handle) -> RequestForwarder {
        RequestForwarder {
            inner: Arc::new(Inner {
                runtime,
                cluster: OnceLock::new(),
                connections: OnceLock::new(),
                room: Semaphore::new(WAITING_BYTES),
            }),
        }
    }

    /// Sets the cluster member; later calls have no effect.
    pub fn join(&self, cluster: Cluster) {
        let _joined = self.inner.cluster.set(cluster);
    }

    /// Registers the connections of this node; later calls have no effect.
    pub(crate) fn hold(&self, connections: Arc<dyn HeldConnections>) {
        let _set = self.inner.connections.set(connections);
    }

    /// Sends a request to the node that holds the connection. `wait`: time that the request may wait by itself.
    pub(crate) async fn send(
        &self,
        node: u64,
        connection: u128,
        action: ForwardedAction,
        wait: Duration,
    ) -> ForwardedResponse {
        let Some(cluster) = self.inner.cluster.get() else {
            return ForwardedResponse::Unknown;
        };
        // Polls are small: they need no room, and those of others must not wait for it.
        let bytes = match &action {
            ForwardedAction::Post(payload) => payload.len().min(WAITING_BYTES),
            ForwardedAction::Find | ForwardedAction::Poll(_) | ForwardedAction::AwaitPost => 0,
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let deadline = Instant::now() + wait + RESPONSE_TIME;
        let room = tokio::time::timeout_at(deadline, self.inner.room.acquire_many(bytes)).await;
        let Ok(Ok(_room)) = room else {
            return ForwardedResponse::Refused;
        };
        let mut repetitions = if action.is_repeatable() { REPETITIONS } else { 0 };
        let body = rpc::encode(&ForwardedRequest { connection, action });
        let response = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let response = cluster.call(NodeId(node), rpc::FORWARD, body.clone(), left).await;
            let is_lost = matches!(response, Err(CallError::Lost | CallError::Unreachable));
            if !is_lost || repetitions == 0 || Instant::now() + REPEAT_AFTER >= deadline {
                break response;
            }
            repetitions -= 1;
            tokio::time::sleep(REPEAT_AFTER).await;
        };
        // The connections of a failed node are lost, and the client opens a new one.
        let response = response.ok().and_then(|body| rpc::decode(&body).ok());
        response.unwrap_or(ForwardedResponse::Unknown)
    }

    /// Returns true if `method` is the RPC of forwarded requests.
    pub(crate) fn serves(method: u16) -> bool {
        method == rpc::FORWARD
    }

    /// Serves a request of another node.
    pub(crate) fn call(&self, body: &Bytes, reply: Responder) {
        let request: ForwardedRequest = match rpc::decode(body) {
            Ok(request) => request,
            Err(error) => {
                // Without a response the caller proceeds as if the connection did not exist.
                return tracing::debug!(%error, "malformed forwarded request");
            }
        };
        let Some(connections) = self.inner.connections.get() else {
            return reply.send(Ok(rpc::encode(&ForwardedResponse::Unknown)));
        };
        let served = connections.serve(request.connection, request.action);
        self.inner.runtime.spawn(async move {
            reply.send(Ok(rpc::encode(&served.await)));
        });
    }
}
