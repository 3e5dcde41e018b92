//! Wakes those whose schedule says so, to some ten microseconds: the runtime's own timers tick in milliseconds, which
//! would be a part of every latency. One timer of the kernel for all, set to whoever is due first.

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

use crate::clock::{Clock, Nanos, SECOND};

/// The alarms of all clients of a process.
pub(crate) struct Alarms {
    queue: Rc<Queue>,
    rings: JoinHandle<()>,
}

/// One client's alarm.
pub(crate) struct Alarm {
    queue: Rc<Queue>,
    key: u64,
    set: Option<Nanos>,
}

struct Queue {
    clock: Clock,
    timer: AsyncFd<OwnedFd>,
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Who is due when.
    wakers: BTreeMap<(Nanos, u64), Waker>,
    /// What the timer is set to.
    armed: Option<Nanos>,
    keys: u64,
}

// === impl Alarms ===

impl Alarms {
    /// Within a runtime, on the thread of the clients.
    pub(crate) fn new(clock: Clock) -> io::Result<Alarms> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, and asks for what an OwnedFd keeps: the file stays open"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        let queue = Rc::new(Queue {
            clock,
            timer,
            waiting: RefCell::default(),
        });
        let rung = queue.clone();
        let rings = tokio::task::spawn_local(async move { rung.ring().await });
        Ok(Alarms { queue, rings })
    }

    /// One more.
    pub(crate) fn alarm(&self) -> Alarm {
        let waiting = &mut *self.queue.waiting.borrow_mut();
        waiting.keys += 1;
        Alarm {
            queue: self.queue.clone(),
            key: waiting.keys,
            set: None,
        }
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        self.rings.abort();
    }
}

// === impl Alarm ===

impl Alarm {
    /// Ready when it is `at`; never for none.
    pub(crate) fn poll(&mut self, at: Option<Nanos>, cx: &Context<'_>) -> Poll<()> {
        if self.set != at {
            self.cancel();
        }
        let Some(at) = at else { return Poll::Pending };
        if at <= self.queue.clock.now() {
            self.cancel();
            return Poll::Ready(());
        }
        self.set = Some(at);
        let waiting = &mut *self.queue.waiting.borrow_mut();
        waiting.wakers.insert((at, self.key), cx.waker().clone());
        self.queue.arm(waiting);
        Poll::Pending
    }

    /// Waits until it is `at`; for ever for none.
    pub(crate) async fn until(&mut self, at: Option<Nanos>) {
        std::future::poll_fn(|cx| self.poll(at, cx)).await;
    }

    fn cancel(&mut self) {
        if let Some(at) = self.set.take() {
            self.queue.waiting.borrow_mut().wakers.remove(&(at, self.key));
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.cancel();
    }
}

// === impl Queue ===

impl Queue {
    /// Wakes whoever is due, whenever the timer says so.
    async fn ring(&self) {
        loop {
            // Fails only when the runtime ends.
            let Ok(mut ready) = self.timer.readable().await else {
                return;
            };
            // Nothing to read: how often it rang is gone when it is set again, and its next ring is news.
            ready.clear_ready();
            let waiting = &mut *self.waiting.borrow_mut();
            let now = self.clock.now();
            while let Some(first) = waiting.wakers.first_entry()
                && first.key().0 <= now
            {
                first.remove().wake();
            }
            waiting.armed = None;
            self.arm(waiting);
        }
    }

    /// Sets the timer to whoever is due first, unless it is set to somebody before.
    fn arm(&self, waiting: &mut Waiting) {
        let Some(first) = waiting.wakers.keys().next().map(|(at, _)| *at) else {
            return;
        };
        if waiting.armed.is_some_and(|armed| armed <= first) {
            return;
        }
        // Zero would be no alarm at all.
        let left = first.saturating_sub(self.clock.now()).max(1);
        let left = Timespec {
            tv_sec: (left / SECOND) as i64,
            tv_nsec: (left % SECOND) as i64,
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: left,
        };
        // It fails for a time that is none, which this is not.
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
    fn everybody_is_woken_in_the_order_of_their_times_and_nobody_before() {
        run(async {
            let clock = Clock::start();
            let alarms = Alarms::new(clock).unwrap();
            let woken = Rc::new(RefCell::new(Vec::new()));
            // The last one is set first, so that the timer has to be set again for each.
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
    fn an_alarm_that_is_put_off_or_dropped_wakes_nobody() {
        run(async {
            let clock = Clock::start();
            let alarms = Alarms::new(clock).unwrap();
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
            let clock = Clock::start();
            let alarms = Alarms::new(clock).unwrap();
            let mut alarm = alarms.alarm();
            // The best of many: a busy machine is late at times, a timer that ticks in milliseconds always.
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
