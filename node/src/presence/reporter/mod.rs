//! Presence reporter: registers this node's sessions and watches with the shard owners, and forwards their updates to
//! the worker threads.
//!
//! ```text
//!  session ─▶ LocalPresence ─▶ reporter task ─ REGISTER_PRESENCE, PRESENCE_HEARTBEAT ─▶ owner's registry
//!          ◀─ (per worker)  ◀─ one per node  ◀────────── PRESENCE_UPDATES ────────────
//! ```
//! At most one request per shard is in flight; later changes join the next one. If the owner's state is uncertain (a
//! new owner, a lost registration), the full registration is sent again.

mod presence_batch;
mod shard_presence;
mod task;

use cluster::{ClusterClock, NodeId, Responder};
use protocol::{ClientMessageId, UserId};
use tokio::sync::mpsc;

use crate::registration::WorkerId;
use crate::rpc::presence::{
    DisplacedSession, PresenceUpdates, SessionAdmission, SessionInfo, VisiblePresence,
};
use crate::rpc::{self, RpcError};
use crate::telemetry::UserMetrics;

pub(crate) use self::task::{RateDivision, ReporterDeps, run};

/// Handle to the presence reporter, from which workers are built. Cheap to clone.
#[derive(Clone)]
pub struct PresenceReporter {
    /// Unbounded, so that sending never waits. In effect it is bounded by two commands per session and by the rate
    /// limits on `watch`.
    orders: mpsc::UnboundedSender<ReporterCommand>,
    metrics: UserMetrics,
    clock: ClusterClock,
}

/// Sender of incoming presence updates. Cheap to clone.
#[derive(Clone)]
pub(crate) struct UpdateSender {
    updates: mpsc::Sender<IncomingUpdate>,
    metrics: UserMetrics,
}

/// Receivers of the reporter task.
pub(crate) struct UpdateReceiver {
    orders: mpsc::UnboundedReceiver<ReporterCommand>,
    updates: mpsc::Receiver<IncomingUpdate>,
}

/// Presence updates of an owner with the pending response.
pub(super) struct IncomingUpdate {
    from: NodeId,
    updates: PresenceUpdates,
    reply: Responder,
}

/// Command of a worker to the reporter task.
#[derive(Debug)]
pub(super) enum ReporterCommand {
    /// A worker has started.
    Hello {
        /// Random id drawn by the worker.
        worker: WorkerId,
        events: mpsc::Sender<Vec<ReporterEvent>>,
    },
    /// A session has connected, or is detached and waits for its device.
    Enter { worker: WorkerId, session: SessionInfo },
    /// A session has disconnected.
    Leave { user: UserId, tag: u64 },
    /// A session of `viewer` watches `user`, and needs the current presence.
    Watch {
        worker: WorkerId,
        user: UserId,
        viewer: UserId,
    },
    /// No session of `viewer` on this worker watches `user` any more.
    Unwatch {
        worker: WorkerId,
        user: UserId,
        viewer: UserId,
    },
}

/// Event of the reporter task for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReporterEvent {
    /// Verdict of the owner on a new session.
    Admitted { tag: u64, admission: SessionAdmission },
    /// A session was displaced by another one of its device.
    Displaced { tag: u64, how: DisplacedSession },
    /// A login of a user ended, or all of them.
    Ended {
        user: UserId,
        /// Ended login; `None` means all.
        login: Option<ClientMessageId>,
    },
    /// Presence of a user for the sessions of one viewer.
    Stands {
        user: UserId,
        viewer: UserId,
        visible: VisiblePresence,
    },
    /// New version of a user's profile for the sessions of one viewer.
    Profile { user: UserId, viewer: UserId, ver: u64 },
}

/// Maximum number of queued updates of owners; more are refused and sent again.
const UPDATES: usize = 256;
/// Maximum number of batches queued per worker; beyond it only the newest state of each user is retained.
const WORKER_BATCHES: usize = 64;

// === impl PresenceReporter, UpdateSender ===

/// Creates the queues of a node's presence reporter.
pub(crate) fn channels(
    metrics: UserMetrics,
    clock: ClusterClock,
) -> (PresenceReporter, UpdateSender, UpdateReceiver) {
    let (order_sender, orders) = mpsc::unbounded_channel();
    let (update_sender, updates) = mpsc::channel(UPDATES);
    let reporter = PresenceReporter {
        orders: order_sender,
        metrics: metrics.clone(),
        clock,
    };
    let sender = UpdateSender {
        updates: update_sender,
        metrics,
    };
    (reporter, sender, UpdateReceiver { orders, updates })
}

impl PresenceReporter {
    /// Creates the local presence of the calling worker thread. It is called once per thread, inside its actix runtime.
    #[must_use]
    pub fn local_presence(&self) -> super::local_presence::LocalPresence {
        super::local_presence::LocalPresence::connect(
            self.orders.clone(),
            WORKER_BATCHES,
            self.metrics.clone(),
            self.clock.clone(),
        )
    }
}

impl UpdateSender {
    /// Queues presence updates of an owner. A full queue refuses them as busy, and the owner sends them again.
    pub(crate) fn on_updates(&self, from: NodeId, body: &[u8], reply: Responder) {
        let updates: PresenceUpdates = match rpc::decode(body) {
            Ok(updates) => updates,
            Err(error) => return reply.send(Err(rpc::encode(&RpcError::Bad(error.to_string())))),
        };
        // Never waits: this runs on a thread of the cluster, which serves other shards, too.
        if let Err(error) = self.updates.try_send(IncomingUpdate { from, updates, reply }) {
            self.metrics.updates_rejected.inc();
            error.into_inner().reply.send(Err(rpc::encode(&RpcError::Busy)));
        }
    }
}

#[cfg(test)]
mod tests;
