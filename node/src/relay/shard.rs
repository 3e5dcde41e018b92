//! One shard as this node's relay sees it: what is registered with its owner, under which number, and what is to be
//! asked next.
//!
//! Pure: the [task](super::task) brings deliveries, answers and the time, and carries out what comes back. There is at
//! most one question under way. Any doubt about the registration (a number left out, silence, a new owner, a refusal)
//! is answered by a fresh one, which names everything wanted and the last event of each conversation: what was missed
//! comes with the answer.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConvId, UserId};
use smallvec::SmallVec;

use super::notice::{Notice, WorkerId};
use super::order::{Next, Order};
use super::workers::Workers;
use super::{Delivered, Delivery};
use crate::conversation::Refusal;
use crate::conversation::timeline::Published;
use crate::rpc::deliver::To;
use crate::rpc::register::{Register, Registered, Unregister};

/// Entries of one question.
const PAGE: usize = 1024;
/// How long a user's wish to subscribe is pursued.
const ADMIT_BUDGET: Duration = Duration::from_secs(10);

/// The relay's half of one shard's registrations.
#[derive(Debug)]
pub(super) struct ShardRelay {
    shard: u16,
    registration: u64,
    /// Whether the owner may know the registration.
    fresh: bool,
    /// The epoch of the owner that was asked.
    epoch: u64,
    fo: u64,
    heard: Instant,
    /// Nothing is asked until then.
    not_before: Option<Instant>,
    failures: u32,
    asked: Option<Asked>,
    questions: u64,
    convs: HashMap<ConvId, ConvRelay>,
    users: HashMap<UserId, Places>,
    new_convs: Vec<ConvId>,
    new_users: Vec<UserId>,
    admits: VecDeque<Admit>,
    old_convs: HashSet<ConvId>,
    old_users: HashSet<UserId>,
}

type Places = SmallVec<[WorkerId; 2]>;

#[derive(Debug)]
struct ConvRelay {
    order: Order<Arc<Published>>,
    workers: Places,
}

/// A user who wants to subscribe.
#[derive(Debug)]
pub(super) struct Admit {
    pub(super) conv: ConvId,
    pub(super) user: UserId,
    pub(super) worker: WorkerId,
    pub(super) ticket: u64,
    pub(super) since: Instant,
}

/// A question to be sent.
#[derive(Debug)]
pub(super) enum Question {
    /// `REGISTER`.
    Register(Register),
    /// `UNREGISTER`.
    Unregister(Unregister),
}

#[derive(Debug)]
struct Asked {
    id: u64,
    register: Option<Register>,
    admits: Vec<Admit>,
}

/// A range that is missing.
pub(super) type Hole = (ConvId, u64);

// === impl ShardRelay ===

impl ShardRelay {
    pub(super) fn new(shard: u16, registration: u64, now: Instant) -> ShardRelay {
        ShardRelay {
            shard,
            registration,
            fresh: true,
            epoch: 0,
            fo: 0,
            heard: now,
            not_before: None,
            failures: 0,
            asked: None,
            questions: 0,
            convs: HashMap::new(),
            users: HashMap::new(),
            new_convs: Vec::new(),
            new_users: Vec::new(),
            admits: VecDeque::new(),
            old_convs: HashSet::new(),
            old_users: HashSet::new(),
        }
    }

    // --- what the workers want ---

    /// A worker wants the conversation's events.
    pub(super) fn subscribe(&mut self, worker: WorkerId, conv: &ConvId, workers: &mut Workers) {
        if let Some(known) = self.convs.get_mut(conv) {
            if !known.workers.contains(&worker) {
                known.workers.push(worker);
                if let Some(as_of) = known.order.last() {
                    workers.tell(
                        worker,
                        Notice::Live {
                            conv: conv.clone(),
                            as_of,
                        },
                    );
                }
            }
            return;
        }
        let relay = ConvRelay {
            order: Order::new(None),
            workers: SmallVec::from_slice(&[worker]),
        };
        self.convs.insert(conv.clone(), relay);
        self.new_convs.push(conv.clone());
    }

    /// A user wants to subscribe.
    pub(super) fn admit(&mut self, admit: Admit) {
        self.admits.push_back(admit);
    }

