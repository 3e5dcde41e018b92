//! Free-space guard: checks the disk before a write, so that no write fails halfway.
//!
//! If RocksDB meets a full disk in the middle of a write, its memory and its write-ahead log differ, and only a
//! restart repairs that. The guard has two thresholds. Below the reserve [`DiskSpaceGuard::admit`] refuses new work;
//! below half of it [`DiskSpaceGuard::allow`] refuses log entries that are already queued. The rest is for state writes
//! of logged entries, for flushes, and for the purge that frees space.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fail::fail_point;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::{Error, Metrics};

/// Measures and caches the free space of the data directory.
pub(crate) struct DiskSpaceGuard {
    reserve: u64,
    /// Age up to which [`Self::admit`] reuses the last measurement.
    fresh: Duration,
    metrics: Metrics,
    last: Mutex<Option<(Instant, u64)>>,
}

// === impl DiskSpaceGuard ===

impl DiskSpaceGuard {
    pub(crate) fn new(reserve: u64, fresh: Duration, metrics: Metrics) -> DiskSpaceGuard {
        let reserve_bytes = i64::try_from(reserve).unwrap_or(i64::MAX);
        metrics.free_space_reserve_bytes.set(reserve_bytes);
        DiskSpaceGuard {
            reserve,
            fresh,
            metrics,
            last: Mutex::new(None),
        }
    }

    /// Refuses new work below the reserve. Cheap: reuses a recent measurement.
    pub(crate) fn admit(&self, engine: &dyn Engine) -> Result<(), Error> {
        // The lock is not held during the measurement: two callers may measure at once, but none waits for the disk of
        // another.
        let fresh = self.last.lock().filter(|(at, _)| at.elapsed() < self.fresh);
        let free = match fresh {
            Some((_, free)) => free,
            None => self.look(engine)?,
        };
        if free < self.reserve {
            Err(self.full(free))
        } else {
            Ok(())
        }
    }

    /// Refuses a write of `bytes` if it would leave less than half the reserve free.
    pub(crate) fn allow(&self, engine: &dyn Engine, bytes: usize) -> Result<(), Error> {
        // Always measured: half the reserve can be consumed within the lifetime of a cached value.
        let free = self.look(engine)?;
        if free.saturating_sub(bytes as u64) < self.reserve / 2 {
            Err(self.full(free))
        } else {
            Ok(())
        }
    }

    fn look(&self, engine: &dyn Engine) -> Result<u64, Error> {
        let free = free_bytes(engine)?;
        self.metrics
            .free_bytes
            .set(i64::try_from(free).unwrap_or(i64::MAX));
        *self.last.lock() = Some((Instant::now(), free));
        Ok(free)
    }

    fn full(&self, free: u64) -> Error {
        Error::Full {
            free,
            reserve: self.reserve,
        }
    }
}

fn free_bytes(engine: &dyn Engine) -> Result<u64, Error> {
    fail_point!("storage::full", |_| Ok(0));
    engine.free_bytes()
}

/// Guard shared by the writer and the handles.
pub(crate) type SharedSpace = Arc<DiskSpaceGuard>;
