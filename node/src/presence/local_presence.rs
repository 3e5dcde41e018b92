//! Presence on one worker thread: its sessions, their watches, and the presence events for them.
//!
//! A session obtains a [`PresenceGuard`] once its client is authenticated, and drops it when the client is disconnected
//! for good. Presence events wait here while the session's outbound queue is half full: they are the first to be
//! delayed by a slow client, and only the newest state per user is queued.

mod local_session;
mod presence_guard;
mod watcher;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use cluster::ClusterClock;
use protocol::{ClientMessageId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use self::local_session::LocalSession;
use self::watcher::PresenceSubscriber;
use super::reporter::{ReporterCommand, ReporterEvent};
use crate::registration::WorkerId;
use crate::rpc::presence as wire;
use crate::telemetry::UserMetrics;

pub use self::local_session::{Device, EvictionReason, SessionMark, SessionRefused};
pub use self::presence_guard::PresenceGuard;
pub use self::watcher::PresenceSink;
pub(crate) use self::watcher::event;

/// Retry interval for sessions without room.
const ROOM_RETRY: Duration = Duration::from_millis(50);

/// Local presence of one worker thread. Cheap to clone, confined to the thread.
#[derive(Clone)]
pub struct LocalPresence {
    inner: Rc<Inner>,
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
        let session = wire::SessionInfo {
            user: user.clone(),
            tag: id,
            // Only a device resumes without the id. No other node gets that of a session without one.
            sid: device.is_some().then_some(mark.sid),
            device: device.map(|device| (device.name, device.instance)),
            since_ms: self.inner.clock.now_ms(),
            asks: true,
            mark: mark.sid.mark(),
            goes_on: mark.goes_on,
            waiting: false,
        };
        self.inner.order(ReporterCommand::Enter {
            worker: self.inner.worker,
            session: session.clone(),
        });
        let guard = PresenceGuard {
            presence: self.clone(),
            session,
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
                if let Some(session) = state.sessions.get_mut(&tag) {
                    session.on_admission(admission);
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
                let sessions = state.sessions.values_mut();
                sessions
                    .filter(|session| session.uses(&user, login.as_ref()))
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
            ReporterEvent::Profile { user, viewer, ver } => {
                let sessions = state.watched.get(&user).and_then(|viewers| viewers.get(&viewer));
                for session in sessions.into_iter().flatten() {
                    if let Some(watcher) = state.watchers.get_mut(session)
                        && watcher.profile_changed(&user, ver)
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

#[cfg(test)]
mod tests;
