//! Whether the store may still be used: open, closed, or poisoned.
//!
//! A failed write or fsync leaves the disk in an unknown state; a second fsync that succeeds proves nothing,
//! because the kernel may have dropped the dirty pages ("fsyncgate", 2018). So the first failure is final.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::error;

use crate::{Error, Metrics};

/// The state of the store, asked at the start of each call.
pub(crate) struct Health {
    closed: AtomicBool,
    poison: OnceLock<Error>,
    listeners: Mutex<Vec<Listener>>,
    /// Number of the last synced round; [`NO_ROUNDS`] in os mode.
    rounds: AtomicU64,
    /// Since when a round has been at the disk.
    busy: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// Rounds are not counted.
const NO_ROUNDS: u64 = u64::MAX;

type Listener = Box<dyn Fn(&Error) + Send + Sync>;

// === impl Health ===

impl Health {
    pub(crate) fn new(metrics: Metrics) -> Health {
        let (closed, poison, listeners) = (AtomicBool::new(false), OnceLock::new(), Mutex::default());
        Health {
            closed,
            poison,
            listeners,
            rounds: AtomicU64::new(0),
            busy: Mutex::new(None),
            metrics,
        }
    }

    /// Refuses when the store is poisoned or closed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(poison) = self.poison.get() {
            return Err(poison.clone());
        }
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Returns the error that every call answers since the store was poisoned.
    pub(crate) fn poisoned(&self) -> Option<&Error> {
        self.poison.get()
    }

    /// Poisons the store, unless the failure is one that leaves nothing half-done. Returns what to answer.
    pub(crate) fn fail(&self, cause: Error) -> Error {
        if matches!(
            cause,
            Error::Closed | Error::Full { .. } | Error::Misuse(_) | Error::Poisoned(_)
        ) {
            return cause;
        }
        let poison = Error::Poisoned(cause.to_string().into());
        let mut listeners = self.listeners.lock();
        if self.poison.set(poison.clone()).is_ok() {
            error!(%cause, "storage poisoned, nothing is acknowledged any more");
            self.metrics.poisoned.set(1);
            let told = std::mem::take(&mut *listeners);
            drop(listeners);
            for listener in told {
                listener(&poison);
            }
        }
        self.poison.get().cloned().unwrap_or(poison)
    }

    /// Calls `listener` when the store becomes poisoned, at once if it already is.
    pub(crate) fn on_poison(&self, listener: Listener) {
        let mut listeners = self.listeners.lock();
        match self.poison.get() {
            None => listeners.push(listener),
            Some(poison) => {
                drop(listeners);
                listener(poison);
            }
        }
    }

    /// Closes the store. Returns false when it already was closed.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Notes that a round went to the disk, or came back.
    pub(crate) fn busy(&self, since: Option<Instant>) {
        *self.busy.lock() = since;
    }

    /// Notes the last synced round; `None` if they are not counted.
    pub(crate) fn synced(&self, round: Option<u64>) {
        self.rounds.store(round.unwrap_or(NO_ROUNDS), Ordering::Release);
    }

    /// Returns the last synced round.
    pub(crate) fn rounds(&self) -> Option<u64> {
        Some(self.rounds.load(Ordering::Acquire)).filter(|round| *round != NO_ROUNDS)
    }

    /// Returns how long the running round has been at the disk.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.busy.lock().map(|since| since.elapsed())
    }
}
