//! Who is there: the sessions of a shard's users on all nodes, at the shard's owner. Soft state, lost with the epoch.
//!
//! Each node tells the owner which sessions it has and whom they watch ([`Attend`]); its word counts as long as it gives
//! a sign of life now and then. A new owner begins with nothing and is told everything again. It takes a watcher's word
//! that a user was present, and gives the user's node the hold-down to say so itself; so a change of owner shows to
//! nobody.
//!
//! Pure: time is an argument. [`serve`] brings what nodes say, [`keep`] carries out what follows from it.

mod entry;
pub(crate) mod keep;
mod news;
pub(crate) mod serve;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use cluster::NodeId;
use parking_lot::Mutex;
use protocol::{Cid, UserId};
use tokio::sync::Notify;

use self::entry::{Entry, Session};
use self::news::Mailbox;
use super::settings::Settings;
use crate::rpc::presence::{Admission, Attend, Item, Seat, State};

/// The directory of an owned shard, as it is shared: nodes speak to it from the cluster's threads.
pub(crate) struct Shared {
    state: Mutex<Directory>,
    /// There is news for nodes, or an earlier deadline.
    wake: Notify,
}

/// The sessions of one shard's users.
#[derive(Debug)]
pub(crate) struct Directory {
    settings: Settings,
    born: Instant,
    nodes: HashMap<NodeId, Place>,
    users: HashMap<UserId, Entry>,
    /// When to look at a user again.
    timers: BTreeSet<(Instant, UserId)>,
    version: u64,
    /// Users whose last seen time is to be noted in the log.
    saves: Vec<(UserId, u64)>,
    /// Times a session lost its place to another.
    pub(crate) displaced: u64,
}

/// A node that attends.
#[derive(Debug)]
struct Place {
    registration: u64,
    incarnation: u64,
    heard: Instant,
    mail: Mailbox,
}

/// The answer to an [`Attend`], before the rows were read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) seats: Vec<Admission>,
    pub(crate) watched: Vec<State>,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(settings: Settings, now: Instant) -> Shared {
        Shared {
            state: Mutex::new(Directory::new(settings, now)),
            wake: Notify::new(),
        }
    }

    /// Works on the directory, and has what follows carried out.
    pub(crate) fn tell<R>(&self, work: impl FnOnce(&mut Directory) -> R) -> R {
        let result = work(&mut self.state.lock());
        self.wake.notify_one();
        result
    }

    /// Works on the directory as the one who carries out what follows.
    fn look_mut<R>(&self, work: impl FnOnce(&mut Directory) -> R) -> R {
        work(&mut self.state.lock())
    }

    /// Looks at the directory.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Directory) -> R) -> R {
        look(&self.state.lock())
    }
}

// === impl Directory ===

