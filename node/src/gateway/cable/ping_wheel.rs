//! Pings of all connections of one thread: every 3 s each, spread over the time, and the same bytes for all.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use tokio::sync::Notify;

use super::connection::CableConnection;
use super::server_frame;

/// Interval of the pings. Clients take a connection without messages for dead after two.
const INTERVAL: Duration = Duration::from_secs(3);
/// Slots of the wheel, between which the connections are spread by the time of their begin.
const SLOTS: usize = 30;

/// Wheel of one thread.
pub(in crate::gateway) struct PingWheel {
    slots: RefCell<[Vec<Weak<CableConnection>>; SLOTS]>,
    at: Cell<usize>,
    added: Notify,
}

// === impl PingWheel ===

impl PingWheel {
    /// Starts the wheel. Must be called on the thread.
    pub(in crate::gateway) fn start() -> Rc<PingWheel> {
        let wheel = Rc::new(PingWheel {
            slots: RefCell::default(),
            at: Cell::new(0),
            added: Notify::new(),
        });
        // Not joined: the wheel turns as long as the thread runs.
        actix_web::rt::spawn(turn(wheel.clone()));
        wheel
    }

    /// Adds a connection until its end.
    pub(super) fn add(&self, connection: &Rc<CableConnection>) {
        self.slots.borrow_mut()[self.at.get()].push(Rc::downgrade(connection));
        self.added.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.slots.borrow().iter().all(Vec::is_empty)
    }

    /// Pings the connections of the next slot.
    fn next(&self, unix_s: u64) {
        let at = (self.at.get() + 1) % SLOTS;
        self.at.set(at);
        let mut connections = std::mem::take(&mut self.slots.borrow_mut()[at]);
        let mut frame = BytesMut::new();
        server_frame::ping(&mut frame, unix_s);
        let frame = frame.freeze();
        connections.retain(|connection| {
            let connection = connection.upgrade();
            connection.inspect(|connection| connection.ping(&frame)).is_some()
        });
        self.slots.borrow_mut()[at].append(&mut connections);
    }
}

async fn turn(wheel: Rc<PingWheel>) {
    loop {
        // Without connections there is no tick; the first one wakes the wheel.
        if wheel.is_empty() {
            wheel.added.notified().await;
        }
        tokio::time::sleep(INTERVAL / SLOTS as u32).await;
        // The clock of the machine: clients use the time for nothing but their own display.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        wheel.next(now.unwrap_or_default().as_secs());
    }
}
