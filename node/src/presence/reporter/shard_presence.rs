//! Sessions and watches of this node in one shard: the part that the owner has confirmed, and the presence that it
//! reported.
//!
//! Pure: the [task](super::task) passes in commands, updates and the time, and the
//! [registration](crate::registration) requests and responses.

mod registration;
mod watched_user;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use protocol::UserId;

use self::watched_user::WatchedUser;
use super::ReporterEvent;
use super::presence_batch::PresenceWorkers;
use crate::registration::{ShardRegistration, WorkerId};
use crate::rpc::presence::{PresenceUpdate, PresenceUpdates, SessionInfo};

/// Sessions and watches of this node in one shard.
#[derive(Debug)]
pub(super) struct ShardPresence {
    incarnation: u64,
    /// Time in which changes are gathered after a request.
    gather: Duration,
    /// Until then changes are gathered, unless a session needs its verdict.
    gathers: Option<Instant>,
    /// True if a session without a verdict is not sent yet.
    waits: bool,
    sessions: HashMap<u64, (WorkerId, SessionInfo)>,
    watched: HashMap<UserId, WatchedUser>,
    new_sessions: Vec<u64>,
    gone: Vec<(UserId, u64)>,
    new_watches: Vec<(UserId, UserId)>,
    unwatched: HashSet<UserId>,
    /// Users with sessions here whose number of nodes has changed.
    divided: Vec<(UserId, u32)>,
}

/// Registration of the sessions and watches with the owner of the shard.
pub(super) type PresenceRegistration = ShardRegistration<ShardPresence>;

// === impl PresenceRegistration ===

impl PresenceRegistration {
    /// Returns the heartbeat of the registration; `None` if it is empty or not confirmed.
    pub(super) fn heartbeat(&self) -> Option<(u16, u64, u64)> {
        self.is_active()
            .then(|| (self.shard().0, self.epoch(), self.registration()))
    }

    /// Applies updates of the owner; those of an earlier registration are ignored.
    pub(super) fn on_updates(&mut self, updates: PresenceUpdates, workers: &mut PresenceWorkers) {
        if updates.registration != self.registration() {
            return;
        }
        for item in updates.items {
            self.content.on_update(updates.epoch, item, workers);
        }
    }
}

// === impl ShardPresence ===

impl ShardPresence {
    pub(super) fn new(incarnation: u64, gather: Duration) -> ShardPresence {
        ShardPresence {
            incarnation,
            gather,
            gathers: None,
            waits: false,
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

    /// Returns the numbers of connected sessions and of watched users.
    pub(super) fn size(&self) -> (usize, usize) {
        let connected = self.sessions.values().filter(|(_, session)| !session.waiting);
        (connected.count(), self.watched.len())
    }

    /// Adds a session that has connected, or marks one as waiting for its device.
    pub(super) fn enter(&mut self, worker: WorkerId, session: SessionInfo) {
        // Twice, if the connection ends before it is sent; the owner ignores the repetition.
        self.new_sessions.push(session.tag);
        self.waits |= session.asks;
        self.sessions.insert(session.tag, (worker, session));
    }

    /// Removes a session that has disconnected.
    pub(super) fn leave(&mut self, user: UserId, tag: u64) {
        let Some((_, session)) = self.sessions.remove(&tag) else {
            return;
        };
        // A session that was never sent needs no removal, but one whose state changed does.
        let unsent = self.new_sessions.iter().position(|known| *known == tag);
        let unsent = unsent.map(|at| self.new_sessions.remove(at));
        if unsent.is_none() || session.waiting {
            self.gone.push((user, tag));
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
        } else {
            watched.send_to(worker, user, viewer, workers);
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

    fn on_update(&mut self, epoch: u64, item: PresenceUpdate, workers: &mut PresenceWorkers) {
        match item {
            PresenceUpdate::Presence { user, state } => {
                if let Some(watched) = self.watched.get_mut(&user)
                    && watched.learn(epoch, state)
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
                // Its connection had ended when the owner decided. The owner holds, or will hold, the waiting session.
                if self
                    .sessions
                    .get(&tag)
                    .is_some_and(|(_, session)| session.waiting)
                {
                    return;
                }
                // The owner has removed the session already, so no removal is queued.
                if let Some((worker, _)) = self.sessions.remove(&tag) {
                    workers.send(worker, ReporterEvent::Displaced { tag, how });
                }
            }
            PresenceUpdate::Profile { user, ver } => {
                if let Some(watched) = self.watched.get(&user) {
                    watched.send_profile(&user, ver, workers);
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
