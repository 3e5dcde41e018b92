//! The door to the machine's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clocks read within this time are read at once.
#[cfg(target_os = "linux")]
const AT_ONCE: Duration = Duration::from_millis(10);
/// After so many attempts what was read has to do.
#[cfg(target_os = "linux")]
const READINGS: u32 = 16;

/// A machine's wall clock.
pub trait Wall: Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> u64;

    /// How long the machine has been suspended since it started: its monotonic clock stood still for so long. Zero
    /// where that can't be told.
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }
}

/// The system's.
#[derive(Clone, Copy, Debug)]
pub struct SystemWall;

/// The system's, put wrong by a file that a test writes: milliseconds to add, and further milliseconds for each second
/// that passes.
#[cfg(feature = "clock-file")]
#[derive(Debug)]
pub struct FileWall {
    path: std::path::PathBuf,
    read: parking_lot::Mutex<Read>,
}

/// What the file said, and when.
#[cfg(feature = "clock-file")]
#[derive(Debug)]
struct Read {
    text: String,
    looked: std::time::Instant,
    since: std::time::Instant,
}

// === impl SystemWall ===

impl Wall for SystemWall {
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
        // Whatever held this thread up between two readings would pass for a suspension.
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

// === impl FileWall ===

#[cfg(feature = "clock-file")]
impl FileWall {
    /// Follows the file, which need not be there yet.
    pub fn new(path: impl Into<std::path::PathBuf>) -> FileWall {
        let now = std::time::Instant::now();
        FileWall {
            path: path.into(),
            read: parking_lot::Mutex::new(Read {
                text: String::new(),
                looked: now - Duration::from_secs(1),
                since: now,
            }),
        }
    }

    /// Milliseconds by which the clock is wrong.
    fn wrong_ms(&self) -> i64 {
        let now = std::time::Instant::now();
        let read = &mut *self.read.lock();
        if now - read.looked >= Duration::from_millis(20) {
            read.looked = now;
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
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
impl Wall for FileWall {
    fn now_ms(&self) -> u64 {
        SystemWall.now_ms().saturating_add_signed(self.wrong_ms())
    }

    fn suspended(&self) -> Duration {
        SystemWall.suspended()
    }
}
