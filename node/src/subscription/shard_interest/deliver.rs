//! Deliveries of the owner and ranges that were read again: passed in order to every interested worker.
//!
//! Path of a message: step 12 of 13.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ConversationId;

use super::{ConversationInterest, InterestRegistration, KnownPositions, ShardInterest};
use crate::rpc::deliver::DeliveryTarget;
use crate::state_machine::query::Ranged;
use crate::state_machine::{EventEnvelope, LoggedEvent};
use crate::subscription::hub_batch::HubWorkers;
use crate::subscription::hub_event::HubEvent;
use crate::subscription::reorder_buffer::ReorderResult;
use crate::subscription::{Delivered, OwnerDelivery};

/// Maximum number of events outside the log that are buffered per conversation during a registration; more are lost.
const UNLOGGED: usize = 64;

// === impl InterestRegistration ===

impl InterestRegistration {
    /// Processes a delivery. Returns `false` if an earlier one is missing, so that a new registration is needed.
    pub(in crate::subscription) fn deliver(
        &mut self,
        delivery: OwnerDelivery,
        now: Instant,
        workers: &mut HubWorkers,
    ) -> bool {
        // A delivery of an earlier registration needs no action.
        delivery.to.registration != self.registration() || self.content.deliver(delivery, now, workers)
    }

    /// Processes an idle heartbeat. Returns `false` if a delivery is missing.
    pub(in crate::subscription) fn position(&mut self, to: &DeliveryTarget, now: Instant) -> bool {
        if to.registration != self.registration() {
            return true;
        }
        self.content.last_received = now;
        to.fo <= self.content.fo
    }

    /// Returns true if nothing was received from the owner for longer than `timeout`.
    pub(in crate::subscription) fn is_silent(&self, now: Instant, timeout: Duration) -> bool {
        self.is_active() && now.saturating_duration_since(self.content.last_received) > timeout
    }
}

// === impl ShardInterest ===

impl ShardInterest {
    /// Processes a delivery of the registration. Returns `false` if an earlier one is missing.
    fn deliver(&mut self, delivery: OwnerDelivery, now: Instant, workers: &mut HubWorkers) -> bool {
        // A duplicate.
        if delivery.to.fo <= self.fo {
            return true;
        }
        if delivery.to.fo != self.fo + 1 {
            return false;
        }
        self.fo = delivery.to.fo;
        self.last_received = now;
        match delivery.what {
            Delivered::Event(event) => match self.convs.get_mut(&event.conv) {
                Some(conv) => {
                    if let ReorderResult::Pull { after } = conv.take(event.clone(), workers) {
                        self.missing.push((event.conv.clone(), after));
                    }
                }
                None => {
                    // Not wanted any more, but still delivered: it is unregistered once more.
                    self.old_convs.insert(event.conv.clone());
                }
            },
            Delivered::Active(moved) => {
                for worker in self.users.get(&moved.user).into_iter().flatten() {
                    workers.send(*worker, HubEvent::Active(moved.clone()));
                }
            }
            Delivered::Joined { user, conv } => {
                for worker in self.users.get(&user).into_iter().flatten() {
                    workers.send(
                        *worker,
                        HubEvent::Joined {
                            user: user.clone(),
                            conv: conv.clone(),
                        },
                    );
                }
            }
        }
        true
    }

    /// Processes a range behind `after` that was missing.
    pub(in crate::subscription) fn pulled(
        &mut self,
        (conv, after): (&ConversationId, u64),
        Ranged { last, events }: Ranged,
        workers: &mut HubWorkers,
    ) {
        let Some(known) = self.convs.get_mut(conv) else {
            return;
        };
        // The result is not needed: `pulled` below reports what is still missing.
        known.take_all((conv, after), events, workers);
        let next = match known.order.pulled() {
            ReorderResult::Nothing if known.order.last().is_some_and(|have| have < last) => {
                known.order.suspect()
            }
            next => next,
        };
        if let ReorderResult::Pull { after } = next {
            self.missing.push((conv.clone(), after));
        }
    }
}

// === impl ConversationInterest ===

impl ConversationInterest {
    /// Ends the buffering after a registration: passes on the owner's earlier events outside the log, then the buffered
    /// ones.
    pub(super) fn release_unlogged(&mut self, before: &[Arc<EventEnvelope>], workers: &mut HubWorkers) {
        self.asked = false;
        for event in before.iter().cloned().chain(self.unlogged.drain(..)) {
            hand_out(event, &self.workers, workers);
        }
    }

    fn take(&mut self, event: Arc<EventEnvelope>, workers: &mut HubWorkers) -> ReorderResult {
        if event.seq == 0 {
            if !self.asked {
                hand_out(event, &self.workers, workers);
            } else if self.unlogged.len() < UNLOGGED {
                // Until the response, whose events are older: an old cursor must not replace a new one.
                self.unlogged.push(event);
            }
            return ReorderResult::Nothing;
        }
        let ConversationInterest {
            order,
            workers: interested,
            ..
        } = self;
        order.offer(event.seq, event, |event| hand_out(event, interested, workers))
    }

    /// Processes a piece of the log behind `after`. If its beginning was trimmed, it continues later. A worker that then
    /// has a gap requests it by itself, and has the memberships of its subscribers proved again.
    pub(super) fn take_all(
        &mut self,
        (conv, after): (&ConversationId, u64),
        events: Vec<LoggedEvent>,
        workers: &mut HubWorkers,
    ) -> ReorderResult {
        let mut missing = ReorderResult::Nothing;
        let ConversationInterest {
            order,
            workers: interested,
            ..
        } = self;
        // A range requested before the conversation was wanted anew may begin behind its position: it then shows nothing
        // of the events between, which are requested as missing.
        if let Some(first) = events.first()
            && order.last().is_some_and(|last| after <= last)
        {
            order.skip_to(first.s, |event| hand_out(event, interested, workers));
        }
        for event in events {
            if order.last().is_none_or(|last| event.s > last) {
                let event = Arc::new(EventEnvelope::replay(conv.clone(), event));
                let next = order.offer(event.seq, event, |event| hand_out(event, interested, workers));
                if next != ReorderResult::Nothing {
                    missing = next;
                }
            }
        }
        missing
    }
}

pub(super) fn hand_out(event: Arc<EventEnvelope>, interested: &KnownPositions, workers: &mut HubWorkers) {
    // The last worker gets the original, which saves a clone.
    if let Some((last, others)) = interested.split_last() {
        for worker in others {
            workers.send(*worker, HubEvent::Event(event.clone()));
        }
        workers.send(*last, HubEvent::Event(event));
    }
}
