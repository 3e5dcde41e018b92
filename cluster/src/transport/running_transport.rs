//! Running transport: the node's identity and handler, from one start to the next start or the shutdown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::handshake_messages::HandshakeRefusal;
use super::{ConnectionClass, ConnectionState, Handler, NodeIdentity, PeerAdmission};
use crate::ids::NodeId;

/// Maximum number of recorded refusals, so that unauthenticated peers cannot fill the memory.
const MAX_LOGGED: usize = 64;

/// State shared by all connections of one `start`.
pub(crate) struct RunningTransport {
    pub(crate) me: NodeIdentity,
    handler: Arc<dyn Handler>,
    /// Set by a simulated crash: the handler of a dead process is not called.
    deaf: AtomicBool,
    /// Ends every connection of this start.
    pub(crate) stop: CancellationToken,
}

/// Refusals that have been logged, with their reasons. Each is logged once, until the other side is accepted.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Mutex<BTreeSet<(String, String)>>);

// === impl RunningTransport ===

impl RunningTransport {
    pub(crate) fn new(
        me: NodeIdentity,
        handler: Arc<dyn Handler>,
        stop: CancellationToken,
    ) -> RunningTransport {
        RunningTransport {
            me,
            handler,
            deaf: AtomicBool::new(false),
            stop,
        }
    }

    /// Stops calling the handler.
    pub(crate) fn stop_handler(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Returns the handler that every connection of this start calls; `None` after a simulated crash.
    pub(crate) fn handler(&self) -> Option<&dyn Handler> {
        (!self.deaf.load(Ordering::Relaxed)).then_some(&*self.handler)
    }

    /// Decides if the peer may have connections. A caller without id is admitted, because it can only make one call.
    pub(crate) fn admission(&self, peer: NodeIdentity) -> PeerAdmission {
        let handler = self.handler().filter(|_| peer.node != NodeId(0));
        handler.map_or(PeerAdmission::Admitted, |handler| handler.admission(peer))
    }

    /// Reports the state of an outgoing connection.
    pub(crate) fn link(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        if let Some(handler) = self.handler() {
            handler.link(peer, class, state);
        }
    }

    /// Reports the state of an incoming connection.
    pub(crate) fn incoming(&self, peer: NodeId, class: ConnectionClass, state: ConnectionState) {
        if let Some(handler) = self.handler() {
            handler.incoming(peer, class, state);
        }
    }
}

// === impl RefusalLog ===

impl RefusalLog {
    /// Logs that `who` refused this node or was refused by it, unless it is logged already.
    pub(crate) fn refused(&self, who: &str, refusal: HandshakeRefusal) {
        // A node that has not joined yet is refused until it has; that is no misconfiguration.
        if refusal.is_passing() {
            debug!(peer = who, reason = %refusal, "handshake refused");
            return;
        }
        if self.is_new(who, refusal.to_string()) {
            warn!(peer = who, reason = %refusal, "handshake refused");
        }
    }

    /// Logs that a connection with `who` failed because one side refused the certificate of the other one.
    pub(crate) fn insecure(&self, who: &str, error: &rustls::Error) {
        if self.is_new(who, error.to_string()) {
            warn!(peer = who, reason = %error, "TLS handshake refused");
        }
    }

    fn is_new(&self, who: &str, reason: String) -> bool {
        let mut logged = self.0.lock();
        logged.len() < MAX_LOGGED && logged.insert((who.to_owned(), reason))
    }

    /// Removes the recorded refusals of `who`, so that the next one is logged again.
    pub(crate) fn accepted(&self, who: &str) {
        self.0.lock().retain(|(peer, _)| peer != who);
    }
}
