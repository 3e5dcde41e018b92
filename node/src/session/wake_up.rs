//! Wake-up of a session by its connection: at a deadline, or when something has changed.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};
use std::time::Instant;

/// Deadline of the session's next timer, and the request to check what has changed.
pub(super) struct WakeUp {
    due: Cell<Instant>,
    check_requested: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

// === impl WakeUp ===

impl WakeUp {
    pub(super) fn at(due: Instant) -> WakeUp {
        WakeUp {
            due: Cell::new(due),
            check_requested: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Sets the deadline, whether it is earlier or later than before.
    pub(super) fn set_due(&self, at: Instant) {
        self.due.set(at);
    }

    /// Moves the deadline to `at` if it is later.
    pub(super) fn not_after(&self, at: Instant) {
        self.due.set(self.due.get().min(at));
    }

    /// Requests a check if the deadline has passed.
    pub(super) fn tick(&self, now: Instant) {
        if self.due.get() <= now {
            self.request_check();
        }
    }

    /// Makes the session check its timers, flags and backlog once.
    pub(super) fn request_check(&self) {
        self.check_requested.set(true);
        self.wake();
    }

    /// Wakes the session's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Returns true if a check was requested since the last call. Otherwise `cx` is woken at the next request.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> bool {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.check_requested.replace(false)
    }
}
