//! Time as the harness counts it: nanoseconds since the run began, on the machine's monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

/// Nanoseconds of the run.
pub(crate) type Nanos = u64;

/// One second in [`Nanos`].
pub(crate) const SECOND: Nanos = 1_000_000_000;
/// One millisecond in [`Nanos`].
pub(crate) const MILLISECOND: Nanos = 1_000_000;

/// The run's clock. Copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

// === impl Clock ===

impl Clock {
    /// The run begins now.
    pub(crate) fn start() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// It is `now` of a run that began elsewhere.
    pub(crate) fn set(now: Nanos) -> Clock {
        let here = Instant::now();
        Clock {
            start: here.checked_sub(Duration::from_nanos(now)).unwrap_or(here),
        }
    }

    pub(crate) fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    /// The instant of a time of the run, for a timer.
    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.start + Duration::from_nanos(at)
    }
}
