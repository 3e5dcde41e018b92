//! Presence on one worker thread: its sessions, their watches, and the presence events for them.
//!
//! A session obtains a [`PresenceGuard`] once its client is authenticated, and drops it when the client is disconnected
//! for good. Presence events wait here while the session's outbound queue is half full: they are the first to be
//! delayed by a slow client, and only the newest state per user is queued.

mod watcher;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use cluster::ClusterClock;
use protocol::{ClientMessageId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use self::watcher::PresenceSubscriber;
use super::metrics::UserMetrics;
use super::reporter::{ReporterCommand, ReporterEvent, WorkerId};
use crate::rpc::presence::{self as wire, SessionAdmission};

pub use watcher::PresenceSink;
pub(crate) use watcher::event;

/// Retry interval for sessions without room.
const ROOM_RETRY: Duration = Duration::from_millis(50);

/// Local presence of one worker thread. Cheap to clone, confined to the thread.
#[derive(Clone)]
pub struct LocalPresence {
    inner: Rc<Inner>,
}

/// Guard for a session's entry in the presence registry; removes the entry on drop.
pub struct PresenceGuard {
    presence: LocalPresence,
    user: UserId,
    id: u64,
}

/// Device of a session, with the instance of its app: at most one session per device is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    /// Random per start of the app; empty if the client names none.
    pub instance: String,
}

/// Marks that identify a session across connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionMark {
    /// Mark of the session itself.
    pub own: u64,
    /// Mark of the session that it resumes; `None` for a new one.
    pub goes_on: Option<u64>,
}

/// Reason for which a session is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefused {
    /// Instances of the device displace each other too often.
    Conflict,
    /// The user has too many sessions.
    TooMany,
}

/// Reason for which a session, or its connection, must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionReason {
    /// The same instance of the device has another connection, so this one ends silently. The session itself may
    /// continue there.
    Replaced,
    /// Another instance of the device has connected.
    Displaced,
    /// The user has too many sessions; the verdict arrived after the session began.
    TooMany,
    /// The login of the session has ended.
    Ended,
}

struct Inner {
    worker: WorkerId,
    orders: mpsc::UnboundedSender<ReporterCommand>,
    metrics: UserMetrics,
    clock: ClusterClock,
    state: RefCell<State>,
    /// Number of events that wait for room.
    still: Cell<usize>,
    task: RefCell<Option<AbortHandle>>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<u64, LocalSession>,
    /// Sessions per watched user and viewer.
    watched: HashMap<UserId, HashMap<UserId, Vec<u64>>>,
    watchers: HashMap<u64, PresenceSubscriber>,
    /// Sessions with a waiting event.
    waiting: HashSet<u64>,
}

/// Local session with its pending verdict and its loss signal.
struct LocalSession {
    user: UserId,
    /// Login of the client's token; `None` for a token of another issuer.
    login: Option<ClientMessageId>,
    admitted: Option<oneshot::Sender<Result<(), SessionRefused>>>,
    lost: Option<oneshot::Sender<EvictionReason>>,
}

// === impl LocalPresence ===

