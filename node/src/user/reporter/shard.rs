//! Presence registration of one shard: local sessions and watches, the part that the owner has confirmed, and the
//! presence that it reported.
//!
//! Pure: the [task](super::task) passes in commands, responses, updates and the time, and sends the requests.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use protocol::UserId;
use smallvec::SmallVec;

use super::workers::PresenceWorkers;
use super::{ReporterEvent, VisiblePresence, WorkerId};
use crate::rpc::presence::{
    PresenceRegistered, PresenceUpdate, PresenceUpdates, PresenceView, PresenceWatch, RegisterPresence,
    SessionAdmission, SessionInfo, VersionedPresence,
};

/// Maximum number of sessions, and of watches, per request.
const PAGE: usize = 1_024;

/// This node's registration with one shard's presence registry.
#[derive(Debug)]
pub(super) struct ShardPresence {
    shard: u16,
    incarnation: u64,
    registration: u64,
    /// True until the owner has answered the registration; the next request then replaces all that it holds of this
    /// node.
    fresh: bool,
    /// Epoch of the last request; 0 before the first.
    epoch: u64,
    /// Earliest time of the next request, after a failure or without an owner.
    not_before: Option<Instant>,
    /// Until then changes are gathered, unless a session needs its verdict.
    gathers: Option<Instant>,
    /// True if a session without a verdict is not sent yet.
    waits: bool,
    failures: u32,
    asked: Option<(u64, RegisterPresence)>,
    questions: u64,
    sessions: HashMap<u64, (WorkerId, SessionInfo)>,
    watched: HashMap<UserId, WatchedUser>,
    new_sessions: Vec<u64>,
    gone: Vec<(UserId, u64)>,
    new_watches: Vec<(UserId, UserId)>,
    unwatched: HashSet<UserId>,
    /// Users with sessions here whose number of nodes has changed.
    divided: Vec<(UserId, u32)>,
}

/// User watched by local sessions.
#[derive(Debug, Default)]
struct WatchedUser {
    /// State reported by the owner, with its epoch; `None` before the first.
    known: Option<(u64, VersionedPresence)>,
    viewers: HashMap<UserId, Viewer>,
}

/// Viewer with watching sessions on this node.
#[derive(Debug, Default)]
struct Viewer {
    workers: SmallVec<[WorkerId; 1]>,
    /// Start of the watched user's block of this viewer, `Some(None)` without a block; `None` until the owner has
    /// reported it.
    blocked: Option<Option<u64>>,
}

// === impl ShardPresence ===

impl ShardPresence {
    pub(super) fn new(shard: u16, incarnation: u64, registration: u64) -> ShardPresence {
        ShardPresence {
            shard,
            incarnation,
            registration,
            fresh: true,
            epoch: 0,
            not_before: None,
            gathers: None,
            waits: false,
            failures: 0,
            asked: None,
            questions: 0,
            sessions: HashMap::new(),
            watched: HashMap::new(),
            new_sessions: Vec::new(),
            gone: Vec::new(),
            new_watches: Vec::new(),
            unwatched: HashSet::new(),
            divided: Vec::new(),
        }
    }

    /// Drains the users whose number of nodes has changed.
    pub(super) fn take_divided(&mut self) -> Vec<(UserId, u32)> {
        std::mem::take(&mut self.divided)
    }

