//! Values that all clients of a run share.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::Connector;
use crate::clock::{Nanos, RunClock, SECOND};
use crate::measure::{RunContext, SharedContext};
use crate::pacing::PreciseTimers;

/// Values that all clients of a run share.
pub(crate) struct SharedRun {
    pub(crate) context: SharedContext,
    /// Addresses that a client may connect to. A scenario that spares a node removes it.
    pub(crate) nodes: RefCell<Vec<String>>,
    /// Token template; `{user}` is replaced by the user's name.
    pub(crate) token: String,
    /// Distinguishes this process from an earlier one with the same device names.
    pub(crate) instance: String,
    /// Probe reads per second, of all clients together.
    pub(crate) reads: Cell<f64>,
    /// Messages that may still be sent, by all clients together.
    pub(crate) budget: Cell<u64>,
    pub(crate) online: Cell<usize>,
    pub(crate) alarms: PreciseTimers,
    pub(crate) dialer: Connector,
    /// Longest delay between two connection attempts.
    pub(crate) backoff_max: Duration,
    /// Interval of the heartbeats that a client sends. It disconnects after two and a half intervals without a frame.
    pub(crate) heartbeat: Nanos,
    /// Size of the read buffer of one connection, in bytes.
    pub(crate) read_buffer: usize,
}

// === impl SharedRun ===

impl SharedRun {
    /// Creates the shared values of `clients` clients. `run` is the number of the run, `size` that of a body in bytes.
    pub(crate) fn new(
        run: u32,
        clock: RunClock,
        nodes: Vec<String>,
        token: &str,
        size: usize,
        clients: u32,
        dialer: Connector,
    ) -> io::Result<Rc<SharedRun>> {
        Ok(Rc::new(SharedRun {
            context: Rc::new(RefCell::new(RunContext::new(clock, run, size))),
            nodes: RefCell::new(nodes),
            token: token.to_owned(),
            instance: format!("{run:x}"),
            reads: Cell::new(0.0),
            budget: Cell::new(u64::MAX),
            online: Cell::new(0),
            alarms: PreciseTimers::new(clock)?,
            dialer,
            backoff_max: Duration::from_secs(2),
            // Large runs send rare heartbeats and have small buffers: both add up over thousands of clients.
            heartbeat: if clients > 500 { 30 * SECOND } else { 4 * SECOND },
            read_buffer: match clients {
                0..=500 => 65_536,
                501..=5000 => 4096,
                _ => 2048,
            },
        }))
    }
}

#[cfg(test)]
impl SharedRun {
    /// Creates the shared values of clients of the fake cluster, which may send `messages` messages together.
    pub(crate) fn of_fake(fake: &crate::fake_server::FakeServer, messages: u64) -> Rc<SharedRun> {
        let clock = RunClock::start();
        Rc::new(SharedRun {
            context: Rc::new(RefCell::new(RunContext::new(clock, 0xfa4e, 120))),
            nodes: RefCell::new(fake.nodes.clone()),
            token: "dev:{user}".to_owned(),
            instance: "i".to_owned(),
            reads: Cell::new(200.0),
            budget: Cell::new(messages),
            online: Cell::new(0),
            alarms: PreciseTimers::new(clock).unwrap(),
            dialer: Connector::new(Vec::new(), None, 8),
            backoff_max: Duration::from_millis(20),
            heartbeat: 5 * SECOND,
            read_buffer: 4096,
        })
    }
}