impl Directory {
    pub(crate) fn new(settings: Settings, now: Instant) -> Directory {
        Directory {
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

    /// Takes a node's word. `None`: its registration is not known here, and nothing was changed.
    pub(crate) fn attend(&mut self, node: NodeId, q: &Attend, now: Instant, now_ms: u64) -> Option<Answer> {
        let known = self.nodes.get(&node);
        if known.is_none_or(|place| place.registration != q.registration) {
            if !q.fresh {
                return None;
            }
            self.forget(node, now, now_ms);
            let place = Place {
                registration: q.registration,
                incarnation: q.incarnation,
                heard: now,
                mail: Mailbox::default(),
            };
            self.nodes.insert(node, place);
        }
        if let Some(place) = self.nodes.get_mut(&node) {
            place.heard = now;
        }
        for (user, tag) in &q.gone {
            self.leave(node, user, *tag, now, now_ms);
        }
        let seats = q.seats.iter().map(|seat| self.enter(node, seat, now)).collect();
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
        Some(Answer { seats, watched })
    }

    /// The node lives, and believes this registration to be known. `false`: it isn't.
    pub(crate) fn beat(&mut self, node: NodeId, registration: u64, now: Instant) -> bool {
        let place = self
            .nodes
            .get_mut(&node)
            .filter(|place| place.registration == registration);
        place.map(|place| place.heard = now).is_some()
    }

    /// Whether a session of the user is connected at this moment.
    pub(crate) fn live(&self, user: &UserId) -> bool {
        self.users
            .get(user)
            .is_some_and(|entry| !entry.sessions.is_empty())
    }

    /// Whether enough is known to say that a user is not there.
    pub(crate) fn settled(&self, now: Instant) -> bool {
        now >= self.born + self.settings.settle
    }

    /// How the user stands, as far as is known here: without anything known, the rows may know when the user was seen.
    pub(crate) fn state(&self, user: &UserId, now: Instant, now_ms: u64) -> State {
        let entry = self.users.get(user);
        let online = entry.is_some_and(|entry| entry.online(now));
        State {
            online,
            seen: entry.and_then(|entry| if online { Some(now_ms) } else { entry.seen }),
            version: entry.map_or(0, |entry| entry.version),
        }
    }

    /// The user blocks `viewer`, or no longer: the nodes that show the user have to know.
    pub(crate) fn barred(&mut self, user: &UserId, viewer: &UserId, since: Option<u64>) {
        let watchers = self.users.get(user).map(|entry| entry.watchers.clone());
        for node in watchers.into_iter().flatten() {
            if let Some(place) = self.nodes.get_mut(&node) {
                place.mail.push(Item::Barred {
                    user: user.clone(),
                    viewer: viewer.clone(),
                    since,
                });
            }
        }
    }

    /// A login of the user has ended, or all: the nodes of the user's sessions have to know.
    pub(crate) fn ended(&mut self, user: &UserId, login: Option<&Cid>) {
        let sessions = self.users.get(user).map(|entry| &entry.sessions[..]);
        let nodes: BTreeSet<NodeId> = sessions
            .into_iter()
            .flatten()
            .map(|session| session.node)
            .collect();
        for node in nodes {
            if let Some(place) = self.nodes.get_mut(&node) {
                place.mail.push(Item::Ended {
                    user: user.clone(),
                    login: login.cloned(),
                });
            }
        }
    }

    /// Does what is due: silent nodes are forgotten, hold-downs end, times are to be noted.
    pub(crate) fn sweep(&mut self, now: Instant, now_ms: u64) {
        let silence = self.settings.silence;
        let silent: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, place)| now.saturating_duration_since(place.heard) >= silence)
            .map(|(node, _)| *node)
            .collect();
        for node in silent {
            tracing::debug!(%node, "silent, forgetting its sessions");
            self.forget(node, now, now_ms);
        }
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, user)) = self.timers.pop_first() else {
                break;
            };
            self.due(&user, now);
        }
    }

    /// When [`sweep`](Self::sweep) has something to do.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let silent = self
            .nodes
            .values()
            .map(|place| place.heard + self.settings.silence)
            .min();
        let timer = self.timers.first().map(|(at, _)| *at);
        silent.into_iter().chain(timer).min()
    }

    /// Takes the users whose last seen time is to be noted.
    pub(crate) fn take_saves(&mut self) -> Vec<(UserId, u64)> {
        std::mem::take(&mut self.saves)
    }

    /// A time could not be noted: later.
    pub(crate) fn not_saved(&mut self, user: &UserId, now: Instant) {
        if let Some(entry) = self.users.get_mut(user) {
            entry.unsaved = true;
            self.timers.insert((now + self.settings.save_every, user.clone()));
        }
    }

    /// Sessions, and users about whom something is known.
    #[cfg(test)]
    fn size(&self) -> (usize, usize) {
        (
            self.users.values().map(|entry| entry.sessions.len()).sum(),
            self.users.len(),
        )
    }

    fn enter(&mut self, node: NodeId, seat: &Seat, now: Instant) -> Admission {
        let Directory {
            settings,
            users,
            nodes,
            ..
        } = self;
        let known = users.contains_key(&seat.user);
        let entry = users.entry(seat.user.clone()).or_default();
        if entry.sessions.iter().any(|session| session.is(node, seat.tag)) {
            return Admission::Admitted;
        }
        let admission = entry.admits(seat, settings, now);
        if admission != Admission::Admitted {
            if !known {
                users.remove(&seat.user);
            }
            return admission;
        }
        for (session, how) in entry.give_way(seat) {
            self.displaced += 1;
            if let Some(place) = nodes.get_mut(&session.node) {
                place.mail.push(Item::Displaced {
                    tag: session.tag,
                    how,
                });
            }
        }
        let was = entry.online(now);
        entry.sessions.push(Session {
            node,
            tag: seat.tag,
            device: seat.device.clone(),
            since_ms: seat.since_ms,
            mark: seat.mark,
        });
        entry.until = None;
        if !was {
            self.changed(&seat.user);
        }
        self.divide(&seat.user);
        Admission::Admitted
    }

    fn leave(&mut self, node: NodeId, user: &UserId, tag: u64, now: Instant, now_ms: u64) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let before = entry.sessions.len();
        entry.sessions.retain(|session| !session.is(node, tag));
        if before > 0 && entry.sessions.is_empty() {
            self.left(user, now, now_ms);
        }
        self.divide(user);
    }

    /// The user's sessions are where they are now: if these are other nodes than before, they are told how many they are,
    /// so that all of them together give about the one rate.
    fn divide(&mut self, user: &UserId) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let nodes = entry.nodes();
        if entry.divided == nodes {
            return;
        }
        let before = std::mem::replace(&mut entry.divided, nodes.clone()).len();
        let count = nodes.len();
        // A node that is alone with the user gives the whole rate unless it was told otherwise.
        if before <= 1 && count <= 1 {
            return;
        }
        for node in nodes {
            if let Some(place) = self.nodes.get_mut(&node) {
                place.mail.push(Item::Divided {
                    user: user.clone(),
                    nodes: u32::try_from(count).unwrap_or(u32::MAX),
                });
            }
        }
    }

    /// The last session of the user is gone.
    fn left(&mut self, user: &UserId, now: Instant, now_ms: u64) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        let until = now + self.settings.hold_down;
        entry.until = Some(until);
        entry.seen = Some(now_ms);
        entry.unsaved = true;
        let save_at = entry
            .saved
            .map_or(now, |saved| (saved + self.settings.save_every).max(now));
        self.timers.insert((until, user.clone()));
        self.timers.insert((save_at, user.clone()));
    }

    fn watch(&mut self, node: NodeId, user: &UserId, online: bool, now: Instant, now_ms: u64) -> State {
        let until = self.born + self.settings.hold_down;
        let entry = self.users.entry(user.clone()).or_default();
        if !entry.watchers.contains(&node) {
            entry.watchers.push(node);
        }
        let unheard = entry.sessions.is_empty() && entry.until.is_none() && entry.seen.is_none();
        if online && unheard && now < until {
            // The owner before this one knew the user; the user's node has yet to speak.
            entry.until = Some(until);
            entry.seen = Some(now_ms);
            self.timers.insert((until, user.clone()));
        }
        self.state(user, now, now_ms)
    }

    /// A user is to be looked at.
    fn due(&mut self, user: &UserId, now: Instant) {
        let every = self.settings.save_every;
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        if entry.unsaved
            && entry.saved.is_none_or(|saved| saved + every <= now)
            && let Some(seen) = entry.seen
        {
            entry.unsaved = false;
            entry.saved = Some(now);
            self.timers.insert((now + every, user.clone()));
            self.saves.push((user.clone(), seen));
        }
        if entry.sessions.is_empty() && entry.until.is_some_and(|until| until <= now) {
            entry.until = None;
            self.changed(user);
        }
        self.tidy(user, now);
    }

    /// Forgets a node's sessions and what it watches.
    fn forget(&mut self, node: NodeId, now: Instant, now_ms: u64) {
        let Some(place) = self.nodes.remove(&node) else {
            return;
        };
        tracing::debug!(%node, incarnation = place.incarnation, "registration ends");
        let mut left = Vec::new();
        let mut idle = Vec::new();
        let mut fewer = Vec::new();
        for (user, entry) in &mut self.users {
            entry.watchers.retain(|watcher| *watcher != node);
            let before = entry.sessions.len();
            entry.sessions.retain(|session| session.node != node);
            if before > entry.sessions.len() {
                fewer.push(user.clone());
            }
            if before > 0 && entry.sessions.is_empty() {
                left.push(user.clone());
            } else if entry.sessions.is_empty() && entry.watchers.is_empty() {
                idle.push(user.clone());
            }
        }
        for user in left {
            self.left(&user, now, now_ms);
        }
        for user in fewer {
            self.divide(&user);
        }
        for user in idle {
            self.tidy(&user, now);
        }
    }

    /// The user came or went: whoever watches is to be told.
    fn changed(&mut self, user: &UserId) {
        self.version += 1;
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        entry.version = self.version;
        for node in &entry.watchers {
            if let Some(place) = self.nodes.get_mut(node) {
                place.mail.changed(user);
            }
        }
    }

    /// Forgets a user about whom nothing has to be known.
    fn tidy(&mut self, user: &UserId, now: Instant) {
        let every = self.settings.save_every;
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
