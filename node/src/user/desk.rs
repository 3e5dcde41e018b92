//! Presence on one worker thread: the seats of its sessions, whom they watch, and what they are shown.
//!
//! A session takes a [`Seat`] when its client is known and gives it back (by dropping it) when nobody is connected any
//! more. What it is shown waits here while its outbox is half full: presence is the first to wait for a slow client, and
//! of each user only the newest state does.

mod watcher;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use cluster::Clock;
use protocol::{Cid, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use self::watcher::Watcher;
use super::attendance::{Notice, Order, WorkerId};
use super::metrics::Metrics;
use crate::rpc::presence::{self as wire, Admission};

pub use watcher::Screen;
pub(crate) use watcher::event;

/// How often a session without room is looked at again.
const ROOM_RETRY: Duration = Duration::from_millis(50);

/// The seats and watchers of one worker thread. Cheap to clone, never leaves the thread.
#[derive(Clone)]
pub struct Desk {
    inner: Rc<Inner>,
}

/// The place of a connected session in its user's directory; dropped, it is free.
pub struct Seat {
    desk: Desk,
    user: UserId,
    id: u64,
}

/// Which copy of the app it is: at most one session per device is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device.
    pub name: String,
    /// Random per start of the app.
    pub instance: String,
}

/// Which of the user's sessions it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMark {
    /// Its own.
    pub own: u64,
    /// That of the session that it wants to go on with.
    pub goes_on: Option<u64>,
}

/// Why a session is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Instances of the device displace each other too fast.
    Conflict,
    /// The user has too many sessions.
    TooMany,
}

/// Why a session has to end, or its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The same instance of the device has another connection: this one is over, in silence. The session itself may be
    /// the one that goes on there.
    Replaced,
    /// Another instance of the device came.
    Displaced,
    /// The user has too many sessions, as became known late.
    TooMany,
    /// The login that the session came from has ended.
    Ended,
}

struct Inner {
    worker: WorkerId,
    orders: mpsc::UnboundedSender<Order>,
    metrics: Metrics,
    clock: Clock,
    state: RefCell<State>,
    /// Events that wait for room.
    still: Cell<usize>,
    task: RefCell<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    seats: HashMap<u64, Taken>,
    /// Who watches a user, and in which sessions.
    watched: HashMap<UserId, HashMap<UserId, Vec<u64>>>,
    watchers: HashMap<u64, Watcher>,
    /// Sessions for which something waits.
    waiting: HashSet<u64>,
}

/// A seat, until the owner has said what becomes of it, and until it is lost.
struct Taken {
    user: UserId,
    /// The login that the client's token came from.
    login: Option<Cid>,
    admitted: Option<oneshot::Sender<Result<(), Refused>>>,
    lost: Option<oneshot::Sender<Loss>>,
}

// === impl Desk ===

impl Desk {
    pub(super) fn connect(
        orders: mpsc::UnboundedSender<Order>,
        batches: usize,
        metrics: Metrics,
        clock: Clock,
    ) -> Desk {
        let (notices, inbox) = mpsc::channel(batches);
        let desk = Desk {
            inner: Rc::new(Inner {
                worker: rand::random(),
                orders,
                metrics,
                clock,
                state: RefCell::default(),
                still: Cell::new(0),
                task: RefCell::default(),
            }),
        };
        let worker = desk.inner.worker;
        desk.inner.order(Order::Hello { worker, notices });
        let listener = Rc::downgrade(&desk.inner);
        let task = actix::spawn(async move {
            let mut inbox: mpsc::Receiver<Vec<Notice>> = inbox;
            let mut crowded = false;
            loop {
                let batch = tokio::select! {
                    batch = inbox.recv() => match batch {
                        Some(batch) => batch,
                        None => return,
                    },
                    () = tokio::time::sleep(ROOM_RETRY), if crowded => Vec::new(),
                };
                let Some(inner) = listener.upgrade() else { return };
                for notice in batch {
                    inner.take(notice);
                }
                crowded = inner.show_waiting();
            }
        });
        *desk.inner.task.borrow_mut() = Some(task.abort_handle());
        desk
    }

