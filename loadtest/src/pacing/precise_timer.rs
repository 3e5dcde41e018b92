//! Timers with a precision of some ten microseconds. The runtime's own timers tick in milliseconds, which would be a
//! part of every latency. One kernel timer serves all, and is set to the earliest deadline.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

use crate::clock::{Nanos, RunClock, SECOND};

/// Timers of all clients of a process.
pub(crate) struct PreciseTimers {
    queue: Rc<TimerQueue>,
    rings: JoinHandle<()>,
}

/// Timer of one client.
pub(crate) struct PreciseTimer {
    queue: Rc<TimerQueue>,
    key: u64,
    set: Option<Nanos>,
}

struct TimerQueue {
    clock: RunClock,
    timer: AsyncFd<OwnedFd>,
    waiting: RefCell<WaitingTimer>,
}

#[derive(Default)]
struct WaitingTimer {
    /// Wakers by deadline and key.
    wakers: BTreeMap<(Nanos, u64), Waker>,
    /// Deadline that the kernel timer is set to; `None` if it is not set.
    armed: Option<Nanos>,
    keys: u64,
}

// === impl PreciseTimers ===

impl PreciseTimers {
    /// Must be called within a runtime, on the thread of the clients.
    pub(crate) fn new(clock: RunClock) -> io::Result<PreciseTimers> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and asks for what an OwnedFd keeps: the file stays open"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        let queue = Rc::new(TimerQueue {
            clock,
            timer,
            waiting: RefCell::default(),
        });
        let rung = queue.clone();
        let rings = tokio::task::spawn_local(async move { rung.ring().await });
        Ok(PreciseTimers { queue, rings })
    }

    /// Returns a timer that is not set.
    pub(crate) fn alarm(&self) -> PreciseTimer {
        let waiting = &mut *self.queue.waiting.borrow_mut();
        waiting.keys += 1;
        PreciseTimer {
            queue: self.queue.clone(),
            key: waiting.keys,
            set: None,
        }
    }
}

impl Drop for PreciseTimers {
    fn drop(&mut self) {
        self.rings.abort();
    }
}

// === impl PreciseTimer ===

impl PreciseTimer {
    /// Returns `Ready` once the time `at` is reached; never for `None`.
    pub(crate) fn poll(&mut self, at: Option<Nanos>, cx: &Context<'_>) -> Poll<()> {
        if self.set != at {
            self.cancel();
        }
        let Some(at) = at else { return Poll::Pending };
        // Checked on every poll: a deadline that has passed needs no system call.
        if at <= self.queue.clock.now() {
            // Removed, or the kernel timer would wake the task once more for a deadline that it has seen.
            self.cancel();
            return Poll::Ready(());
        }
        self.set = Some(at);
        let waiting = &mut *self.queue.waiting.borrow_mut();
        // Replaced on every poll: the task may be polled with another waker than before.
        waiting.wakers.insert((at, self.key), cx.waker().clone());
        self.queue.arm(waiting);
        Poll::Pending
    }

    /// Waits until the time `at`; forever for `None`.
    pub(crate) async fn until(&mut self, at: Option<Nanos>) {
        std::future::poll_fn(|cx| self.poll(at, cx)).await;
    }

    fn cancel(&mut self) {
        if let Some(at) = self.set.take() {
            self.queue.waiting.borrow_mut().wakers.remove(&(at, self.key));
        }
    }
}

impl Drop for PreciseTimer {
    fn drop(&mut self) {
        self.cancel();
    }
}

// === impl TimerQueue ===

impl TimerQueue {
    /// Wakes every task whose deadline has passed, whenever the kernel timer expires.
    async fn ring(&self) {
        loop {
            // Fails only if the runtime ends.
            let Ok(mut ready) = self.timer.readable().await else {
                return;
            };
            // The counter of the timer is not read: setting the timer resets it, and the next expiry is a new edge.
            ready.clear_ready();
            let waiting = &mut *self.waiting.borrow_mut();
            let now = self.clock.now();
            while let Some(first) = waiting.wakers.first_entry()
                && first.key().0 <= now
            {
                first.remove().wake();
            }
            // The kernel timer is one-shot, so it has to be set for the next deadline.
            waiting.armed = None;
            self.arm(waiting);
        }
    }

    /// Sets the kernel timer to the earliest deadline, unless it is set to an earlier one.
    fn arm(&self, waiting: &mut WaitingTimer) {
        let Some(first) = waiting.wakers.keys().next().map(|(at, _)| *at) else {
            return;
        };
        // An early expiry is harmless, and saves a system call for each cancelled deadline.
        if waiting.armed.is_some_and(|armed| armed <= first) {
            return;
        }
        // A value of zero would disarm the timer.
        let left = first.saturating_sub(self.clock.now()).max(1);
        let left = Timespec {
            tv_sec: (left / SECOND) as i64,
            tv_nsec: (left % SECOND) as i64,
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: left,
        };
        // Fails only for an invalid time, which is excluded here.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
        waiting.armed = Some(first);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::MILLISECOND;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test)
    }

    #[test]
    fn timers_fire_in_order_and_never_early() {
        run(async {
            let clock = RunClock::start();
            let alarms = PreciseTimers::new(clock).unwrap();
            let woken = Rc::new(RefCell::new(Vec::new()));
            // The latest deadline is set first, so that each further one has to set the kernel timer again.
            let clients = (1..=50).rev().map(|number| {
                let (mut alarm, woken) = (alarms.alarm(), woken.clone());
                tokio::task::spawn_local(async move {
                    let at = number * 3 * MILLISECOND;
                    alarm.until(Some(at)).await;
                    assert!(clock.now() >= at, "woken before its time");
                    woken.borrow_mut().push(at);
                })
            });
            for client in clients.collect::<Vec<_>>() {
                client.await.unwrap();
            }
            assert_eq!(woken.borrow().len(), 50);
            assert!(woken.borrow().is_sorted());
        });
    }

    #[test]
    fn a_deferred_or_dropped_timer_does_not_wake() {
        run(async {
            let clock = RunClock::start();
            let alarms = PreciseTimers::new(clock).unwrap();
            let (mut early, mut other) = (alarms.alarm(), alarms.alarm());
            let soon = clock.now() + 5 * MILLISECOND;
            for at in [Some(soon), None, Some(soon + 20 * MILLISECOND)] {
                let cx = &Context::from_waker(Waker::noop());
                assert!(early.poll(at, cx).is_pending());
                assert_eq!(
                    alarms.queue.waiting.borrow().wakers.len(),
                    usize::from(at.is_some()),
                    "one waker at most"
                );
            }
            early.until(Some(soon + 20 * MILLISECOND)).await;
            assert!(clock.now() >= soon + 20 * MILLISECOND);
            assert!(
                other
                    .poll(Some(u64::MAX), &Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            drop(other);
            assert!(alarms.queue.waiting.borrow().wakers.is_empty());
        });
    }

    #[test]
    fn alarms_are_more_precise_than_the_timers_of_the_runtime() {
        run(async {
            let clock = RunClock::start();
            let alarms = PreciseTimers::new(clock).unwrap();
            let mut alarm = alarms.alarm();
            // The best of many attempts: a busy machine is late at times, a timer of milliseconds always.
            let mut best = Duration::MAX;
            for _ in 0..200 {
                let at = clock.now() + MILLISECOND / 2;
                alarm.until(Some(at)).await;
                best = best.min(Duration::from_nanos(clock.now() - at));
            }
            assert!(best < Duration::from_micros(400), "{best:?} late at best");
        });
    }
}
