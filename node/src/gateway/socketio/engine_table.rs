//! Engine connections of a node that poll. Requests arrive on any thread and on any node, and each connection lives on
//! one thread of one node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::engine_entry::{EngineCalls, EngineEntry, EnginePoll};
use super::engine_id::EngineId;
use super::engine_query::EngineRefusal;
use crate::forwarding::{ForwardedAction, ForwardedResponse, HeldConnections, POST_STEP, RequestForwarder};

/// Connections that poll. Cheap to clone.
#[derive(Clone)]
pub(in crate::gateway) struct EngineTable {
    inner: Arc<Inner>,
}

struct Inner {
    node: u64,
    forwarder: RequestForwarder,
    entries: EngineEntries,
}

/// Connections of this node by the random part of their ids.
#[derive(Clone, Default)]
struct EngineEntries(Arc<Mutex<HashMap<u128, EngineEntry>>>);

/// Connection of this node or of another one.
pub(super) enum FoundEngine {
    Here(EngineEntry),
    Elsewhere(RemoteEngine),
}

/// Connection of another node.
pub(super) struct RemoteEngine {
    id: EngineId,
    forwarder: RequestForwarder,
}

// === impl EngineTable ===

impl EngineTable {
    /// Creates the table of a node. Requests that other nodes forward are served from it.
    pub(in crate::gateway) fn new(node: u64, forwarder: RequestForwarder) -> EngineTable {
        let entries = EngineEntries::default();
        forwarder.hold(Arc::new(entries.clone()));
        EngineTable {
            inner: Arc::new(Inner {
                node,
                forwarder,
                entries,
            }),
        }
    }

    /// Adds a connection under a new id.
    pub(super) fn add(&self) -> (EngineId, EngineCalls) {
        let id = EngineId::draw(self.inner.node);
        let (entry, calls) = EngineEntry::new();
        self.inner.entries.0.lock().insert(id.secret, entry);
        (id, calls)
    }

    pub(super) fn remove(&self, id: EngineId) {
        self.inner.entries.0.lock().remove(&id.secret);
    }

    /// Returns the connection with this id.
    ///
    /// # Errors
    /// The refusal of an unknown id.
    pub(super) fn find(&self, id: &str) -> Result<FoundEngine, EngineRefusal> {
        let id: EngineId = id.parse().map_err(|_| EngineRefusal::UnknownId)?;
        if id.node != self.inner.node {
            let forwarder = self.inner.forwarder.clone();
            return Ok(FoundEngine::Elsewhere(RemoteEngine { id, forwarder }));
        }
        let entry = self.inner.entries.find(id.secret);
        entry.map(FoundEngine::Here).ok_or(EngineRefusal::UnknownId)
    }
}

// === impl FoundEngine ===

impl FoundEngine {
    /// Returns true if the client is authenticated.
    ///
    /// # Errors
    /// The refusal of an unknown connection.
    pub(super) async fn is_identified(&self) -> Result<bool, EngineRefusal> {
        match self {
            FoundEngine::Here(entry) => Ok(entry.is_identified()),
            FoundEngine::Elsewhere(engine) => {
                let found = engine.request(ForwardedAction::Find, Duration::ZERO).await;
                served(found).map(|(is_identified, _)| is_identified)
            }
        }
    }

    /// Waits for the next payload, and returns true beside it if the client is authenticated. `id`: text that the client
    /// makes anew for each poll. `wait`: time after which there is a payload for certain.
    ///
    /// # Errors
    /// The refusals of [`EngineEntry::poll`].
    pub(super) async fn poll(
        &self,
        id: Option<String>,
        wait: Duration,
    ) -> Result<(bool, Bytes), EngineRefusal> {
        match self {
            FoundEngine::Here(entry) => {
                let is_forwarded = false;
                let payload = entry.poll(EnginePoll { id, is_forwarded }).await?;
                Ok((entry.is_identified(), payload))
            }
            FoundEngine::Elsewhere(engine) => {
                // Without an id the forwarder could not repeat the poll either.
                let id = id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
                served(engine.request(ForwardedAction::Poll(id), wait).await)
            }
        }
    }

    /// Hands over a payload, and waits until its packets are accepted.
    ///
    /// # Errors
    /// The refusals of [`EngineEntry::post`].
    pub(super) async fn post(&self, payload: String) -> Result<(), EngineRefusal> {
        match self {
            FoundEngine::Here(entry) => entry.post(payload).await,
            FoundEngine::Elsewhere(engine) => {
                let mut posted = engine.request(ForwardedAction::Post(payload), POST_STEP).await;
                // However long they wait above the rate, like those of a client of the other node itself.
                while matches!(posted, ForwardedResponse::Pending) {
                    posted = engine.request(ForwardedAction::AwaitPost, POST_STEP).await;
                }
                served(posted).map(drop)
            }
        }
    }
}

// === impl EngineEntries ===

impl EngineEntries {
    fn find(&self, secret: u128) -> Option<EngineEntry> {
        self.0.lock().get(&secret).cloned()
    }
}

impl HeldConnections for EngineEntries {
    fn serve(&self, connection: u128, action: ForwardedAction) -> BoxFuture<'static, ForwardedResponse> {
        let Some(entry) = self.find(connection) else {
            return std::future::ready(ForwardedResponse::Unknown).boxed();
        };
        async move {
            let result = match action {
                ForwardedAction::Find => Ok(Some(Bytes::new())),
                ForwardedAction::Poll(id) => {
                    let id = Some(id);
                    let is_forwarded = true;
                    entry.poll(EnginePoll { id, is_forwarded }).await.map(Some)
                }
                ForwardedAction::Post(payload) => accepted(entry.forwarded_post(payload).await),
                ForwardedAction::AwaitPost => accepted(entry.await_post().await),
            };
            match result {
                Ok(Some(payload)) => ForwardedResponse::Served {
                    is_identified: entry.is_identified(),
                    payload,
                },
                Ok(None) => ForwardedResponse::Pending,
                Err(EngineRefusal::UnknownId) => ForwardedResponse::Unknown,
                Err(_) => ForwardedResponse::Refused,
            }
        }
        .boxed()
    }
}

/// Returns the empty payload of a request that was accepted; `None` if it is pending.
fn accepted(posted: Result<bool, EngineRefusal>) -> Result<Option<Bytes>, EngineRefusal> {
    posted.map(|is_accepted| is_accepted.then(Bytes::new))
}

// === impl RemoteEngine ===

impl RemoteEngine {
    /// Serves a request at the node of the connection. A node that does not respond has lost the connection.
    async fn request(&self, action: ForwardedAction, wait: Duration) -> ForwardedResponse {
        let EngineId { node, secret } = self.id;
        self.forwarder.send(node, secret, action, wait).await
    }
}

/// Returns true if the client is authenticated, and the payload to it.
///
/// # Errors
/// The refusal of the engine.
fn served(response: ForwardedResponse) -> Result<(bool, Bytes), EngineRefusal> {
    match response {
        ForwardedResponse::Served {
            is_identified,
            payload,
        } => Ok((is_identified, payload)),
        ForwardedResponse::Unknown => Err(EngineRefusal::UnknownId),
        ForwardedResponse::Refused | ForwardedResponse::Pending => Err(EngineRefusal::BadRequest),
    }
}
