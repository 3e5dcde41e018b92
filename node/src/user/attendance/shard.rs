//! One shard's users as this node tells of them: which sessions are here, whom they watch, what the owner knows of that
//! already, and what it said.
//!
//! Pure: the [task](super::task) brings orders, answers, news and the time, and carries out what comes back.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use protocol::UserId;
use smallvec::SmallVec;

use super::workers::Workers;
use super::{Notice, Shown, WorkerId};
use crate::rpc::presence::{Admission, Attend, Attended, Item, News, Seat, State, View, Watch};

/// Entries of one request.
const PAGE: usize = 1_024;

/// This node's half of one shard's directory.
#[derive(Debug)]
pub(super) struct Attending {
    shard: u16,
    incarnation: u64,
    registration: u64,
    /// Whether the owner may know the registration.
    fresh: bool,
    /// The epoch of the owner that was asked.
    epoch: u64,
    /// After a failure, or while there is nobody to tell.
    not_before: Option<Instant>,
    /// Until then what happens goes together, if nobody waits for the answer.
    gathers: Option<Instant>,
    /// A session that was not told yet waits to be let in.
    waits: bool,
    failures: u32,
    asked: Option<(u64, Attend)>,
    questions: u64,
    seats: HashMap<u64, (WorkerId, Seat)>,
    watched: HashMap<UserId, Watched>,
    new_seats: Vec<u64>,
    gone: Vec<(UserId, u64)>,
    new_watches: Vec<(UserId, UserId)>,
    unwatched: HashSet<UserId>,
    /// At how many nodes users of this one are connected, as far as that has changed.
    divided: Vec<(UserId, u32)>,
}

/// A user whom sessions here watch.
#[derive(Debug, Default)]
struct Watched {
    /// What the owner said, and under which epoch.
    known: Option<(u64, State)>,
    viewers: HashMap<UserId, Viewer>,
}

/// Who watches.
#[derive(Debug, Default)]
struct Viewer {
    workers: SmallVec<[WorkerId; 1]>,
    /// Since when the watched user blocks this one; `None` until the owner has said.
    barred: Option<Option<u64>>,
}

// === impl Attending ===

impl Attending {
    pub(super) fn new(shard: u16, incarnation: u64, registration: u64) -> Attending {
        Attending {
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
            seats: HashMap::new(),
            watched: HashMap::new(),
            new_seats: Vec::new(),
            gone: Vec::new(),
            new_watches: Vec::new(),
            unwatched: HashSet::new(),
            divided: Vec::new(),
        }
    }

    /// Takes at how many nodes users are connected, as far as that has changed.
    pub(super) fn take_divided(&mut self) -> Vec<(UserId, u32)> {
        std::mem::take(&mut self.divided)
    }