    /// Takes a seat for a session that is connected from now on. The first future says whether it is let in, and stays
    /// silent while no owner can be reached; the second resolves when the seat is lost.
    ///
    /// A session without a device displaces nobody.
    pub fn enter(
        &self,
        user: &UserId,
        login: Option<Cid>,
        device: Option<Device>,
        mark: SessionMark,
    ) -> (
        Seat,
        impl Future<Output = Result<(), Refused>> + use<>,
        impl Future<Output = Option<Loss>> + use<>,
    ) {
        let id = rand::random();
        let (admitted, admission) = oneshot::channel();
        let (lost, loss) = oneshot::channel();
        let taken = Taken {
            user: user.clone(),
            login,
            admitted: Some(admitted),
            lost: Some(lost),
        };
        self.inner.state.borrow_mut().seats.insert(id, taken);
        let seat = wire::Seat {
            user: user.clone(),
            tag: id,
            device: device.map(|device| (device.name, device.instance)),
            since_ms: self.inner.clock.now_ms(),
            asks: true,
            mark: mark.own,
            goes_on: mark.goes_on,
        };
        self.inner.order(Order::Enter {
            worker: self.inner.worker,
            seat,
        });
        let seat = Seat {
            desk: self.clone(),
            user: user.clone(),
            id,
        };
        // Without the task the node stops, and nobody is turned away for that.
        let admission = async move { admission.await.unwrap_or(Ok(())) };
        let loss = async move { loss.await.ok() };
        (seat, admission, loss)
    }

    /// The session watches these users too, and is shown how each stands; at most `most` in all. `false`: it would be
    /// more, and nothing was changed.
    pub fn watch(
        &self,
        session: u64,
        viewer: &UserId,
        screen: Rc<dyn Screen>,
        users: Vec<UserId>,
        most: usize,
    ) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let users: HashSet<UserId> = users.into_iter().collect();
        let watcher = state
            .watchers
            .entry(session)
            .or_insert_with(|| Watcher::new(viewer.clone(), screen));
        let new = users
            .iter()
            .filter(|user| !watcher.users.contains_key(*user))
            .count();
        if watcher.users.len() + new > most {
            if watcher.users.is_empty() {
                state.watchers.remove(&session);
            }
            return false;
        }
        for user in users {
            watcher.users.insert(user.clone(), None);
            let viewers = state.watched.entry(user.clone()).or_default();
            let sessions = viewers.entry(viewer.clone()).or_default();
            if !sessions.contains(&session) {
                sessions.push(session);
            }
            self.inner.order(Order::Watch {
                worker: self.inner.worker,
                user,
                viewer: viewer.clone(),
            });
        }
        true
    }

    /// The session watches these users no more.
    pub fn unwatch(&self, session: u64, users: &[UserId]) {
        let mut state = self.inner.state.borrow_mut();
        for user in users {
            self.inner.unwatch(&mut state, session, user);
        }
        if state
            .watchers
            .get(&session)
            .is_some_and(|watcher| watcher.users.is_empty())
        {
            state.watchers.remove(&session);
            state.waiting.remove(&session);
        }
    }

    /// Whom the session watches.
    #[must_use]
    pub fn watching(&self, session: u64) -> Vec<UserId> {
        let state = self.inner.state.borrow();
        let users = state
            .watchers
            .get(&session)
            .map(|watcher| watcher.users.keys().cloned().collect());
        users.unwrap_or_default()
    }

    /// The session is over.
    pub fn end(&self, session: u64) {
        let users = self.watching(session);
        self.unwatch(session, &users);
    }
}

// === impl Seat ===