impl LocalPresence {
    pub(super) fn connect(
        orders: mpsc::UnboundedSender<ReporterCommand>,
        batches: usize,
        metrics: UserMetrics,
        clock: ClusterClock,
    ) -> LocalPresence {
        let (events, inbox) = mpsc::channel(batches);
        let presence = LocalPresence {
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
        let worker = presence.inner.worker;
        presence.inner.order(ReporterCommand::Hello { worker, events });
        // A weak reference: the task must not keep the local presence of a stopped worker alive.
        let listener = Rc::downgrade(&presence.inner);
        let task = actix::spawn(async move {
            let mut inbox: mpsc::Receiver<Vec<ReporterEvent>> = inbox;
            let mut has_waiting = false;
            loop {
                let batch = tokio::select! {
                    batch = inbox.recv() => match batch {
                        Some(batch) => batch,
                        None => return,
                    },
                    // No event announces free room in an outbound queue, so it is polled.
                    () = tokio::time::sleep(ROOM_RETRY), if has_waiting => Vec::new(),
                };
                let Some(inner) = listener.upgrade() else { return };
                for event in batch {
                    inner.take(event);
                }
                has_waiting = inner.show_waiting();
            }
        });
        *presence.inner.task.borrow_mut() = Some(task.abort_handle());
        presence
    }

    /// Registers a session that is connected from now on. The first future yields the verdict, and stays pending while
    /// no owner can be reached. The second resolves when the session must end.
    ///
    /// A session without a device displaces nobody.
    pub fn enter(
        &self,
        user: &UserId,
        login: Option<ClientMessageId>,
        device: Option<Device>,
        mark: SessionMark,
    ) -> (
        PresenceGuard,
        impl Future<Output = Result<(), SessionRefused>> + use<>,
        impl Future<Output = Option<EvictionReason>> + use<>,
    ) {
        let id = rand::random();
        let (admitted, admission) = oneshot::channel();
        let (lost, loss) = oneshot::channel();
        let taken = LocalSession {
            user: user.clone(),
            login,
            admitted: Some(admitted),
            lost: Some(lost),
        };
        // Stored before the command is sent: the verdict finds the session.
        self.inner.state.borrow_mut().sessions.insert(id, taken);
        let info = wire::SessionInfo {
            user: user.clone(),
            tag: id,
            device: device.map(|device| (device.name, device.instance)),
            since_ms: self.inner.clock.now_ms(),
            asks: true,
            mark: mark.own,
            goes_on: mark.goes_on,
        };
        self.inner.order(ReporterCommand::Enter {
            worker: self.inner.worker,
            session: info,
        });
        let guard = PresenceGuard {
            presence: self.clone(),
            user: user.clone(),
            id,
        };
        // The reporter task only ends with the node, which must not refuse sessions for that.
        let admission = async move { admission.await.unwrap_or(Ok(())) };
        let loss = async move { loss.await.ok() };
        (guard, admission, loss)
    }

    /// Adds watches of these users to a session, which then receives their presence. Returns false, and changes
    /// nothing, if the session would have more than `most`.
    pub fn watch(
        &self,
        session: u64,
        viewer: &UserId,
        screen: Rc<dyn PresenceSink>,
        users: Vec<UserId>,
        most: usize,
    ) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let state = &mut *state;
        let users: HashSet<UserId> = users.into_iter().collect();
        let watcher = state
            .watchers
            .entry(session)
            .or_insert_with(|| PresenceSubscriber::new(viewer.clone(), screen));
        let new = users
            .iter()
            .filter(|user| !watcher.users.contains_key(*user))
            .count();
        if watcher.users.len() + new > most {
            // An entry created just above would otherwise stay for a session without watches.
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
            // Sent for known users, too: the new session needs the current presence.
            self.inner.order(ReporterCommand::Watch {
                worker: self.inner.worker,
                user,
                viewer: viewer.clone(),
            });
        }
        true
    }

    /// Removes watches of these users from a session.
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

    /// Returns the users that the session watches.
    #[must_use]
    pub fn watching(&self, session: u64) -> Vec<UserId> {
        let state = self.inner.state.borrow();
        let users = state
            .watchers
            .get(&session)
            .map(|watcher| watcher.users.keys().cloned().collect());
        users.unwrap_or_default()
    }

    /// Removes all watches of a session that has ended.
    pub fn end(&self, session: u64) {
        let users = self.watching(session);
        self.unwatch(session, &users);
    }
}

// === impl PresenceGuard ===

impl PresenceGuard {
    /// Updates the login after the client presented another token.
    pub fn renew(&self, login: Option<ClientMessageId>) {
        if let Some(taken) = self.presence.inner.state.borrow_mut().sessions.get_mut(&self.id) {
            taken.login = login;
        }
    }
}

impl Drop for PresenceGuard {
    fn drop(&mut self) {
        // The entry goes first: a verdict that arrives later finds no session and is ignored.
        self.presence.inner.state.borrow_mut().sessions.remove(&self.id);
        self.presence.inner.order(ReporterCommand::Leave {
            user: self.user.clone(),
            tag: self.id,
        });
    }
}

// === impl Inner ===

impl Inner {
    fn order(&self, order: ReporterCommand) {
        // The reporter outlives the workers; if it has ended, the node stops and the error is irrelevant.
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
            self.order(ReporterCommand::Unwatch {
                worker: self.worker,
                user: user.clone(),
                viewer: watcher.viewer.clone(),
            });
        }
        if viewers.is_empty() {
            state.watched.remove(user);
        }
    }

    fn take(&self, event: ReporterEvent) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        match event {
            ReporterEvent::Admitted { tag, admission } => {
                let Some(session) = state.sessions.get_mut(&tag) else {
                    return;
                };
                let (verdict, late) = match admission {
                    SessionAdmission::Conflict => {
                        (Err(SessionRefused::Conflict), Some(EvictionReason::Displaced))
                    }
                    SessionAdmission::TooMany => {
                        (Err(SessionRefused::TooMany), Some(EvictionReason::TooMany))
                    }
                    SessionAdmission::Admitted | SessionAdmission::Displaced(_) => (Ok(()), None),
                };
                let delivered = session
                    .admitted
                    .take()
                    .is_some_and(|admitted| admitted.send(verdict).is_ok());
                // The session no longer waits for the verdict, so a late refusal must end it.
                if let Some(loss) = late.filter(|_| !delivered) {
                    session.lose(loss);
                }
            }
            ReporterEvent::Displaced { tag, how } => {
                if let Some(session) = state.sessions.get_mut(&tag) {
                    session.lose(match how {
                        wire::DisplacedSession::Replaced => EvictionReason::Replaced,
                        wire::DisplacedSession::Displaced => EvictionReason::Displaced,
                    });
                }
            }
            ReporterEvent::Ended { user, login } => {
                let over = |session: &&mut LocalSession| {
                    let same = |known: &ClientMessageId| login.as_ref().is_none_or(|login| login == known);
                    session.user == user && session.login.as_ref().is_some_and(same)
                };
                state
                    .sessions
                    .values_mut()
                    .filter(over)
                    .for_each(|session| session.lose(EvictionReason::Ended));
            }
            ReporterEvent::Stands {
                user,
                viewer,
                visible,
            } => {
                let sessions = state.watched.get(&user).and_then(|viewers| viewers.get(&viewer));
                for session in sessions.into_iter().flatten() {
                    if let Some(watcher) = state.watchers.get_mut(session)
                        && watcher.stands(&user, visible)
                    {
                        state.waiting.insert(*session);
                    }
                }
            }
        }
    }

    /// Sends waiting events where there is room. Returns true if some still wait.
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

