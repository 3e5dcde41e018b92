//! Presence registry: the sessions of a shard's users on all nodes, held by the shard owner. It is soft state and ends
//! with the epoch.
//!
//! A detached session of a named device stays registered as *waiting*, so that the device finds its last session at any
//! node. It is not online and counts for nothing.
//!
//! Each node registers its sessions and watches ([`RegisterPresence`]); a registration stays valid while the node sends
//! heartbeats. A new owner starts empty and receives all registrations again. It accepts a watcher's statement that a
//! user was online, and leaves the user's node the grace period to register, so that a change of owner is invisible.
//!
//! Pure: time is an argument. The service feeds in the requests of nodes; a background task of the shard acts on the results.

mod deadlines;
mod entry;
mod sessions;
mod update_queue;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use cluster::NodeId;
use parking_lot::Mutex;
use protocol::{ClientMessageId, UserId};
use tokio::sync::Notify;

use self::entry::UserEntry;
use self::update_queue::UpdateQueue;
use super::settings::Settings;
use crate::rpc::presence::{
    LastSession, PresenceUpdate, RegisterPresence, SessionAdmission, VersionedPresence,
};

/// Minimum time between two proposals of a user's last-seen time, so that presence costs the log next to nothing.
const SAVE_EVERY: Duration = Duration::from_secs(300);

/// Presence registry of an owned shard behind a lock; requests of nodes run on the cluster's threads.
pub(crate) struct SharedPresenceRegistry {
    state: Mutex<PresenceRegistry>,
    /// Notified when updates are pending or a deadline became earlier.
    pub(crate) wake: Notify,
}

/// Sessions and watches of one shard's users.
#[derive(Debug)]
pub(crate) struct PresenceRegistry {
    settings: Settings,
    born: Instant,
    nodes: HashMap<NodeId, RegisteredNode>,
    users: HashMap<UserId, UserEntry>,
    /// Deadlines at which a user's entry is checked.
    timers: BTreeSet<(Instant, UserId)>,
    version: u64,
    /// Last-seen times to be proposed to the log.
    saves: Vec<(UserId, u64)>,
    /// Total number of displaced sessions.
    pub(crate) displaced: u64,
}

/// Node with a presence registration.
#[derive(Debug)]
struct RegisteredNode {
    registration: u64,
    incarnation: u64,
    last_received: Instant,
    mail: UpdateQueue,
}

/// Response to a [`RegisterPresence`] before the rows are read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RegistrationResponse {
    pub(crate) sessions: Vec<SessionAdmission>,
    pub(crate) watched: Vec<VersionedPresence>,
}

// === impl SharedPresenceRegistry ===

impl SharedPresenceRegistry {
    pub(crate) fn new(settings: Settings, now: Instant) -> SharedPresenceRegistry {
        SharedPresenceRegistry {
            state: Mutex::new(PresenceRegistry::new(settings, now)),
            wake: Notify::new(),
        }
    }

    /// Runs `work` on the registry and wakes the maintenance task.
    pub(crate) fn send<R>(&self, work: impl FnOnce(&mut PresenceRegistry) -> R) -> R {
        let result = work(&mut self.state.lock());
        self.wake.notify_one();
        result
    }

    /// Runs `work` on the registry without a wake-up, for the maintenance task itself and for heartbeats.
    pub(crate) fn look_mut<R>(&self, work: impl FnOnce(&mut PresenceRegistry) -> R) -> R {
        work(&mut self.state.lock())
    }

    /// Runs `look` on the registry, which it cannot change.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&PresenceRegistry) -> R) -> R {
        look(&self.state.lock())
    }
}

// === impl PresenceRegistry ===

impl PresenceRegistry {
    pub(crate) fn new(settings: Settings, now: Instant) -> PresenceRegistry {
        PresenceRegistry {
            settings,
            born: now,
            nodes: HashMap::new(),
            users: HashMap::new(),
            timers: BTreeSet::new(),
            version: 0,
            saves: Vec::new(),
            displaced: 0,
        }
    }

    /// Applies a registration or a change of one. Returns `None`, and changes nothing, if the registration is unknown
    /// here and not a full one.
    pub(crate) fn register(
        &mut self,
        node: NodeId,
        q: &RegisterPresence,
        now: Instant,
        now_ms: u64,
    ) -> Option<RegistrationResponse> {
        let known = self.nodes.get(&node);
        if known.is_none_or(|registered| registered.registration != q.registration) {
            if !q.fresh {
                return None;
            }
            // A full registration replaces the former one: sessions that neither it nor its further pages name have
            // ended.
            self.forget(node, now, now_ms);
            let registered = RegisteredNode {
                registration: q.registration,
                incarnation: q.incarnation,
                last_received: now,
                mail: UpdateQueue::default(),
            };
            self.nodes.insert(node, registered);
        }
        if let Some(registered) = self.nodes.get_mut(&node) {
            registered.last_received = now;
        }
        // Departures come first: a session that was replaced on its node frees its place for the new one.
        for (user, tag) in &q.gone {
            self.leave(node, user, *tag, now, now_ms);
        }
        let admissions = q
            .sessions
            .iter()
            .map(|new_session| self.enter(node, new_session, now, now_ms))
            .collect();
        for user in &q.unwatched {
            if let Some(entry) = self.users.get_mut(user) {
                entry.watchers.retain(|watcher| *watcher != node);
                self.tidy(user, now);
            }
        }
        let watched = q
            .watched
            .iter()
            .map(|watch| self.watch(node, &watch.user, watch.online, now, now_ms));
        let watched = watched.collect();
        Some(RegistrationResponse {
            sessions: admissions,
            watched,
        })
    }