impl Seat {
    /// The client showed another token.
    pub fn renew(&self, login: Option<Cid>) {
        if let Some(taken) = self.desk.inner.state.borrow_mut().seats.get_mut(&self.id) {
            taken.login = login;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.inner.state.borrow_mut().seats.remove(&self.id);
        self.desk.inner.order(Order::Leave {
            user: self.user.clone(),
            tag: self.id,
        });
    }
}

// === impl Inner ===

impl Inner {
    fn order(&self, order: Order) {
        // The attendance outlives the workers; when it is gone, the node stops.
        let _ = self.orders.send(order);
    }

    fn unwatch(&self, state: &mut State, session: u64, user: &UserId) {
        let Some(watcher) = state.watchers.get_mut(&session) else {
            return;
        };
        if !watcher.forget(user) {
            return;
        }
        let Some(viewers) = state.watched.get_mut(user) else {
            return;
        };
        let Some(sessions) = viewers.get_mut(&watcher.viewer) else {
            return;
        };
        sessions.retain(|known| *known != session);
        if sessions.is_empty() {
            viewers.remove(&watcher.viewer);
            self.order(Order::Unwatch {
                worker: self.worker,
                user: user.clone(),
                viewer: watcher.viewer.clone(),
            });
        }
        if viewers.is_empty() {
            state.watched.remove(user);
        }
    }

    fn take(&self, notice: Notice) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        match notice {
            Notice::Admitted { tag, admission } => {
                let Some(seat) = state.seats.get_mut(&tag) else {
                    return;
                };
                let (verdict, late) = match admission {
                    Admission::Conflict => (Err(Refused::Conflict), Some(Loss::Displaced)),
                    Admission::TooMany => (Err(Refused::TooMany), Some(Loss::TooMany)),
                    Admission::Admitted | Admission::Displaced(_) => (Ok(()), None),
                };
                let heard = seat
                    .admitted
                    .take()
                    .is_some_and(|admitted| admitted.send(verdict).is_ok());
                if let Some(loss) = late.filter(|_| !heard) {
                    seat.lose(loss);
                }
            }
            Notice::Displaced { tag, how } => {
                if let Some(seat) = state.seats.get_mut(&tag) {
                    seat.lose(match how {
                        wire::Displaced::Replaced => Loss::Replaced,
                        wire::Displaced::Displaced => Loss::Displaced,
                    });
                }
            }
            Notice::Ended { user, login } => {
                let over = |seat: &&mut Taken| {
                    let same = |known: &Cid| login.as_ref().is_none_or(|login| login == known);
                    seat.user == user && seat.login.as_ref().is_some_and(same)
                };
                state
                    .seats
                    .values_mut()
                    .filter(over)
                    .for_each(|seat| seat.lose(Loss::Ended));
            }
            Notice::Stands { user, viewer, shown } => {
                let sessions = state.watched.get(&user).and_then(|viewers| viewers.get(&viewer));
                for session in sessions.into_iter().flatten() {
                    if let Some(watcher) = state.watchers.get_mut(session)
                        && watcher.stands(&user, shown)
                    {
                        state.waiting.insert(*session);
                    }
                }
            }
        }
    }

    /// Shows what waits where there is room. Whether something still waits.
    fn show_waiting(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let State {
            waiting, watchers, ..
        } = &mut *state;
        let mut still = 0;
        waiting.retain(|session| {
            let Some(watcher) = watchers.get_mut(session) else {
                return false;
            };
            self.metrics.presence_pushed.inc_by(watcher.show_waiting());
            still += watcher.waiting();
            watcher.waiting() > 0
        });
        let before = self.still.replace(still);
        self.metrics.presence_waiting.inc_by(still as i64 - before as i64);
        !waiting.is_empty()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.task.borrow_mut().take() {
            task.abort();
        }
    }
}

// === impl Taken ===

