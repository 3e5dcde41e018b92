//! What the sessions of one thread share, and the clock that wakes them.
//!
//! One clock per thread looks at all its sessions, each of which says when it is due: a timer per session would cost
//! memory and wake-ups for nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::link::Link;
use super::rates::Rates;
use super::registry::Sessions;
use crate::config::Config;
use crate::conversation::Conversations;
use crate::gateway::auth::Auth;
use crate::relay::LocalHub;
use crate::telemetry::metrics::Metrics;
use crate::user::Desk;

/// What the sessions of one thread share.
pub struct Worker {
    /// The settings.
    pub config: Arc<Config>,
    /// Whose tokens are believed.
    pub auth: Arc<Auth>,
    /// The way to the conversations.
    pub conversations: Conversations,
    /// Where their events come from.
    pub hub: LocalHub,
    /// Where the sessions take their seats, and watch other users.
    pub desk: Desk,
    /// What is counted.
    pub metrics: Metrics,
    /// The node's name in `hello`.
    pub name: String,
    /// The sessions of the node.
    pub sessions: Sessions,
    /// What users may ask.
    pub rates: Rates,
    door: Arc<Door>,
    places: RefCell<HashMap<u64, Place>>,
    changed: Notify,
}

/// A session of this thread.
struct Place {
    link: Rc<Link>,
    /// Its client is there.
    attached: bool,
}

/// Whether the node takes and keeps sessions. One per node.
#[derive(Debug)]
pub struct Door {
    order: watch::Sender<Order>,
    sessions: AtomicUsize,
}

/// What sessions are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Serve.
    Serve,
    /// Go on, but no further sessions: the node is about to be stopped and hands over its shards.
    HandOver,
    /// Close: the node is being stopped.
    Drain,
    /// Close: the node has no majority.
    Isolated,
}

// === impl Door ===

impl Default for Door {
    fn default() -> Self {
        Door {
            order: watch::Sender::new(Order::Serve),
            sessions: AtomicUsize::new(0),
        }
    }
}

impl Door {
    /// Tells all sessions what to do, and decides whether new ones are taken.
    pub fn tell(&self, order: Order) {
        self.order.send_if_modified(|now| {
            // A stop is never taken back.
            let changes = match *now {
                Order::Drain => false,
                Order::HandOver => order == Order::Drain,
                Order::Serve | Order::Isolated => *now != order,
            };
            if changes {
                *now = order;
            }
            changes
        });
    }

    /// What sessions are told.
    #[must_use]
    pub fn order(&self) -> Order {
        *self.order.borrow()
    }

    /// Number of sessions whose client is there.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Says that clients find a majority here, or don't.
    pub fn isolated(&self, isolated: bool) {
        self.tell(if isolated { Order::Isolated } else { Order::Serve });
    }

    /// Waits until no client is there.
    pub async fn emptied(&self) {
        while self.sessions() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

// === impl Worker ===

impl Worker {
    /// Starts the thread's clock. Must be called on the thread.
    #[must_use]
    pub fn start(
        config: Arc<Config>,
        auth: Arc<Auth>,
        conversations: Conversations,
        (hub, desk, sessions, rates): (LocalHub, Desk, Sessions, Rates),
        metrics: Metrics,
        name: String,
        door: Arc<Door>,
    ) -> Rc<Worker> {
        let places = RefCell::default();
        let changed = Notify::new();
        let worker = Rc::new(Worker {
            config,
            auth,
            conversations,
            hub,
            desk,
            metrics,
            name,
            sessions,
            rates,
            door,
            places,
            changed,
        });
        // Lives as long as the thread.
        actix_web::rt::spawn(clock(worker.clone()));
        worker
    }

    /// What sessions are told to do.
    #[must_use]
    pub fn order(&self) -> Order {
        self.door.order()
    }

    pub(super) fn add(&self, tag: u64, link: Rc<Link>) {
        let place = Place {
            link,
            attached: false,
        };
        self.places.borrow_mut().insert(tag, place);
        self.set_attached(tag, true);
        self.changed.notify_one();
    }

    /// The client of a session is there, or isn't.
    pub(super) fn set_attached(&self, tag: u64, attached: bool) {
        let mut places = self.places.borrow_mut();
        let Some(place) = places.get_mut(&tag).filter(|place| place.attached != attached) else {
            return;
        };
        place.attached = attached;
        if attached {
            self.door.sessions.fetch_add(1, Ordering::Relaxed);
            self.metrics.sessions.inc();
        } else {
            self.door.sessions.fetch_sub(1, Ordering::Relaxed);
            self.metrics.sessions.dec();
        }
    }

    pub(super) fn remove(&self, tag: u64) {
        self.set_attached(tag, false);
        self.places.borrow_mut().remove(&tag);
    }
}

async fn clock(worker: Rc<Worker>) {
    let tick = worker.config.session.tick_ms.duration();
    let mut orders = worker.door.order.subscribe();
    loop {
        let idle = worker.places.borrow().is_empty();
        tokio::select! {
            order = orders.changed() => {
                if order.is_err() {
                    return;
                }
                worker.places.borrow().values().for_each(|place| place.link.nudge());
            }
            () = worker.changed.notified(), if idle => {}
            () = tokio::time::sleep(tick), if !idle => {
                let now = Instant::now();
                worker.places.borrow().values().for_each(|place| place.link.tick(now));
            }
        }
    }
}