    /// A worker wants the conversation's events no more.
    pub(super) fn unsubscribe(&mut self, worker: WorkerId, conv: &ConvId) {
        if let Some(known) = self.convs.get_mut(conv) {
            known.workers.retain(|place| *place != worker);
            if known.workers.is_empty() {
                self.convs.remove(conv);
                self.old_convs.insert(conv.clone());
            }
        }
    }

    /// A worker has sessions of the user.
    pub(super) fn attach(&mut self, worker: WorkerId, user: &UserId) {
        match self.users.get_mut(user) {
            Some(places) if places.contains(&worker) => {}
            Some(places) => places.push(worker),
            None => {
                self.users.insert(user.clone(), SmallVec::from_slice(&[worker]));
                self.new_users.push(user.clone());
            }
        }
    }

    /// A worker has no sessions of the user any more.
    pub(super) fn detach(&mut self, worker: WorkerId, user: &UserId) {
        if let Some(places) = self.users.get_mut(user) {
            places.retain(|place| *place != worker);
            if places.is_empty() {
                self.users.remove(user);
                self.old_users.insert(user.clone());
            }
        }
    }

    /// A worker is gone.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let convs: Vec<ConvId> = self.convs.keys().cloned().collect();
        for conv in convs {
            self.unsubscribe(worker, &conv);
        }
        let users: Vec<UserId> = self.users.keys().cloned().collect();
        for user in users {
            self.detach(worker, &user);
        }
        self.admits.retain(|admit| admit.worker != worker);
    }

    // --- what the owner delivers ---

    /// Takes a delivery. Returns `false` when one before it is missing: a fresh registration is due.
    pub(super) fn deliver(
        &mut self,
        delivery: Delivery,
        now: Instant,
        workers: &mut Workers,
        holes: &mut Vec<Hole>,
    ) -> bool {
        if delivery.to.registration != self.registration || delivery.to.fo <= self.fo {
            return true;
        }
        if delivery.to.fo != self.fo + 1 {
            return false;
        }
        self.fo = delivery.to.fo;
        self.heard = now;
        match delivery.what {
            Delivered::Event(event) => match self.convs.get_mut(&event.conv) {
                Some(conv) => {
                    if let Next::Pull { after } = conv.take(event.clone(), workers) {
                        holes.push((event.conv.clone(), after));
                    }
                }
                None => {
                    self.old_convs.insert(event.conv.clone());
                }
            },
            Delivered::Joined { user, conv } => {
                for worker in self.users.get(&user).into_iter().flatten() {
                    workers.tell(
                        *worker,
                        Notice::Joined {
                            user: user.clone(),
                            conv: conv.clone(),
                        },
                    );
                }
            }
        }
        true
    }

    /// Takes the owner's word on how much it has delivered. Returns `false` when something is missing.
    pub(super) fn position(&mut self, to: &To, now: Instant) -> bool {
        if to.registration != self.registration {
            return true;
        }
        self.heard = now;
        to.fo <= self.fo
    }

    /// Takes a range that was missing, beginning behind `after`; `None` when it could not be read. Returns what is
    /// still missing.
    pub(super) fn pulled(
        &mut self,
        conv: &ConvId,
        range: Option<(u64, u64, Vec<bytes::Bytes>)>,
        workers: &mut Workers,
    ) -> Option<Hole> {
        let known = self.convs.get_mut(conv)?;
        let next = match range {
            None => {
                known.order.pulled();
                known.order.suspect()
            }
            Some((after, last, tails)) => {
                // Nothing is asked for while the answer to the last pull is being taken.
                known.take_all(conv, after, tails, workers);
                match known.order.pulled() {
                    Next::Nothing if known.order.last().is_some_and(|have| have < last) => {
                        known.order.suspect()
                    }
                    next => next,
                }
            }
        };
        match next {
            Next::Pull { after } => Some((conv.clone(), after)),
            Next::Nothing => None,
        }
    }

    // --- what is asked of the owner ---

    /// The registration is in doubt: everything is asked for anew, after `wait`.
    pub(super) fn doubt(&mut self, registration: u64, now: Instant, wait: Duration) {
        self.registration = registration;
        self.fresh = true;
        self.fo = 0;
        self.heard = now;
        self.not_before = Some(now + wait);
        if let Some(asked) = self.asked.take() {
            for admit in asked.admits.into_iter().rev() {
                self.admits.push_front(admit);
            }
        }
        self.new_convs = self.convs.keys().cloned().collect();
        self.new_users = self.users.keys().cloned().collect();
        self.old_convs.clear();
        self.old_users.clear();
    }

    /// Whether the owner under `epoch` is another than the one that was asked last.
    pub(super) fn moved(&self, epoch: u64) -> bool {
        epoch > self.epoch && self.epoch > 0 && (!self.convs.is_empty() || !self.users.is_empty())
    }

    /// Whether the owner has been silent for too long.
    pub(super) fn silent(&self, now: Instant, silence: Duration) -> bool {
        let live = !self.fresh && (!self.convs.is_empty() || !self.users.is_empty());
        live && now.saturating_duration_since(self.heard) > silence
    }

    /// When the next question is due; `None` when there is none, or one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        let idle = self.new_convs.is_empty()
            && self.new_users.is_empty()
            && self.admits.is_empty()
            && self.old_convs.is_empty()
            && self.old_users.is_empty();
        if idle || self.asked.is_some() {
            None
        } else {
            Some(self.not_before.unwrap_or(self.heard))
        }
    }

    /// There is nobody to ask now.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// The next question for the owner under `epoch`, and its number.
    pub(super) fn ask(&mut self, epoch: u64) -> (u64, Question) {
        self.epoch = epoch;
        self.questions += 1;
        let id = self.questions;
        let gone = !self.old_convs.is_empty() || !self.old_users.is_empty();
        if gone && !self.fresh {
            let unregister = Unregister {
                shard: self.shard,
                registration: self.registration,
                convs: self
                    .old_convs
                    .drain()
                    .filter(|conv| !self.convs.contains_key(conv))
                    .collect(),
                users: self
                    .old_users
                    .drain()
                    .filter(|user| !self.users.contains_key(user))
                    .collect(),
            };
            // What is wanted again was taken out by nobody, but may not have been put in either.
            self.asked = Some(Asked {
                id,
                register: None,
                admits: Vec::new(),
            });
            return (id, Question::Unregister(unregister));
        }
        self.old_convs.clear();
        self.old_users.clear();
        let convs = split(&mut self.new_convs);
        let convs: Vec<(ConvId, Option<u64>)> = convs
            .into_iter()
            .filter_map(|conv| self.convs.get(&conv).map(|known| (conv, known.order.last())))
            .collect();
        let users: Vec<UserId> = split(&mut self.new_users)
            .into_iter()
            .filter(|user| self.users.contains_key(user))
            .collect();
        // A user is admitted to a conversation that is live, or becomes it with the same answer.
        let take = if self.new_convs.is_empty() {
            self.admits.len().min(PAGE)
        } else {
            0
        };
        let admits: Vec<Admit> = self.admits.drain(..take).collect();
        let register = Register {
            shard: self.shard,
            epoch,
            registration: self.registration,
            fresh: self.fresh,
            convs,
            users,
            admits: admits
                .iter()
                .map(|admit| (admit.conv.clone(), admit.user.clone()))
                .collect(),
        };
        self.asked = Some(Asked {
            id,
            register: Some(register.clone()),
            admits,
        });
        (id, Question::Register(register))
    }

    /// The owner answered the question: the conversations are live, the users admitted or refused.
    pub(super) fn answered(
        &mut self,
        id: u64,
        answer: Option<Registered>,
        now: Instant,
        workers: &mut Workers,
        holes: &mut Vec<Hole>,
    ) {
        let Some(asked) = self.asked.take_if(|asked| asked.id == id) else {
            return;
        };
        self.failures = 0;
        self.not_before = None;
        let (Some(register), Some(answer)) = (asked.register, answer) else {
            return;
        };
        self.fresh = false;
        self.heard = now;
        for ((conv, have), caught) in register.convs.into_iter().zip(answer.convs) {
            let Some(known) = self.convs.get_mut(&conv) else {
                continue;
            };
            if known.order.last().is_none() {
                for worker in &known.workers {
                    workers.tell(
                        *worker,
                        Notice::Live {
                            conv: conv.clone(),
                            as_of: caught.last,
                        },
                    );
                }
                let ConvRelay {
                    order,
                    workers: places,
                } = known;
                if let Next::Pull { after } =
                    order.start(caught.last, |event| hand_out(event, places, workers))
                {
                    holes.push((conv.clone(), after));
                }
            }
            if let Some(have) = have
                && let Next::Pull { after } = known.take_all(&conv, have, caught.tails, workers)
            {
                holes.push((conv.clone(), after));
            }
            if known.order.last().is_some_and(|last| last < caught.last)
                && let Next::Pull { after } = known.order.suspect()
            {
                holes.push((conv, after));
            }
        }
        for (admit, position) in asked.admits.into_iter().zip(answer.admits) {
            let result = position.ok_or_else(Refusal::not_member);
            workers.tell(
                admit.worker,
                Notice::Admitted {
                    ticket: admit.ticket,
                    result,
                },
            );
        }
        for (user, convs) in register.users.into_iter().zip(answer.indexes) {
            let convs: Arc<[ConvId]> = convs.into();
            for worker in self.users.get(&user).into_iter().flatten() {
                workers.tell(
                    *worker,
                    Notice::Index {
                        user: user.clone(),
                        convs: convs.clone(),
                    },
                );
            }
        }
    }

    /// The question has no answer: it is asked again after `wait`.
    ///
    /// A registration that was to begin gets another name: the owner may have begun it and forgotten it since, and
    /// would number from 1 again.
    pub(super) fn failed(
        &mut self,
        id: u64,
        registration: u64,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) {
        if !self.asked.as_ref().is_some_and(|asked| asked.id == id) {
            return;
        }
        self.failures += 1;
        let wait = wait(self.failures);
        if self.fresh {
            return self.doubt(registration, now, wait);
        }
        self.not_before = Some(now + wait);
        let Some(asked) = self.asked.take() else { return };
        if let Some(register) = asked.register {
            self.new_convs
                .extend(register.convs.into_iter().map(|(conv, _)| conv));
            self.new_users.extend(register.users);
        }
        for admit in asked.admits.into_iter().rev() {
            self.admits.push_front(admit);
        }
    }

    /// Refuses users who have waited for too long.
    pub(super) fn give_up(&mut self, now: Instant, workers: &mut Workers) {
        while let Some(admit) = self.admits.front() {
            if now.saturating_duration_since(admit.since) < ADMIT_BUDGET {
                break;
            }
            let (worker, ticket) = (admit.worker, admit.ticket);
            workers.tell(
                worker,
                Notice::Admitted {
                    ticket,
                    result: Err(Refusal::unavailable()),
                },
            );
            self.admits.pop_front();
        }
    }

    /// The last event that the relay has handed out.
    pub(super) fn last(&self, conv: &ConvId) -> Option<u64> {
        self.convs.get(conv)?.order.last()
    }
}