// === impl LocalSession ===

impl LocalSession {
    fn lose(&mut self, loss: EvictionReason) {
        if let Some(lost) = self.lost.take() {
            // The receiver is dropped if the session is ending already.
            let _gone = lost.send(loss);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::user::reporter::VisiblePresence;

    /// Session with room for a given number of events.
    struct Narrow {
        room: Cell<usize>,
        seen: RefCell<Vec<String>>,
    }

    impl PresenceSink for Narrow {
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

    fn presence() -> (LocalPresence, mpsc::UnboundedReceiver<ReporterCommand>) {
        let (orders, outbox) = mpsc::unbounded_channel();
        (
            LocalPresence::connect(orders, 4, UserMetrics::default(), ClusterClock::system()),
            outbox,
        )
    }

    fn stands(presence: &LocalPresence, name: &str, online: bool) {
        let visible = VisiblePresence { online, seen: None };
        presence.inner.take(ReporterEvent::Stands {
            user: user(name),
            viewer: user("bob"),
            visible,
        });
        presence.inner.show_waiting();
    }

    #[actix::test]
    async fn a_slow_session_gets_the_newest_state_once_there_is_room() {
        let (presence, _orders) = presence();
        let screen = Rc::new(Narrow {
            room: Cell::new(1),
            seen: RefCell::default(),
        });
        let users = vec![user("alice"), user("carol"), user("alice")];
        assert!(presence.watch(1, &user("bob"), screen.clone(), users, 2));
        assert!(!presence.watch(1, &user("bob"), screen.clone(), vec![user("dave")], 2));
        stands(&presence, "alice", true);
        stands(&presence, "carol", true);
        for _ in 0..3 {
            stands(&presence, "alice", false);
            stands(&presence, "alice", true);
            stands(&presence, "carol", false);
            stands(&presence, "carol", true);
        }
        stands(&presence, "carol", false);
        assert_eq!(screen.seen.borrow().len(), 1);
        assert_eq!(presence.inner.metrics.presence_waiting.get(), 2);
        screen.room.set(9);
        assert!(!presence.inner.show_waiting());
        let seen: Vec<String> = std::mem::take(&mut *screen.seen.borrow_mut());
        let state = |name: &str, state: &str| {
            format!(r#""t":"presence","u":"{name}","state":"{state}","seen":null}}"#)
        };
        // Alice's state equals the last one sent; of Carol's only the last one is sent.
        assert_eq!(seen, [state("alice", "online"), state("carol", "offline")]);
        assert_eq!(presence.inner.metrics.presence_waiting.get(), 0);

        presence.end(1);
        stands(&presence, "alice", false);
        assert!(screen.seen.borrow().is_empty() && presence.watching(1).is_empty());
        assert!(presence.inner.state.borrow().watched.is_empty());
    }

    #[actix::test]
    async fn a_verdict_that_comes_too_late_ends_the_session_all_the_same() {
        let (presence, mut orders) = presence();
        let mark = SessionMark {
            own: 1,
            goes_on: None,
        };
        let mut tag = || loop {
            if let ReporterCommand::Enter { session, .. } = orders.try_recv().unwrap() {
                return session.tag;
            }
        };
        let (_guard, admission, loss) = presence.enter(&user("alice"), None, None, mark);
        drop(admission);
        presence.inner.take(ReporterEvent::Admitted {
            tag: tag(),
            admission: SessionAdmission::TooMany,
        });
        assert_eq!(loss.await, Some(EvictionReason::TooMany));

        let (guard, admission, _) = presence.enter(&user("alice"), None, None, mark);
        let id = tag();
        presence.inner.take(ReporterEvent::Admitted {
            tag: id,
            admission: SessionAdmission::Conflict,
        });
        assert_eq!(admission.await, Err(SessionRefused::Conflict));
        drop(guard);
        assert!(matches!(orders.try_recv().unwrap(), ReporterCommand::Leave { tag, .. } if tag == id));
    }
}
