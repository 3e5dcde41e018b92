//! Engine connections of a node that poll. Requests arrive on any thread and on any node, and each connection lives on
//! one thread of one node.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::engine_entry::{EngineCalls, EngineEntry};
use super::engine_id::EngineId;
use super::engine_query::EngineRefusal;
use crate::forwarding::{ForwardedAction, ForwardedResponse, HeldConnections, RequestForwarder};

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
                found.map(|(is_identified, _)| is_identified)
            }
        }
    }

    /// Waits for the next payload, and returns true beside it if the client is authenticated. `wait`: time after which
    /// there is a payload for certain.
    ///
    /// # Errors
    /// The refusals of [`EngineEntry::poll`].
    pub(super) async fn poll(&self, wait: Duration) -> Result<(bool, Bytes), EngineRefusal> {
        match self {
            FoundEngine::Here(entry) => {
                let payload = entry.poll().await?;
                Ok((entry.is_identified(), payload))
            }
            FoundEngine::Elsewhere(engine) => engine.request(ForwardedAction::Poll, wait).await,
        }
    }

    /// Hands over a payload. `wait`: time in which its packets are accepted.
    ///
    /// # Errors
    /// The refusals of [`EngineEntry::post`].
    pub(super) async fn post(&self, payload: String, wait: Duration) -> Result<(), EngineRefusal> {
        match self {
            FoundEngine::Here(entry) => entry.post(payload).await,
            FoundEngine::Elsewhere(engine) => {
                let posted = engine.request(ForwardedAction::Post(payload), wait).await;
                posted.map(drop)
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
            let served = match action {
                ForwardedAction::Find => Ok(Bytes::new()),
                ForwardedAction::Poll => entry.poll().await,
                ForwardedAction::Post(payload) => entry.post(payload).await.map(|()| Bytes::new()),
            };
            match served {
                Ok(payload) => ForwardedResponse::Served {
                    is_identified: entry.is_identified(),
                    payload,
                },
                Err(EngineRefusal::UnknownId) => ForwardedResponse::Unknown,
                Err(_) => ForwardedResponse::Refused,
            }
        }
        .boxed()
    }
}

// === impl RemoteEngine ===

impl RemoteEngine {
    /// Serves a request at the node of the connection. Returns true if the client is authenticated, and the payload to it.
    ///
    /// # Errors
    /// The refusal of the engine. A node that does not respond has lost the connection.
    async fn request(&self, action: ForwardedAction, wait: Duration) -> Result<(bool, Bytes), EngineRefusal> {
        let EngineId { node, secret } = self.id;
        match self.forwarder.send(node, secret, action, wait).await {
            ForwardedResponse::Served {
                is_identified,
                payload,
            } => Ok((is_identified, payload)),
            ForwardedResponse::Unknown => Err(EngineRefusal::UnknownId),
            ForwardedResponse::Refused => Err(EngineRefusal::BadRequest),
        }
    }
}
