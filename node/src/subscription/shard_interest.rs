//! Interest of this node in one shard: the conversations and users of its workers, and the delivery seq.
//!
//! Pure: the manager supplies deliveries and the time, and the [registration](crate::registration) requests and
//! responses. A skipped delivery seq and silence lead to a new registration, like a new owner and a refusal. That names
//! everything wanted and the last event of each conversation, and its response contains what was missed.

mod deliver;
mod registration;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use protocol::{ConversationId, UserId};
use smallvec::SmallVec;

use super::hub_batch::HubWorkers;
use super::hub_event::HubEvent;
use super::reorder_buffer::ReorderBuffer;
use crate::registration::{ShardRegistration, WorkerId};
use crate::rpc::register::{RegisterInterest, UnregisterInterest};
use crate::state_machine::EventEnvelope;

/// Interest of this node in the conversations and users of one shard.
#[derive(Debug)]
pub(super) struct ShardInterest {
    /// Delivery seq of the last delivery of the registration.
    fo: u64,
    last_received: Instant,
    /// An unregistration was deferred by a request that registers; the next request unregisters.
    held_back: bool,
    convs: HashMap<ConversationId, ConversationInterest>,
    users: HashMap<UserId, KnownPositions>,
    new_convs: Vec<ConversationId>,
    new_users: Vec<UserId>,
    admits: VecDeque<MembershipCheck>,
    old_convs: HashSet<ConversationId>,
    old_users: HashSet<UserId>,
    /// Ranges of events to be read from the log.
    pub(super) missing: Vec<MissingRange>,
}

/// Registration of the interest with the owner of the shard.
pub(super) type InterestRegistration = ShardRegistration<ShardInterest>;

type KnownPositions = SmallVec<[WorkerId; 2]>;

#[derive(Debug)]
struct ConversationInterest {
    order: ReorderBuffer<Arc<EventEnvelope>>,
    workers: KnownPositions,
    /// True while a registration that names it is under way. Events outside the log are buffered then, to follow those
    /// of the response.
    asked: bool,
    unlogged: Vec<Arc<EventEnvelope>>,
}

/// User whose admission to a conversation is requested.
#[derive(Debug)]
pub(super) struct MembershipCheck {
    pub(super) conv: ConversationId,
    pub(super) user: UserId,
    pub(super) worker: WorkerId,
    pub(super) ticket: u64,
    pub(super) since: Instant,
}

/// Request to the owner of the shard.
#[derive(Debug)]
pub(super) enum InterestRequest {
    Register(RegisterInterest),
    Unregister(UnregisterInterest),
}

/// Entries of a request in flight.
#[derive(Debug, Default)]
pub(super) struct InFlightInterest {
    /// Registered entries; `None` for an unregistration.
    register: Option<RegisterInterest>,
    admits: Vec<MembershipCheck>,
}

/// Conversation with missing events, and the last event before them.
pub(super) type MissingRange = (ConversationId, u64);

// === impl ShardInterest ===

impl ShardInterest {
    pub(super) fn new(now: Instant) -> ShardInterest {
        ShardInterest {
            fo: 0,
            last_received: now,
            held_back: false,
            convs: HashMap::new(),
            users: HashMap::new(),
            new_convs: Vec::new(),
            new_users: Vec::new(),
            admits: VecDeque::new(),
            old_convs: HashSet::new(),
            old_users: HashSet::new(),
            missing: Vec::new(),
        }
    }

    /// Registers a worker's interest in a conversation.
    pub(super) fn subscribe(&mut self, worker: WorkerId, conv: &ConversationId, workers: &mut HubWorkers) {
        if let Some(known) = self.convs.get_mut(conv) {
            if !known.workers.contains(&worker) {
                known.workers.push(worker);
                // Already live for other workers: no request is needed, and the position is known.
                if let Some(as_of) = known.order.last() {
                    workers.send(
                        worker,
                        HubEvent::Live {
                            conv: conv.clone(),
                            as_of,
                        },
                    );
                }
            }
            return;
        }
        let relay = ConversationInterest {
            order: ReorderBuffer::new(None),
            workers: SmallVec::from_slice(&[worker]),
            asked: false,
            unlogged: Vec::new(),
        };
        self.convs.insert(conv.clone(), relay);
        self.new_convs.push(conv.clone());
    }

    /// Queues a request for admission.
    pub(super) fn admit(&mut self, admit: MembershipCheck) {
        self.admits.push_back(admit);
    }

    /// Ends a worker's interest in a conversation.
    pub(super) fn unsubscribe(&mut self, worker: WorkerId, conv: &ConversationId) {
        if let Some(known) = self.convs.get_mut(conv) {
            known.workers.retain(|known_worker| *known_worker != worker);
            if known.workers.is_empty() {
                self.convs.remove(conv);
                // The owner is informed by a later request; its deliveries until then are ignored.
                self.old_convs.insert(conv.clone());
            }
        }
    }

    /// Registers a worker's interest in a user.
    pub(super) fn attach(&mut self, worker: WorkerId, user: &UserId) {
        match self.users.get_mut(user) {
            Some(interested) if interested.contains(&worker) => {}
            Some(interested) => interested.push(worker),
            None => {
                self.users.insert(user.clone(), SmallVec::from_slice(&[worker]));
                self.new_users.push(user.clone());
            }
        }
    }

    /// Ends a worker's interest in a user.
    pub(super) fn detach(&mut self, worker: WorkerId, user: &UserId) {
        if let Some(interested) = self.users.get_mut(user) {
            interested.retain(|known_worker| *known_worker != worker);
            if interested.is_empty() {
                self.users.remove(user);
                self.old_users.insert(user.clone());
            }
        }
    }

    /// Removes a worker with all of its interests and requests.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        let convs: Vec<ConversationId> = self.convs.keys().cloned().collect();
        for conv in convs {
            self.unsubscribe(worker, &conv);
        }
        let users: Vec<UserId> = self.users.keys().cloned().collect();
        for user in users {
            self.detach(worker, &user);
        }
        self.admits.retain(|admit| admit.worker != worker);
    }

    /// Seq of the last event that was passed to the workers.
    pub(super) fn last(&self, conv: &ConversationId) -> Option<u64> {
        self.convs.get(conv)?.order.last()
    }
}

#[cfg(test)]
mod tests;
