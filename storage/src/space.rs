//! How much room the disk has left, asked before anything is half-written.
//!
//! RocksDB that meets a full disk amid a write has its memory and its write-ahead log disagree, and only a
//! restart mends that. So the store looks first, in two steps: below the reserve [`Space::admit`] turns new
//! work away; below half of it [`Space::allow`] refuses log entries that were already on their way. What is
//! left is for state writes of entries already in the log, for flushes, and for the purge that makes room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fail::fail_point;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::{Error, Metrics};

/// Watches the free space of the data directory.
pub(crate) struct Space {
    reserve: u64,
    /// How long [`Space::admit`] believes an earlier look.
    fresh: Duration,
    metrics: Metrics,
    last: Mutex<Option<(Instant, u64)>>,
}

// === impl Space ===

impl Space {
    pub(crate) fn new(reserve: u64, fresh: Duration, metrics: Metrics) -> Space {
        Space {
            reserve,
            fresh,
            metrics,
            last: Mutex::new(None),
        }
    }

    /// Refuses new work below the reserve. Cheap: looks at the disk only now and then.
    pub(crate) fn admit(&self, engine: &dyn Engine) -> Result<(), Error> {
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

    /// Refuses to write `bytes` when that would leave less than half the reserve.
    pub(crate) fn allow(&self, engine: &dyn Engine, bytes: usize) -> Result<(), Error> {
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

/// Shared by the writer and the handles.
pub(crate) type SharedSpace = Arc<Space>;