    /// Sessions, and users who are watched.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.seats.len(), self.watched.len())
    }

    /// A session is connected.
    pub(super) fn enter(&mut self, worker: WorkerId, seat: Seat) {
        self.new_seats.push(seat.tag);
        self.waits |= seat.asks;
        self.seats.insert(seat.tag, (worker, seat));
    }

    /// A session is connected no more.
    pub(super) fn leave(&mut self, user: UserId, tag: u64) {
        if self.seats.remove(&tag).is_none() {
            return;
        }
        match self.new_seats.iter().position(|known| *known == tag) {
            // Nobody was told.
            Some(at) => {
                self.new_seats.remove(at);
            }
            None => self.gone.push((user, tag)),
        }
    }

    /// A session watches a user, and wants to be told how that one stands.
    pub(super) fn watch(&mut self, worker: WorkerId, user: &UserId, viewer: &UserId, workers: &mut Workers) {
        let watched = self.watched.entry(user.clone()).or_default();
        self.unwatched.remove(user);
        let new = !watched.viewers.contains_key(viewer);
        let known = watched.viewers.entry(viewer.clone()).or_default();
        if !known.workers.contains(&worker) {
            known.workers.push(worker);
        }
        if new {
            self.new_watches.push((user.clone(), viewer.clone()));
        } else if let (Some((_, state)), Some(barred)) = (watched.known, known.barred) {
            tell(workers, worker, user, viewer, shown(state, barred));
        }
    }

    /// No session of the viewer on that worker watches the user any more.
    pub(super) fn unwatch(&mut self, worker: WorkerId, user: &UserId, viewer: &UserId) {
        let Entry::Occupied(mut watched) = self.watched.entry(user.clone()) else {
            return;
        };
        let viewers = &mut watched.get_mut().viewers;
        if let Some(known) = viewers.get_mut(viewer) {
            known.workers.retain(|place| *place != worker);
            if known.workers.is_empty() {
                viewers.remove(viewer);
            }
        }
        if viewers.is_empty() {
            watched.remove();
            self.unwatched.insert(user.clone());
        }
    }

    /// A worker is gone.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let seats = self.seats.values().filter(|(place, _)| *place == worker);
        let seats: Vec<(UserId, u64)> = seats.map(|(_, seat)| (seat.user.clone(), seat.tag)).collect();
        for (user, tag) in seats {
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

    /// The owner may know nothing: everything is told anew, after `wait`.
    pub(super) fn doubt(&mut self, registration: u64, now: Instant, wait: Duration) {
        self.registration = registration;
        self.fresh = true;
        self.asked = None;
        self.not_before = Some(now + wait);
        self.gone.clear();
        self.unwatched.clear();
        // Who else is connected where is not known any more: until it is said again each gets the whole rate.
        let users = self.seats.values().map(|(_, seat)| (seat.user.clone(), 1));
        self.divided.extend(users);
        self.new_seats = self.seats.keys().copied().collect();
        self.waits = self.seats.values().any(|(_, seat)| seat.asks);
        let pairs = self.watched.iter();
        let pairs = pairs.flat_map(|(user, watched)| {
            watched
                .viewers
                .keys()
                .map(|viewer| (user.clone(), viewer.clone()))
        });
        self.new_watches = pairs.collect();
    }

    /// Whether the owner under `epoch` is another than the one that was asked last.
    pub(super) fn moved(&self, epoch: u64) -> bool {
        epoch > self.epoch && self.epoch > 0 && !(self.seats.is_empty() && self.watched.is_empty())
    }

    /// What the owner is asked to remember this node for; `None` when there is nothing, or it was not told yet.
    pub(super) fn beat(&self) -> Option<(u16, u64, u64)> {
        let nothing = self.seats.is_empty() && self.watched.is_empty();
        (!self.fresh && !nothing).then_some((self.shard, self.epoch, self.registration))
    }

    /// When there is something to tell; `None` when there is nothing, or a request is under way.
    ///
    /// A session that comes is told of at once: its client waits for the owner's word before it is `ready`, because two
    /// copies of an app must not both be let in. It goes with all others that came while the request before was under
    /// way, so a crowd still costs one request per answer.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let idle = self.new_seats.is_empty()
            && self.gone.is_empty()
            && self.new_watches.is_empty()
            && self.unwatched.is_empty();
        let gathered = self.gathers.filter(|_| !self.waits).unwrap_or(now);
        (!idle && self.asked.is_none()).then(|| self.not_before.map_or(gathered, |at| at.max(gathered)))
    }

    /// There is nobody to tell now.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// The next request to the owner under `epoch`, and its number. The one after it waits for `gather`, unless somebody
    /// waits for its answer.
    pub(super) fn ask(&mut self, epoch: u64, now: Instant, gather: Duration) -> (u64, Attend) {
        self.epoch = epoch;
        self.questions += 1;
        (self.not_before, self.gathers) = (None, Some(now + gather));
        let seats = split(&mut self.new_seats);
        self.waits &= !self.new_seats.is_empty();
        let seats = seats.iter().filter_map(|tag| self.seats.get(tag));
        let seats = seats.map(|(_, seat)| seat.clone()).collect();
        let watched = split(&mut self.new_watches)
            .into_iter()
            .filter_map(|(user, viewer)| {
                let known = self.watched.get(&user)?;
                known.viewers.contains_key(&viewer).then(|| Watch {
                    online: known.known.is_some_and(|(_, state)| state.online),
                    user,
                    viewer,
                })
            });
        let question = Attend {
            shard: self.shard,
            epoch,
            registration: self.registration,
            incarnation: self.incarnation,
            fresh: self.fresh,
            seats,
            watched: watched.collect(),
            gone: std::mem::take(&mut self.gone),
            unwatched: self.unwatched.drain().collect(),
        };
        self.asked = Some((self.questions, question.clone()));
        (self.questions, question)
    }

    /// The owner answered: sessions are let in or not, and how the watched users stand is known.
    pub(super) fn answered(&mut self, id: u64, answer: Attended, workers: &mut Workers) {
        let Some((_, question)) = self.asked.take_if(|(asked, _)| *asked == id) else {
            return;
        };
        self.fresh = false;
        self.failures = 0;
        for (seat, admission) in question.seats.into_iter().zip(answer.seats) {
            let Some((worker, known)) = self.seats.get_mut(&seat.tag) else {
                continue;
            };
            let notice = match admission {
                Admission::Displaced(how) => Notice::Displaced { tag: seat.tag, how },
                admission => Notice::Admitted {
                    tag: seat.tag,
                    admission,
                },
            };
            workers.tell(*worker, notice);
            known.asks = false;
            if admission != Admission::Admitted {
                self.seats.remove(&seat.tag);
            }
        }
        for (watch, View { state, barred }) in question.watched.into_iter().zip(answer.watched) {
            let Some(watched) = self.watched.get_mut(&watch.user) else {
                continue;
            };
            let news = watched.learn(question.epoch, state);
            if let Some(viewer) = watched.viewers.get_mut(&watch.viewer) {
                let first = viewer.barred.is_none();
                let changed = viewer.barred.replace(barred) != Some(barred);
                if (first || changed) && !news {
                    watched.tell(&watch.user, Some(&watch.viewer), workers);
                }
            }
            if news {
                watched.tell(&watch.user, None, workers);
            }
        }
    }

    /// The request has no answer: it is made again after `wait`.
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
        if self.fresh {
            return self.doubt(registration, now, wait);
        }
        self.not_before = Some(now + wait);
        self.waits = true;
        let seats = question.seats.into_iter().map(|seat| seat.tag);
        self.new_seats
            .extend(seats.filter(|tag| self.seats.contains_key(tag)));
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

    /// The owner tells. News of an earlier registration is none.
    pub(super) fn news(&mut self, news: News, workers: &mut Workers) {
        if news.registration != self.registration {
            return;
        }
        for item in news.items {
            match item {
                Item::Presence { user, state } => {
                    if let Some(watched) = self.watched.get_mut(&user)
                        && watched.learn(news.epoch, state)
                    {
                        watched.tell(&user, None, workers);
                    }
                }
                Item::Barred { user, viewer, since } => {
                    if let Some(watched) = self.watched.get_mut(&user)
                        && let Some(known) = watched.viewers.get_mut(&viewer)
                        && known.barred.is_some_and(|barred| barred != since)
                    {
                        known.barred = Some(since);
                        watched.tell(&user, Some(&viewer), workers);
                    }
                }
                Item::Displaced { tag, how } => {
                    // The owner has taken it out already.
                    if let Some((worker, _)) = self.seats.remove(&tag) {
                        workers.tell(worker, Notice::Displaced { tag, how });
                    }
                }
                Item::Divided { user, nodes } => self.divided.push((user, nodes)),
                Item::Ended { user, login } => {
                    let seats = self.seats.values().filter(|(_, seat)| seat.user == user);
                    let places: HashSet<WorkerId> = seats.map(|(worker, _)| *worker).collect();
                    for worker in places {
                        let (user, login) = (user.clone(), login.clone());
                        workers.tell(worker, Notice::Ended { user, login });
                    }
                }
            }
        }
    }
}