    /// Records a heartbeat. Returns false if the registration is unknown here.
    pub(crate) fn heartbeat(&mut self, node: NodeId, registration: u64, now: Instant) -> bool {
        let registered = self
            .nodes
            .get_mut(&node)
            .filter(|registered| registered.registration == registration);
        registered
            .map(|registered| registered.last_received = now)
            .is_some()
    }

    /// Returns true if a session of the user is connected now, without the grace period.
    pub(crate) fn live(&self, user: &UserId) -> bool {
        self.users.get(user).is_some_and(UserEntry::is_connected)
    }

    /// Returns the last session of a device, connected or waiting.
    pub(crate) fn last_session(&self, user: &UserId, device: &str) -> Option<LastSession> {
        let session = self.users.get(user)?.last_of(device)?;
        Some(LastSession {
            sid: session.sid?,
            waiting: session.waiting,
        })
    }

    /// Returns true once all nodes have had time to register, so that an unknown user counts as absent.
    pub(crate) fn is_stable(&self, now: Instant) -> bool {
        now >= self.born + self.settings.register_timeout
    }

    /// Returns the presence of a user. For an unknown user the last-seen time may be in the rows.
    pub(crate) fn state(&self, user: &UserId, now: Instant, now_ms: u64) -> VersionedPresence {
        let entry = self.users.get(user);
        let online = entry.is_some_and(|entry| entry.online(now));
        VersionedPresence {
            online,
            seen: entry.and_then(|entry| if online { Some(now_ms) } else { entry.seen }),
            version: entry.map_or(0, |entry| entry.version),
        }
    }

    /// Queues a change of the user's block of `viewer` for the nodes that watch the user.
    pub(crate) fn blocked(&mut self, user: &UserId, viewer: &UserId, since: Option<u64>) {
        let watchers = self.users.get(user).map(|entry| entry.watchers.clone());
        for node in watchers.into_iter().flatten() {
            if let Some(registered) = self.nodes.get_mut(&node) {
                registered.mail.push(PresenceUpdate::Blocked {
                    user: user.clone(),
                    viewer: viewer.clone(),
                    since,
                });
            }
        }
    }

    /// Queues the new version of the user's profile for the nodes that watch the user.
    pub(crate) fn profile_changed(&mut self, user: &UserId, ver: u64) {
        let watchers = self.users.get(user).map(|entry| entry.watchers.clone());
        for node in watchers.into_iter().flatten() {
            if let Some(registered) = self.nodes.get_mut(&node) {
                registered.mail.profile_changed(user, ver);
            }
        }
    }

    /// Queues the end of a login for the nodes with sessions of the user.
    pub(crate) fn ended(&mut self, user: &UserId, login: &ClientMessageId) {
        let sessions = self.users.get(user).map(|entry| &entry.sessions[..]);
        let nodes: BTreeSet<NodeId> = sessions
            .into_iter()
            .flatten()
            .map(|session| session.node)
            .collect();
        for node in nodes {
            if let Some(registered) = self.nodes.get_mut(&node) {
                registered.mail.push(PresenceUpdate::Ended {
                    user: user.clone(),
                    login: Some(login.clone()),
                });
            }
        }
    }

    /// Returns the numbers of sessions and of known users.
    #[cfg(test)]
    fn size(&self) -> (usize, usize) {
        (
            self.users.values().map(|entry| entry.sessions.len()).sum(),
            self.users.len(),
        )
    }

    fn watch(
        &mut self,
        node: NodeId,
        user: &UserId,
        online: bool,
        now: Instant,
        now_ms: u64,
    ) -> VersionedPresence {
        let until = self.born + self.settings.offline_grace;
        let entry = self.users.entry(user.clone()).or_default();
        if !entry.watchers.contains(&node) {
            entry.watchers.push(node);
        }
        // Trusted only for the first grace period, and only while nothing is known of the user first-hand.
        let unheard = !entry.is_connected() && entry.until.is_none() && entry.seen.is_none();
        if online && unheard && now < until {
            // The former owner held the user online, and the user's node has not registered yet.
            entry.until = Some(until);
            entry.seen = Some(now_ms);
            self.timers.insert((until, user.clone()));
        }
        self.state(user, now, now_ms)
    }

    /// Advances the version of the user's presence and marks it for the watching nodes.
    fn changed(&mut self, user: &UserId) {
        // One counter for all users: an entry that was removed and created again continues above its former versions.
        self.version += 1;
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        entry.version = self.version;
        for node in &entry.watchers {
            if let Some(registered) = self.nodes.get_mut(node) {
                registered.mail.changed(user);
            }
        }
    }

    /// Removes an entry that is idle.
    fn tidy(&mut self, user: &UserId, now: Instant) {
        let every = SAVE_EVERY;
        if self
            .users
            .get(user)
            .is_some_and(|entry| entry.is_idle(now, every))
        {
            self.users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests;
