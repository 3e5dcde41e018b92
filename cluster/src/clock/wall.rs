//! Access to the machine's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Maximum time between two clock readings that count as simultaneous.
#[cfg(target_os = "linux")]
const AT_ONCE: Duration = Duration::from_millis(10);
/// Maximum number of attempts; then the last reading is used.
#[cfg(target_os = "linux")]
const READINGS: u32 = 16;

/// Wall clock of a machine.
pub trait WallClock: Send + Sync + 'static {
    /// Returns the milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// Returns the total time for which the machine has been suspended, and its monotonic clock stood still. Zero where
    /// the platform does not report it.
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Clone, Copy, Debug)]
pub struct SystemWallClock;

/// The system's clock plus an error that a test writes to a file: milliseconds to add, and further milliseconds per
/// second.
#[cfg(feature = "clock-file")]
#[derive(Debug)]
pub struct FileWallClock {
    path: std::path::PathBuf,
    read: parking_lot::Mutex<ClockFileReading>,
}

/// Content of the file and the time of reading it.
#[cfg(feature = "clock-file")]
#[derive(Debug)]
struct ClockFileReading {
    text: String,
    looked: std::time::Instant,
    since: std::time::Instant,
}

// === impl SystemWallClock ===

impl WallClock for SystemWallClock {
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, super::millis)
    }

    #[cfg(target_os = "linux")]
    fn suspended(&self) -> Duration {
        use rustix::time::{ClockId, Timespec, clock_gettime};
        let length = |time: Timespec| {
            let (s, ns) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
            Duration::new(s.unwrap_or(0), ns.unwrap_or(0))
        };
        let mut suspended = Duration::ZERO;
        // A delay of this thread between the readings would look like a suspension; such readings are repeated.
        for _ in 0..READINGS {
            let before = length(clock_gettime(ClockId::Monotonic));
            let since_start = length(clock_gettime(ClockId::Boottime));
            let after = length(clock_gettime(ClockId::Monotonic));
            suspended = since_start.saturating_sub(before);
            if after - before < AT_ONCE {
                break;
            }
        }
        suspended
    }
}

// === impl FileWallClock ===

#[cfg(feature = "clock-file")]
impl FileWallClock {
    /// Creates a clock that follows the file, which need not exist yet.
    pub fn new(path: impl Into<std::path::PathBuf>) -> FileWallClock {
        let now = std::time::Instant::now();
        FileWallClock {
            path: path.into(),
            read: parking_lot::Mutex::new(ClockFileReading {
                text: String::new(),
                // In the past, so that the first call reads the file.
                looked: now - Duration::from_secs(1),
                since: now,
            }),
        }
    }

    /// Returns the milliseconds to add to the system's clock.
    fn wrong_ms(&self) -> i64 {
        let now = std::time::Instant::now();
        let read = &mut *self.read.lock();
        // The clock is read for every message; the file is not.
        if now - read.looked >= Duration::from_millis(20) {
            read.looked = now;
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            // The drift counts from a change of the content, not from each reading.
            if text != read.text {
                (read.text, read.since) = (text, now);
            }
        }
        let mut numbers = read
            .text
            .split_whitespace()
            .map(|number| number.parse::<f64>().unwrap_or(0.0));
        let (offset, drift) = (numbers.next().unwrap_or(0.0), numbers.next().unwrap_or(0.0));
        (offset + drift * (now - read.since).as_secs_f64()) as i64
    }
}

#[cfg(feature = "clock-file")]
impl WallClock for FileWallClock {
    fn now_ms(&self) -> u64 {
        SystemWallClock.now_ms().saturating_add_signed(self.wrong_ms())
    }

    fn suspended(&self) -> Duration {
        SystemWallClock.suspended()
    }
}