// === impl ConvRelay ===

impl ConvRelay {
    fn take(&mut self, event: Arc<Published>, workers: &mut Workers) -> Next {
        let ConvRelay {
            order,
            workers: places,
        } = self;
        if event.seq == 0 {
            if order.last().is_some() {
                hand_out(event, places, workers);
            }
            return Next::Nothing;
        }
        order.offer(event.seq, event, |event| hand_out(event, places, workers))
    }

    /// Takes a piece of the log that begins behind `after`.
    fn take_all(
        &mut self,
        conv: &ConvId,
        after: u64,
        tails: Vec<bytes::Bytes>,
        workers: &mut Workers,
    ) -> Next {
        let mut missing = Next::Nothing;
        for (seq, tail) in (after + 1..).zip(tails) {
            let ConvRelay {
                order,
                workers: places,
            } = self;
            if order.last().is_none_or(|last| seq > last) {
                let event = Arc::new(Published::replay(conv.clone(), seq, tail));
                let next = order.offer(seq, event, |event| hand_out(event, places, workers));
                if next != Next::Nothing {
                    missing = next;
                }
            }
        }
        missing
    }
}

fn hand_out(event: Arc<Published>, places: &Places, workers: &mut Workers) {
    if let Some((last, others)) = places.split_last() {
        for worker in others {
            workers.tell(*worker, Notice::Event(event.clone()));
        }
        workers.tell(*last, Notice::Event(event));
    }
}

fn split<T>(from: &mut Vec<T>) -> Vec<T> {
    let rest = from.split_off(from.len().min(PAGE));
    std::mem::replace(from, rest)
}

#[cfg(test)]
mod tests;