    /// Returns the numbers of sessions and of watched users.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.sessions.len(), self.watched.len())
    }

    /// Adds a session that has connected.
    pub(super) fn enter(&mut self, worker: WorkerId, session: SessionInfo) {
        self.new_sessions.push(session.tag);
        self.waits |= session.asks;
        self.sessions.insert(session.tag, (worker, session));
    }

    /// Removes a session that has disconnected.
    pub(super) fn leave(&mut self, user: UserId, tag: u64) {
        if self.sessions.remove(&tag).is_none() {
            return;
        }
        match self.new_sessions.iter().position(|known| *known == tag) {
            // The session was never sent, so the owner needs no removal.
            Some(at) => {
                self.new_sessions.remove(at);
            }
            None => self.gone.push((user, tag)),
        }
    }

    /// Adds a watch. If the presence is known, it is sent to the worker at once.
    pub(super) fn watch(
        &mut self,
        worker: WorkerId,
        user: &UserId,
        viewer: &UserId,
        workers: &mut PresenceWorkers,
    ) {
        let watched = self.watched.entry(user.clone()).or_default();
        // A pending removal would end the watch that was just renewed.
        self.unwatched.remove(user);
        let new = !watched.viewers.contains_key(viewer);
        let known = watched.viewers.entry(viewer.clone()).or_default();
        if !known.workers.contains(&worker) {
            known.workers.push(worker);
        }
        if new {
            self.new_watches.push((user.clone(), viewer.clone()));
        } else if let (Some((_, state)), Some(blocked)) = (watched.known, known.blocked) {
            send_state(workers, worker, user, viewer, visible(state, blocked));
        }
    }

    /// Removes the watch of a viewer on one worker, and the user's when no viewer is left.
    pub(super) fn unwatch(&mut self, worker: WorkerId, user: &UserId, viewer: &UserId) {
        let Entry::Occupied(mut watched) = self.watched.entry(user.clone()) else {
            return;
        };
        let viewers = &mut watched.get_mut().viewers;
        if let Some(known) = viewers.get_mut(viewer) {
            known.workers.retain(|known_worker| *known_worker != worker);
            if known.workers.is_empty() {
                viewers.remove(viewer);
            }
        }
        if viewers.is_empty() {
            watched.remove();
            self.unwatched.insert(user.clone());
        }
    }

    /// Removes the sessions and watches of a worker that has ended.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let sessions = self
            .sessions
            .values()
            .filter(|(known_worker, _)| *known_worker == worker);
        let sessions: Vec<(UserId, u64)> = sessions
            .map(|(_, session)| (session.user.clone(), session.tag))
            .collect();
        for (user, tag) in sessions {
            self.leave(user, tag);
        }
        let pairs = self.watched.iter().flat_map(|(user, watched)| {
            let viewers = watched
                .viewers
                .iter()
                .filter(|(_, known)| known.workers.contains(&worker));
            viewers.map(|(viewer, _)| (user.clone(), viewer.clone()))
        });
        let pairs: Vec<(UserId, UserId)> = pairs.collect();
        for (user, viewer) in pairs {
            self.unwatch(worker, &user, &viewer);
        }
    }

    /// Marks the registration as stale; the full registration is sent again after `wait`.
    pub(super) fn mark_stale(&mut self, registration: u64, now: Instant, wait: Duration) {
        self.registration = registration;
        self.fresh = true;
        // A late response to the former registration must not be matched with the new one.
        self.asked = None;
        self.not_before = Some(now + wait);
        // Removals are implied: the owner discards the former registration as a whole.
        self.gone.clear();
        self.unwatched.clear();
        // The number of nodes is unknown until reported again; meanwhile this node applies the user's whole rate.
        let users = self
            .sessions
            .values()
            .map(|(_, session)| (session.user.clone(), 1));
        self.divided.extend(users);
        self.new_sessions = self.sessions.keys().copied().collect();
        self.waits = self.sessions.values().any(|(_, session)| session.asks);
        let pairs = self.watched.iter();
        let pairs = pairs.flat_map(|(user, watched)| {
            watched
                .viewers
                .keys()
                .map(|viewer| (user.clone(), viewer.clone()))
        });
        self.new_watches = pairs.collect();
    }

    /// Returns true if `epoch` belongs to a newer owner than the registered one.
    pub(super) fn moved(&self, epoch: u64) -> bool {
        epoch > self.epoch && self.epoch > 0 && !(self.sessions.is_empty() && self.watched.is_empty())
    }

    /// Returns the heartbeat of the registration; `None` if it is empty or not confirmed.
    pub(super) fn heartbeat(&self) -> Option<(u16, u64, u64)> {
        let nothing = self.sessions.is_empty() && self.watched.is_empty();
        (!self.fresh && !nothing).then_some((self.shard, self.epoch, self.registration))
    }

    /// Returns the time of the next request; `None` without changes, or while a request is in flight.
    ///
    /// A new session is sent at once: its client gets `ready` only after the owner's verdict, because two instances of
    /// a device must not both be admitted. It joins all others since the previous request, so a crowd still costs one
    /// request per response.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let idle = self.new_sessions.is_empty()
            && self.gone.is_empty()
            && self.new_watches.is_empty()
            && self.unwatched.is_empty();
        let gathered = self.gathers.filter(|_| !self.waits).unwrap_or(now);
        (!idle && self.asked.is_none()).then(|| self.not_before.map_or(gathered, |at| at.max(gathered)))
    }

    /// Defers the next request, because the shard has no owner.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// Builds the next request to the owner under `epoch`. Returns it with its number. The following one waits for
    /// `gather`, unless a session needs its verdict.
    pub(super) fn ask(&mut self, epoch: u64, now: Instant, gather: Duration) -> (u64, RegisterPresence) {
        self.epoch = epoch;
        self.questions += 1;
        (self.not_before, self.gathers) = (None, Some(now + gather));
        let sessions = split(&mut self.new_sessions);
        self.waits &= !self.new_sessions.is_empty();
        // A session or watch may have ended since it was queued; sending it would register it for good.
        let sessions = sessions.iter().filter_map(|tag| self.sessions.get(tag));
        let sessions = sessions.map(|(_, session)| session.clone()).collect();
        let watched = split(&mut self.new_watches)
            .into_iter()
            .filter_map(|(user, viewer)| {
                let known = self.watched.get(&user)?;
                known.viewers.contains_key(&viewer).then(|| PresenceWatch {
                    online: known.known.is_some_and(|(_, state)| state.online),
                    user,
                    viewer,
                })
            });
        let question = RegisterPresence {
            shard: self.shard,
            epoch,
            registration: self.registration,
            incarnation: self.incarnation,
            fresh: self.fresh,
            sessions,
            watched: watched.collect(),
            gone: std::mem::take(&mut self.gone),
            unwatched: self.unwatched.drain().collect(),
        };
        // A copy is retained: a failed request has to be queued again entry by entry.
        self.asked = Some((self.questions, question.clone()));
        (self.questions, question)
    }

    /// Applies a response: verdicts on sessions, and the presence of watched users. A response to another request is
    /// ignored.
    pub(super) fn answered(&mut self, id: u64, answer: PresenceRegistered, workers: &mut PresenceWorkers) {
        let Some((_, question)) = self.asked.take_if(|(asked, _)| *asked == id) else {
            return;
        };
        self.fresh = false;
        self.failures = 0;
        for (session, admission) in question.sessions.into_iter().zip(answer.sessions) {
            let Some((worker, known)) = self.sessions.get_mut(&session.tag) else {
                continue;
            };
            let event = match admission {
                SessionAdmission::Displaced(how) => ReporterEvent::Displaced {
                    tag: session.tag,
                    how,
                },
                admission => ReporterEvent::Admitted {
                    tag: session.tag,
                    admission,
                },
            };
            workers.send(*worker, event);
            // Later registrations of this session repeat an admitted one, which a new owner must not refuse.
            known.asks = false;
            if admission != SessionAdmission::Admitted {
                self.sessions.remove(&session.tag);
            }
        }
        for (watch, PresenceView { state, blocked }) in question.watched.into_iter().zip(answer.watched) {
            let Some(watched) = self.watched.get_mut(&watch.user) else {
                continue;
            };
            let state_changed = watched.learn(question.epoch, state);
            if let Some(viewer) = watched.viewers.get_mut(&watch.viewer) {
                let first = viewer.blocked.is_none();
                let changed = viewer.blocked.replace(blocked) != Some(blocked);
                // A state change is sent to all viewers below; a second event to this one would repeat it.
                if (first || changed) && !state_changed {
                    watched.send(&watch.user, Some(&watch.viewer), workers);
                }
            }
            if state_changed {
                watched.send(&watch.user, None, workers);
            }
        }
    }

    /// Queues the entries of a failed request again, after `wait`.
    pub(super) fn failed(
        &mut self,
        id: u64,
        registration: u64,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) {
        let Some((_, question)) = self.asked.take_if(|(asked, _)| *asked == id) else {
            return;
        };
        self.failures += 1;
        let wait = wait(self.failures);
        // The owner may or may not have applied the first request; a new registration id discards either.
        if self.fresh {
            return self.mark_stale(registration, now, wait);
        }
        self.not_before = Some(now + wait);
        // The request may have held a session without a verdict, which must not wait for the gathering time.
        self.waits = true;
        let sessions = question.sessions.into_iter().map(|session| session.tag);
        self.new_sessions
            .extend(sessions.filter(|tag| self.sessions.contains_key(tag)));
        self.gone.extend(question.gone);
        let watches = question
            .watched
            .into_iter()
            .map(|watch| (watch.user, watch.viewer));
        self.new_watches.extend(watches);
        let unwatched = question.unwatched.into_iter();
        self.unwatched
            .extend(unwatched.filter(|user| !self.watched.contains_key(user)));
    }

    /// Applies updates of the owner; those of an earlier registration are ignored.
    pub(super) fn on_updates(&mut self, updates: PresenceUpdates, workers: &mut PresenceWorkers) {
        if updates.registration != self.registration {
            return;
        }
        for item in updates.items {
            match item {
                PresenceUpdate::Presence { user, state } => {
                    if let Some(watched) = self.watched.get_mut(&user)
                        && watched.learn(updates.epoch, state)
                    {
                        watched.send(&user, None, workers);
                    }
                }
                PresenceUpdate::Blocked { user, viewer, since } => {
                    if let Some(watched) = self.watched.get_mut(&user)
                        && let Some(known) = watched.viewers.get_mut(&viewer)
                        && known.blocked.is_some_and(|blocked| blocked != since)
                    {
                        known.blocked = Some(since);
                        watched.send(&user, Some(&viewer), workers);
                    }
                }
                PresenceUpdate::Displaced { tag, how } => {
                    // The owner has removed the session already, so no removal is queued.
                    if let Some((worker, _)) = self.sessions.remove(&tag) {
                        workers.send(worker, ReporterEvent::Displaced { tag, how });
                    }
                }
                PresenceUpdate::Divided { user, nodes } => self.divided.push((user, nodes)),
                PresenceUpdate::Ended { user, login } => {
                    // One event per worker: the worker matches the login with its own sessions.
                    let sessions = self.sessions.values().filter(|(_, session)| session.user == user);
                    let with_session: HashSet<WorkerId> = sessions.map(|(worker, _)| *worker).collect();
                    for worker in with_session {
                        let (user, login) = (user.clone(), login.clone());
                        workers.send(worker, ReporterEvent::Ended { user, login });
                    }
                }
            }
        }
    }
}

