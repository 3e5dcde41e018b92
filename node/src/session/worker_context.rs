//! State shared by the sessions of one thread, and the clock that wakes them.
//!
//! One clock per thread checks the deadlines of all its sessions. A timer per session would cost memory and wake-ups
//! without need.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::close_budget::CloseBudget;
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
    /// True once the drain of the node has reached the session.
    released: bool,
}

/// Admission control: decides whether the node accepts and keeps sessions. One per node.
#[derive(Debug)]
pub struct AdmissionControl {
    order: watch::Sender<NodeState>,
    sessions: AtomicUsize,
    /// Set once the node stops.
    stopping: AtomicBool,
    /// Sessions that the node may close per second while it drains.
    closes_per_second: AtomicU32,
    closing: Mutex<CloseBudget>,
}

/// Sessions that a node closes per second while it drains, until it is informed of its share.
const CLOSES_PER_SECOND: u32 = 2_000;

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
            closes_per_second: AtomicU32::new(CLOSES_PER_SECOND),
            closing: Mutex::new(CloseBudget::new(0)),
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
                if order == NodeState::Drain {
                    *self.closing.lock() = CloseBudget::new(self.sessions());
                }
                *now = order;
            }
            changes
        });
    }

    /// Sets the number of sessions that the node may close per second while it drains: its share of the reconnects that
    /// the whole cluster is to admit.
    pub fn share_reconnects(&self, per_second: u32) {
        self.closes_per_second.store(per_second, Ordering::Relaxed);
    }

    /// Returns the time that a drain needs to close all sessions.
    #[must_use]
    pub fn closing_time(&self) -> Duration {
        CloseBudget::time_for(self.sessions(), self.close_rate())
    }

    fn close_rate(&self) -> f64 {
        f64::from(self.closes_per_second.load(Ordering::Relaxed))
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

    /// Returns the serving state that applies to a session: a drain reaches one after the other.
    #[must_use]
    pub(super) fn order_for(&self, tag: u64) -> NodeState {
        match self.order() {
            NodeState::Drain if !self.is_released(tag) => NodeState::HandOver,
            order => order,
        }
    }

    fn is_released(&self, tag: u64) -> bool {
        // A session that is not in the table is about to end anyway.
        self.slots.borrow().get(&tag).is_none_or(|slot| slot.released)
    }

    /// Lets the drain reach as many sessions as the budget permits.
    fn release_slice(&self) {
        let mut slots = self.slots.borrow_mut();
        let waits = |slot: &SessionSlot| slot.attached && !slot.released;
        let waiting = slots.values().filter(|slot| waits(slot)).count();
        let now = Instant::now();
        let permitted = self
            .admission
            .closing
            .lock()
            .take(now, self.admission.close_rate(), waiting);
        for slot in slots.values_mut().filter(|slot| waits(slot)).take(permitted) {
            slot.released = true;
            slot.link.request_check();
        }
    }

    /// Brings a new serving state to the sessions.
    fn on_order(&self, order: NodeState) {
        match order {
            NodeState::Drain => self.release_slice(),
            // At once, not at the next deadline: no session may stay at a node without a majority.
            NodeState::Isolated => self
                .slots
                .borrow()
                .values()
                .for_each(|slot| slot.link.request_check()),
            NodeState::Serve | NodeState::HandOver => {
                self.slots
                    .borrow_mut()
                    .values_mut()
                    .for_each(|slot| slot.released = false);
            }
        }
    }

    pub(super) fn add(&self, tag: u64, link: Rc<ConnectionHandle>) {
        let slot = SessionSlot {
            link,
            attached: false,
            released: false,
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
                let order = *orders.borrow_and_update();
                worker.on_order(order);
            }
            () = worker.changed.notified(), if idle => {}
            () = tokio::time::sleep(tick), if !idle => {
                let now = Instant::now();
                worker.slots.borrow().values().for_each(|slot| slot.link.tick(now));
                if worker.order() == NodeState::Drain {
                    worker.release_slice();
                }
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
