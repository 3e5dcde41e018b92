//! Health of the store: open, closed or poisoned.
//!
//! A failed write or fsync leaves the disk in an unknown state; a second fsync that succeeds proves nothing,
//! because the kernel may have dropped the dirty pages ("fsyncgate", 2018). So the first failure is final.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::error;

use crate::{Error, Metrics};

/// State of the store, checked at the start of each call.
pub(crate) struct StoreHealth {
    closed: AtomicBool,
    poison: OnceLock<Error>,
    listeners: Mutex<Vec<HealthListener>>,
    /// Number of the last synced commit group; [`NO_ROUNDS`] in os mode.
    rounds: AtomicU64,
    /// Start of the write of the running commit group; `None` while the writer is idle.
    busy: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// Marks that commit groups are not counted.
const NO_ROUNDS: u64 = u64::MAX;

type HealthListener = Box<dyn Fn(&Error) + Send + Sync>;

// === impl StoreHealth ===

impl StoreHealth {
    pub(crate) fn new(metrics: Metrics) -> StoreHealth {
        let (closed, poison, listeners) = (AtomicBool::new(false), OnceLock::new(), Mutex::default());
        StoreHealth {
            closed,
            poison,
            listeners,
            rounds: AtomicU64::new(0),
            busy: Mutex::new(None),
            metrics,
        }
    }

    /// Returns an error if the store is poisoned or closed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // Poison first: after a failure a closed store must still report the failure.
        if let Some(poison) = self.poison.get() {
            return Err(poison.clone());
        }
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }

    /// Returns the error of a poisoned store, which every call then returns.
    pub(crate) fn poisoned(&self) -> Option<&Error> {
        self.poison.get()
    }

    /// Poisons the store, except for an error that leaves nothing half-written. Returns the error for the caller.
    pub(crate) fn fail(&self, cause: Error) -> Error {
        // Everything else poisons, `Corrupt` included: a replica with damaged data must neither serve nor vote.
        if matches!(
            cause,
            Error::Closed | Error::Full { .. } | Error::Misuse(_) | Error::Poisoned(_)
        ) {
            return cause;
        }
        let poison = Error::Poisoned(cause.to_string().into());
        // Locked across `set`: a listener registered meanwhile is either in the list or sees the poison, never neither.
        let mut listeners = self.listeners.lock();
        if self.poison.set(poison.clone()).is_ok() {
            error!(%cause, "storage poisoned, refusing all writes");
            self.metrics.poisoned.set(1);
            let registered = std::mem::take(&mut *listeners);
            // Unlocked before the calls: a listener may use the store, which would lock the list again.
            drop(listeners);
            for listener in registered {
                listener(&poison);
            }
        }
        // The first failure wins: later ones are consequences of it and would hide the cause.
        self.poison.get().cloned().unwrap_or(poison)
    }

    /// Calls `listener` when the store becomes poisoned, or immediately if it already is.
    pub(crate) fn on_poison(&self, listener: HealthListener) {
        let mut listeners = self.listeners.lock();
        match self.poison.get() {
            None => listeners.push(listener),
            Some(poison) => {
                drop(listeners);
                listener(poison);
            }
        }
    }

    /// Marks the store as closed. Returns false if it already was.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Records the start of a commit group; `None` records its end.
    pub(crate) fn busy(&self, since: Option<Instant>) {
        *self.busy.lock() = since;
    }

    /// Records the last synced commit group; `None` if groups are not counted.
    pub(crate) fn synced(&self, round: Option<u64>) {
        self.rounds.store(round.unwrap_or(NO_ROUNDS), Ordering::Release);
    }

    /// Returns the number of the last synced commit group; `None` if groups are not counted.
    pub(crate) fn rounds(&self) -> Option<u64> {
        Some(self.rounds.load(Ordering::Acquire)).filter(|round| *round != NO_ROUNDS)
    }

    /// Returns the time since the running commit group was handed to the disk; `None` while the writer is idle.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        self.busy.lock().map(|since| since.elapsed())
    }
}
