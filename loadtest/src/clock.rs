//! Run time: nanoseconds since the start of the run, on the machine's monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds since the start of the run.
pub(crate) type Nanos = u64;

/// One second in [`Nanos`].
pub(crate) const SECOND: Nanos = 1_000_000_000;
/// One millisecond in [`Nanos`].
pub(crate) const MILLISECOND: Nanos = 1_000_000;

/// Clock of the run. All copies return the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunClock {
    start: Instant,
}

// === impl RunClock ===

impl RunClock {
    /// Returns a clock that starts now.
    pub(crate) fn start() -> RunClock {
        RunClock {
            start: Instant::now(),
        }
    }

    /// Returns a clock that is at `now`, for a run that another process started.
    pub(crate) fn set(now: Nanos) -> RunClock {
        // A machine may have been up for less than `now`. Its clock then starts at zero instead of panicking.
        let here = Instant::now();
        RunClock {
            start: here.checked_sub(Duration::from_nanos(now)).unwrap_or(here),
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    /// Converts a time of the run to an instant, for a timer.
    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.start + Duration::from_nanos(at)
    }
}
