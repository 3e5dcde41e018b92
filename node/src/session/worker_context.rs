//! State shared by the sessions of one thread, and the clock that wakes them.
//!
//! One clock per thread checks the deadlines of all its sessions. A timer per session would cost memory and wake-ups
//! without need.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::connection_handle::ConnectionHandle;
use super::limits::UserRates;
use super::registry::SessionRegistry;
use crate::auth::TokenVerifier;
use crate::config::Config;
use crate::presence::LocalPresence;
use crate::shard_client::ShardClient;
use crate::subscription::SubscriptionHub;
use crate::telemetry::EventLoop;
use crate::telemetry::metrics::ServerMetrics;

/// Interval at which the unconfirmed events of a thread's sessions are summed up.
const MEASURE: Duration = Duration::from_secs(5);

/// State shared by the sessions of one thread.
pub struct WorkerContext {
    pub config: Arc<Config>,
    pub auth: Arc<TokenVerifier>,
    pub conversations: ShardClient,
    pub hub: SubscriptionHub,
    pub presence: LocalPresence,
    pub metrics: ServerMetrics,
    /// Name of the node in `hello`.
    pub name: String,
    pub sessions: SessionRegistry,
    pub rates: UserRates,
    admission: Arc<AdmissionControl>,
    slots: RefCell<HashMap<u64, SessionSlot>>,
    changed: Notify,
}

/// Entry of a session on this thread.
struct SessionSlot {
    link: Rc<ConnectionHandle>,
    /// True while a client is connected.
    attached: bool,
}

/// Admission control: decides whether the node accepts and keeps sessions. One per node.
#[derive(Debug)]
pub struct AdmissionControl {
    order: watch::Sender<NodeState>,
    sessions: AtomicUsize,
    /// Set once the node stops.
    stopping: AtomicBool,
}

/// Serving state of the node, observed by all sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    Serve,
    /// Existing sessions continue, new ones are refused: the node hands over its shards, to stop or to be drained.
    HandOver,
    /// All sessions are closed: the node stops, or is drained.
    Drain,
    /// All sessions are closed: the node has no majority.
    Isolated,
}

// === impl AdmissionControl ===

impl Default for AdmissionControl {
    fn default() -> Self {
        AdmissionControl {
            order: watch::Sender::new(NodeState::Serve),
            sessions: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }
    }
}

impl AdmissionControl {
    /// Marks the node as stopping: it never serves again.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Returns `true` once the node stops.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Serves again after a drain, unless the node stops.
    pub fn resume(&self) {
        self.order.send_if_modified(|now| {
            let drains = matches!(*now, NodeState::HandOver | NodeState::Drain);
            let changes = drains && !self.is_stopping();
            if changes {
                *now = NodeState::Serve;
            }
            changes
        });
    }

    /// Sets the serving state, which also decides whether new sessions are admitted.
    pub fn send(&self, order: NodeState) {
        self.order.send_if_modified(|now| {
            // A majority found again must not make a draining node accept sessions.
            let changes = match *now {
                NodeState::Drain => false,
                NodeState::HandOver => order == NodeState::Drain,
                NodeState::Serve | NodeState::Isolated => *now != order,
            };
            if changes {
                *now = order;
            }
            changes
        });
    }

    /// Returns the current serving state of the node.
    #[must_use]
    pub fn order(&self) -> NodeState {
        *self.order.borrow()
    }

    /// Number of sessions with a connected client.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Updates the serving state after a majority was lost or found.
    pub fn isolated(&self, isolated: bool) {
        self.send(if isolated {
            NodeState::Isolated
        } else {
            NodeState::Serve
        });
    }

