//! One shard as this node's relay sees it: what is registered with its owner, under which number, and what is to be
//! asked next.
//!
//! Pure: the [task](super::task) brings deliveries, answers and the time, and carries out what comes back. There is at
//! most one question under way. Any doubt about the registration (a number left out, silence, a new owner, a refusal)
//! is answered by a fresh one, which names everything wanted and the last event of each conversation: what was missed
//! comes with the answer.

mod ask;
mod deliver;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use protocol::{ConvId, UserId};
use smallvec::SmallVec;

use super::notice::{Notice, WorkerId};
use super::order::Order;
use super::workers::Workers;
use crate::conversation::timeline::Published;
use crate::rpc::register::{Register, Unregister};

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
    /// What is not wanted any more has waited for a question that registered something, and waits for no other.
    held_back: bool,
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
    /// A registration that names it is under way: what is said outside the log waits for what was said before.
    asked: bool,
    unlogged: Vec<Arc<Published>>,
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
            held_back: false,
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
            asked: false,
            unlogged: Vec::new(),
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

    /// The last event that the relay has handed out.
    pub(super) fn last(&self, conv: &ConvId) -> Option<u64> {
        self.convs.get(conv)?.order.last()
    }
}

#[cfg(test)]
mod tests;