// === impl Watched ===

impl Watched {
    /// Whether the state is news.
    fn learn(&mut self, epoch: u64, state: State) -> bool {
        let later = self
            .known
            .is_none_or(|(known, before)| (epoch, state.version) > (known, before.version));
        let before = self.known;
        if later {
            self.known = Some((epoch, state));
        }
        later && before.is_none_or(|(_, before)| before.online != state.online)
    }

    /// Tells one viewer, or all.
    fn tell(&self, user: &UserId, only: Option<&UserId>, workers: &mut Workers) {
        let Some((_, state)) = self.known else { return };
        let viewers = self
            .viewers
            .iter()
            .filter(|(viewer, _)| only.is_none_or(|only| only == *viewer));
        for (viewer, known) in viewers {
            let Some(barred) = known.barred else { continue };
            for worker in &known.workers {
                tell(workers, *worker, user, viewer, shown(state, barred));
            }
        }
    }
}

fn tell(workers: &mut Workers, worker: WorkerId, user: &UserId, viewer: &UserId, shown: Shown) {
    let notice = Notice::Stands {
        user: user.clone(),
        viewer: viewer.clone(),
        shown,
    };
    workers.tell(worker, notice);
}

/// What a viewer sees: one who is blocked sees the user leave at the moment of the block, for ever.
pub(in crate::user) fn shown(state: State, barred: Option<u64>) -> Shown {
    let State { online, seen, .. } = state;
    match barred {
        None => Shown { online, seen },
        Some(since) => Shown {
            online: false,
            seen: seen.map(|seen| seen.min(since)),
        },
    }
}

fn split<T>(from: &mut Vec<T>) -> Vec<T> {
    let rest = from.split_off(from.len().min(PAGE));
    std::mem::replace(from, rest)
}