    /// Waits until no client is connected.
    pub async fn emptied(&self) {
        // Polled: only a drain waits here.
        while self.sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

// === impl WorkerContext ===

impl WorkerContext {
    /// Creates the state and starts the thread's clock. Must be called on the thread.
    #[must_use]
    pub fn start(
        config: Arc<Config>,
        auth: Arc<TokenVerifier>,
        conversations: ShardClient,
        (hub, presence, sessions, rates): (SubscriptionHub, LocalPresence, SessionRegistry, UserRates),
        metrics: ServerMetrics,
        name: String,
        admission: Arc<AdmissionControl>,
    ) -> Rc<WorkerContext> {
        let slots = RefCell::default();
        let changed = Notify::new();
        let worker = Rc::new(WorkerContext {
            config,
            auth,
            conversations,
            hub,
            presence,
            metrics,
            name,
            sessions,
            rates,
            admission,
            slots,
            changed,
        });
        // Not joined: the clock runs as long as the thread.
        actix_web::rt::spawn(clock(worker.clone()));
        actix_web::rt::spawn(worker.metrics.loop_lag.measure(EventLoop::Clients));
        actix_web::rt::spawn(measure_outboxes(worker.clone()));
        worker
    }

    /// Returns the current serving state of the node.
    #[must_use]
    pub fn order(&self) -> NodeState {
        self.admission.order()
    }

    pub(super) fn add(&self, tag: u64, link: Rc<ConnectionHandle>) {
        let slot = SessionSlot {
            link,
            attached: false,
        };
        self.slots.borrow_mut().insert(tag, slot);
        self.set_attached(tag, true);
        self.changed.notify_one();
    }

    /// Records in the counters whether a session has a connected client.
    pub(super) fn set_attached(&self, tag: u64, attached: bool) {
        let mut slots = self.slots.borrow_mut();
        // A repeated state must not count twice: with a wrong counter a drain would never end.
        let Some(slot) = slots.get_mut(&tag).filter(|slot| slot.attached != attached) else {
            return;
        };
        slot.attached = attached;
        if attached {
            self.admission.sessions.fetch_add(1, Ordering::Relaxed);
            self.metrics.sessions.inc();
        } else {
            self.admission.sessions.fetch_sub(1, Ordering::Relaxed);
            self.metrics.sessions.dec();
        }
    }

    pub(super) fn remove(&self, tag: u64) {
        self.set_attached(tag, false);
        self.slots.borrow_mut().remove(&tag);
    }
}

async fn clock(worker: Rc<WorkerContext>) {
    let tick = worker.config.tuning.timer_tick.0;
    let mut orders = worker.admission.order.subscribe();
    loop {
        // Without sessions there is no tick; the first session wakes the clock.
        let idle = worker.slots.borrow().is_empty();
        tokio::select! {
            order = orders.changed() => {
                if order.is_err() {
                    return;
                }
                // At once, not at the next deadline: all sessions have to observe a drain.
                worker.slots.borrow().values().for_each(|slot| slot.link.request_check());
            }
            () = worker.changed.notified(), if idle => {}
            () = tokio::time::sleep(tick), if !idle => {
                let now = Instant::now();
                worker.slots.borrow().values().for_each(|slot| slot.link.tick(now));
            }
        }
    }
}

/// Keeps the share of this thread's sessions in the metric of unconfirmed events.
async fn measure_outboxes(worker: Rc<WorkerContext>) {
    let mut before = 0;
    loop {
        tokio::time::sleep(MEASURE).await;
        let slots = worker.slots.borrow();
        let bytes = slots
            .values()
            .map(|slot| slot.link.outbox(|outbox| outbox.buffered_bytes()));
        let now = i64::try_from(bytes.sum::<usize>()).unwrap_or(i64::MAX);
        drop(slots);
        worker.metrics.session_outbox_bytes.inc_by(now - before);
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drained_node_serves_again_and_a_stopping_one_does_not() {
        let admission = AdmissionControl::default();
        admission.send(NodeState::HandOver);
        admission.send(NodeState::Drain);
        admission.isolated(false);
        assert_eq!(
            admission.order(),
            NodeState::Drain,
            "only an operator ends a drain"
        );
        admission.resume();
        assert_eq!(admission.order(), NodeState::Serve);
        admission.isolated(true);
        admission.resume();
        assert_eq!(admission.order(), NodeState::Isolated, "which is no drain");
        admission.isolated(false);
        admission.stop();
        admission.send(NodeState::HandOver);
        admission.resume();
        assert_eq!(admission.order(), NodeState::HandOver);
    }
}
