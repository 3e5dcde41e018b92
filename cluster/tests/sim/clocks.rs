//! The members' wall clocks: simulated time, each put wrong by itself.

use std::sync::Arc;
use std::time::Duration;

use cluster::NodeId;
use cluster::clock::{BOUND, WallClock};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What a right clock shows when the world begins.
const BEGINNING_MS: u64 = 1_800_000_000_000;

/// How a clock is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Wrong {
    pub(crate) ahead_ms: i64,
    /// Further milliseconds for each second.
    pub(crate) drift: f64,
}

/// One member's clock; the machine's, so it survives the member.
#[derive(Clone)]
pub(crate) struct SimWallClock {
    begun: Instant,
    state: Arc<Mutex<WallState>>,
}

#[derive(Debug)]
struct WallState {
    wrong: Wrong,
    since: Instant,
    suspended: Duration,
}

/// All of them, and what broke the rule about them.
pub(crate) struct Clocks {
    walls: Vec<SimWallClock>,
    early: Mutex<Vec<String>>,
}

// === impl SimWallClock ===

impl SimWallClock {
    fn new() -> SimWallClock {
        let now = Instant::now();
        SimWallClock {
            begun: now,
            state: Arc::new(Mutex::new(WallState {
                wrong: Wrong::default(),
                since: now,
                suspended: Duration::ZERO,
            })),
        }
    }

    pub(crate) fn set(&self, wrong: Wrong) {
        let mut state = self.state.lock();
        (state.wrong, state.since) = (wrong, Instant::now());
    }

    fn is_wrong(&self) -> bool {
        self.state.lock().wrong != Wrong::default()
    }

    /// The machine stood still for so long, and says so.
    pub(crate) fn suspend(&self, length: Duration) {
        self.state.lock().suspended += length;
    }
}

impl WallClock for SimWallClock {
    fn now_ms(&self) -> u64 {
        let state = self.state.lock();
        let drifted = state.since.elapsed().as_secs_f64() * state.wrong.drift;
        let right = BEGINNING_MS + self.begun.elapsed().as_millis() as u64;
        right.saturating_add_signed(state.wrong.ahead_ms + drifted as i64)
    }

    fn suspended(&self) -> Duration {
        self.state.lock().suspended
    }
}

// === impl Clocks ===

impl Clocks {
    pub(crate) fn new(members: usize) -> Clocks {
        Clocks {
            walls: (0..members).map(|_| SimWallClock::new()).collect(),
            early: Mutex::default(),
        }
    }

    pub(crate) fn of(&self, node: NodeId) -> &SimWallClock {
        &self.walls[node.0 as usize - 1]
    }

    /// The one that is wrong, if any is: only one is at a time, else a majority would be.
    pub(crate) fn wrong(&self) -> Option<NodeId> {
        let wrong = self.walls.iter().position(SimWallClock::is_wrong);
        wrong.map(|at| NodeId(at as u64 + 1))
    }

    pub(crate) fn put_right(&self) {
        for wall in &self.walls {
            wall.set(Wrong::default());
        }
    }

    /// What a majority of the clocks has reached.
    pub(crate) fn reached_ms(&self) -> u64 {
        let mut readings: Vec<u64> = self.walls.iter().map(SimWallClock::now_ms).collect();
        readings.sort_unstable();
        readings[(readings.len() - 1) / 2]
    }

    /// Notes a batch that is applied although its time isn't there yet, by the clocks themselves.
    pub(crate) fn judge(&self, what: &str, now_ms: u64) {
        let reached_ms = self.reached_ms();
        if now_ms > reached_ms + BOUND.as_millis() as u64 {
            let ahead = now_ms - reached_ms;
            self.early
                .lock()
                .push(format!("{what} was applied with a time {ahead} ms ahead"));
        }
    }

    pub(crate) fn early(&self) -> Option<String> {
        self.early.lock().first().cloned()
    }
}
