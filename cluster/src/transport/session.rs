//! A started transport: who the node is, and its handler, until it stops or starts anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::hello::Refusal;
use super::{Admission, Handler, Identity, Lane, LinkState, Reply};
use crate::types::NodeId;

/// Most refusals remembered, so that strangers cannot fill the memory.
const COMPLAINTS: usize = 64;

/// What every connection of one `start` shares.
pub(crate) struct Session {
    pub(crate) me: Identity,
    handler: Arc<dyn Handler>,
    /// Set by a simulated crash: a dead process hears nothing.
    deaf: AtomicBool,
    /// Ends every connection of the session.
    pub(crate) stop: CancellationToken,
}

/// Which refusals have been logged: each is said once, until the other side is accepted.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<BTreeSet<(String, Refusal)>>);

// === impl Session ===

impl Session {
    pub(crate) fn new(me: Identity, handler: Arc<dyn Handler>, stop: CancellationToken) -> Session {
        Session {
            me,
            handler,
            deaf: AtomicBool::new(false),
            stop,
        }
    }

    /// Calls the handler no more.
    pub(crate) fn deafen(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    fn hears(&self) -> bool {
        !self.deaf.load(Ordering::Relaxed)
    }

    /// Decides whether the peer may have links. A visitor has no number yet and is admitted.
    pub(crate) fn admission(&self, peer: Identity) -> Admission {
        if peer.node == NodeId(0) || !self.hears() {
            return Admission::Admitted;
        }
        self.handler.admission(peer.node, peer.incarnation)
    }

    /// Returns whether the peer was removed for good.
    pub(crate) fn is_removed(&self, peer: NodeId) -> bool {
        self.hears() && self.handler.is_removed(peer)
    }

    /// Reports that the peer refused this node.
    pub(crate) fn refused(&self, by: NodeId, verdict: Admission) {
        if self.hears() {
            self.handler.refused(by, verdict);
        }
    }

    pub(crate) fn call(&self, from: NodeId, lane: Lane, method: u16, body: Bytes, reply: Reply) {
        if self.hears() {
            self.handler.call(from, lane, method, body, reply);
        }
    }

    pub(crate) fn cast(&self, from: NodeId, link: u64, lane: Lane, method: u16, body: Bytes) {
        if self.hears() {
            self.handler.cast(from, link, lane, method, body);
        }
    }

    pub(crate) fn link(&self, peer: NodeId, lane: Lane, state: LinkState) {
        if self.hears() {
            self.handler.link(peer, lane, state);
        }
    }

    pub(crate) fn incoming(&self, peer: NodeId, lane: Lane, state: LinkState) {
        if self.hears() {
            self.handler.incoming(peer, lane, state);
        }
    }
}

// === impl Complaints ===

impl Complaints {
    /// Logs that `who` refused this node or was refused by it, unless that was said already.
    pub(crate) fn refused(&self, who: &str, refusal: Refusal) {
        if refusal.is_passing() {
            debug!(peer = who, reason = %refusal, "handshake refused");
            return;
        }
        let mut said = self.0.lock();
        if said.len() < COMPLAINTS && said.insert((who.to_owned(), refusal)) {
            warn!(peer = who, reason = %refusal, "handshake refused");
        }
    }

    /// All is well with `who`: the next refusal is news again.
    pub(crate) fn accepted(&self, who: &str) {
        self.0.lock().retain(|(said, _)| said != who);
    }
}