impl Taken {
    fn lose(&mut self, loss: Loss) {
        if let Some(lost) = self.lost.take() {
            // Nobody listens: the session is on its way out.
            let _gone = lost.send(loss);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::user::attendance::Shown;

    /// A session with room for so many events.
    struct Narrow {
        room: Cell<usize>,
        seen: RefCell<Vec<String>>,
    }

    impl Screen for Narrow {
        fn show(&self, tail: Bytes) -> bool {
            let room = self.room.get();
            if room > 0 {
                self.room.set(room - 1);
                self.seen
                    .borrow_mut()
                    .push(String::from_utf8(tail.to_vec()).unwrap());
            }
            room > 0
        }
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn desk() -> (Desk, mpsc::UnboundedReceiver<Order>) {
        let (orders, outbox) = mpsc::unbounded_channel();
        (
            Desk::connect(orders, 4, Metrics::default(), Clock::system()),
            outbox,
        )
    }

    fn stands(desk: &Desk, name: &str, online: bool) {
        let shown = Shown { online, seen: None };
        desk.inner.take(Notice::Stands {
            user: user(name),
            viewer: user("bob"),
            shown,
        });
        desk.inner.show_waiting();
    }

    #[actix::test]
    async fn a_slow_session_is_shown_the_newest_state_when_there_is_room() {
        let (desk, _orders) = desk();
        let screen = Rc::new(Narrow {
            room: Cell::new(1),
            seen: RefCell::default(),
        });
        let users = vec![user("alice"), user("carol"), user("alice")];
        assert!(desk.watch(1, &user("bob"), screen.clone(), users, 2));
        assert!(!desk.watch(1, &user("bob"), screen.clone(), vec![user("dave")], 2));
        stands(&desk, "alice", true);
        stands(&desk, "carol", true);
        for _ in 0..3 {
            stands(&desk, "alice", false);
            stands(&desk, "alice", true);
            stands(&desk, "carol", false);
            stands(&desk, "carol", true);
        }
        stands(&desk, "carol", false);
        assert_eq!(screen.seen.borrow().len(), 1);
        assert_eq!(desk.inner.metrics.presence_waiting.get(), 2);
        screen.room.set(9);
        assert!(!desk.inner.show_waiting());
        let seen: Vec<String> = std::mem::take(&mut *screen.seen.borrow_mut());
        let state = |name: &str, state: &str| {
            format!(r#""t":"presence","u":"{name}","state":"{state}","seen":null}}"#)
        };
        // Alice is where she was when she was shown; of carol only the last counts.
        assert_eq!(seen, [state("alice", "online"), state("carol", "offline")]);
        assert_eq!(desk.inner.metrics.presence_waiting.get(), 0);

        desk.end(1);
        stands(&desk, "alice", false);
        assert!(screen.seen.borrow().is_empty() && desk.watching(1).is_empty());
        assert!(desk.inner.state.borrow().watched.is_empty());
    }

    #[actix::test]
    async fn a_verdict_that_comes_too_late_ends_the_session_all_the_same() {
        let (desk, mut orders) = desk();
        let mark = SessionMark {
            own: 1,
            goes_on: None,
        };
        let mut tag = || loop {
            if let Order::Enter { seat, .. } = orders.try_recv().unwrap() {
                return seat.tag;
            }
        };
        let (_seat, admission, loss) = desk.enter(&user("alice"), None, None, mark);
        drop(admission);
        desk.inner.take(Notice::Admitted {
            tag: tag(),
            admission: Admission::TooMany,
        });
        assert_eq!(loss.await, Some(Loss::TooMany));

        let (seat, admission, _) = desk.enter(&user("alice"), None, None, mark);
        let id = tag();
        desk.inner.take(Notice::Admitted {
            tag: id,
            admission: Admission::Conflict,
        });
        assert_eq!(admission.await, Err(Refused::Conflict));
        drop(seat);
        assert!(matches!(orders.try_recv().unwrap(), Order::Leave { tag, .. } if tag == id));
    }
}