// === impl WatchedUser ===

impl WatchedUser {
    /// Stores a newer state. Returns true if the user's presence changed by it.
    fn learn(&mut self, epoch: u64, state: VersionedPresence) -> bool {
        // Versions restart with each owner, so the epoch is compared first.
        let later = self
            .known
            .is_none_or(|(known, before)| (epoch, state.version) > (known, before.version));
        let before = self.known;
        if later {
            self.known = Some((epoch, state));
        }
        later && before.is_none_or(|(_, before)| before.online != state.online)
    }

    /// Sends the presence to one viewer (`only`), or to all whose block status is known.
    fn send(&self, user: &UserId, only: Option<&UserId>, workers: &mut PresenceWorkers) {
        let Some((_, state)) = self.known else { return };
        let viewers = self
            .viewers
            .iter()
            .filter(|(viewer, _)| only.is_none_or(|only| only == *viewer));
        for (viewer, known) in viewers {
            // Without the block status a blocked viewer might see the user online.
            let Some(blocked) = known.blocked else { continue };
            for worker in &known.workers {
                send_state(workers, *worker, user, viewer, visible(state, blocked));
            }
        }
    }
}

fn send_state(
    workers: &mut PresenceWorkers,
    worker: WorkerId,
    user: &UserId,
    viewer: &UserId,
    visible: VisiblePresence,
) {
    let event = ReporterEvent::Stands {
        user: user.clone(),
        viewer: viewer.clone(),
        visible,
    };
    workers.send(worker, event);
}

/// Returns the presence visible to a viewer. A blocked one sees the user offline since the moment of the block.
pub(in crate::user) fn visible(state: VersionedPresence, blocked: Option<u64>) -> VisiblePresence {
    let VersionedPresence { online, seen, .. } = state;
    match blocked {
        None => VisiblePresence { online, seen },
        Some(since) => VisiblePresence {
            online: false,
            seen: seen.map(|seen| seen.min(since)),
        },
    }
}

fn split<T>(from: &mut Vec<T>) -> Vec<T> {
    let rest = from.split_off(from.len().min(PAGE));
    std::mem::replace(from, rest)
}
