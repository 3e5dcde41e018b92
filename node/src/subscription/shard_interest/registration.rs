//! Registration of the interest: requests to the owner of the shard, and the effects of its responses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{ConversationId, UserId};

use super::deliver::hand_out;
use super::{ConversationInterest, InFlightInterest, InterestRequest, MembershipCheck, ShardInterest};
use crate::registration::{PAGE, RegistrationContent, RegistrationHead, WorkerId, next_page};
use crate::rpc;
use crate::rpc::register::{CaughtUp, InterestRegistered, RegisterInterest, Unlogged, UnregisterInterest};
use crate::shard_client::{CommandError, OwnerCallError, owner_client};
use crate::state_machine::{EventEnvelope, PlacedEntry};
use crate::subscription::hub_batch::{HubBatch, HubWorkers};
use crate::subscription::hub_event::HubEvent;
use crate::subscription::reorder_buffer::ReorderResult;

/// Time after which a pending admission is refused.
const ADMIT_BUDGET: Duration = Duration::from_secs(10);

// === impl RegistrationContent for ShardInterest ===

impl RegistrationContent for ShardInterest {
    type Request = InterestRequest;
    type InFlight = InFlightInterest;
    /// `None` for an unregistration.
    type Response = Option<InterestRegistered>;
    type Batch = HubBatch;

    fn is_empty(&self) -> bool {
        self.convs.is_empty() && self.users.is_empty()
    }

    /// A session may wait for a registration; none waits for an unregistration.
    fn is_urgent(&self) -> bool {
        !self.new_convs.is_empty() || !self.new_users.is_empty() || !self.admits.is_empty()
    }

    fn due(&self, _now: Instant) -> Option<Instant> {
        (self.is_urgent() || self.has_ended()).then_some(self.last_received)
    }

    fn on_stale(&mut self, in_flight: Option<InFlightInterest>, now: Instant) {
        self.fo = 0;
        self.last_received = now;
        self.requeue_admits(in_flight.unwrap_or_default().admits);
        self.new_convs = self.convs.keys().cloned().collect();
        self.new_users = self.users.keys().cloned().collect();
        // A new registration replaces the old one, so nothing has to be unregistered.
        self.old_convs.clear();
        self.old_users.clear();
        for conv in self.convs.values_mut() {
            // Of the old registration: the response repeats them, in order with newer ones.
            conv.unlogged.clear();
            conv.asked = true;
        }
    }

    fn next_request(&mut self, head: RegistrationHead, _now: Instant) -> (InterestRequest, InFlightInterest) {
        // New interest goes first, but the two alternate, so that neither delays the other for long.
        let unregisters = self.has_ended() && !head.fresh && (self.held_back || !self.is_urgent());
        self.held_back = self.has_ended() && !unregisters;
        if unregisters {
            // An entry that is wanted again is left out here, and the next registration names it.
            let unregister = InterestRequest::Unregister(self.next_unregistration(head));
            return (unregister, InFlightInterest::default());
        }
        if head.fresh {
            self.old_convs.clear();
            self.old_users.clear();
        }
        let convs = self.next_convs();
        // Only once all conversations are registered, because an admission needs its conversation to be live.
        let take = if self.new_convs.is_empty() {
            self.admits.len().min(PAGE)
        } else {
            0
        };
        let admits: Vec<MembershipCheck> = self.admits.drain(..take).collect();
        let register = RegisterInterest {
            shard: head.shard,
            epoch: head.epoch,
            registration: head.registration,
            fresh: head.fresh,
            convs,
            users: next_page(&mut self.new_users)
                .into_iter()
                .filter(|user| self.users.contains_key(user))
                .collect(),
            admits: admits
                .iter()
                .map(|admit| (admit.conv.clone(), admit.user.clone()))
                .collect(),
        };
        let in_flight = InFlightInterest {
            register: Some(register.clone()),
            admits,
        };
        (InterestRequest::Register(register), in_flight)
    }

    fn on_failure(&mut self, in_flight: InFlightInterest) {
        if let Some(register) = in_flight.register {
            self.new_convs
                .extend(register.convs.into_iter().map(|(conv, _)| conv));
            self.new_users.extend(register.users);
        }
        self.requeue_admits(in_flight.admits);
    }

    /// The conversations of the request are live, its users are admitted or refused.
    fn on_response(
        &mut self,
        in_flight: InFlightInterest,
        response: Option<InterestRegistered>,
        now: Instant,
        workers: &mut HubWorkers,
    ) {
        let (Some(register), Some(response)) = (in_flight.register, response) else {
            return;
        };
        self.last_received = now;
        let recent = by_conversation(response.recent);
        for ((conv, have), caught_up) in register.convs.into_iter().zip(response.convs) {
            // New subscribers receive the recent events with their admission instead.
            let before = if have.is_some() { of(&recent, &conv) } else { &[] };
            self.on_caught_up(conv, have, caught_up, before, workers);
        }
        for (admit, proof) in in_flight.admits.into_iter().zip(response.admits) {
            workers.send(
                admit.worker,
                HubEvent::Admitted {
                    ticket: admit.ticket,
                    result: Ok(proof),
                    recent: of(&recent, &admit.conv).to_vec(),
                },
            );
        }
        self.on_latest(register.users, response.indexes, workers);
    }

    fn remove_worker(&mut self, worker: WorkerId) {
        self.forget(worker);
    }

    fn encode(request: &InterestRequest) -> (u16, Bytes) {
        match request {
            InterestRequest::Register(register) => (rpc::REGISTER, rpc::encode(register)),
            InterestRequest::Unregister(unregister) => (rpc::UNREGISTER, rpc::encode(unregister)),
        }
    }

    fn decode(method: u16, body: &[u8]) -> Result<Option<InterestRegistered>, OwnerCallError> {
        if method == rpc::UNREGISTER {
            return Ok(None);
        }
        owner_client::decode(body).map(Some)
    }
}

// === impl ShardInterest ===

impl ShardInterest {
    /// Returns true if the owner still delivers what no worker wants any more.
    fn has_ended(&self) -> bool {
        !self.old_convs.is_empty() || !self.old_users.is_empty()
    }

    fn next_unregistration(&mut self, head: RegistrationHead) -> UnregisterInterest {
        UnregisterInterest {
            shard: head.shard,
            registration: head.registration,
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
        }
    }

    /// Returns the next page of conversations, each with the last event that is known of it.
    fn next_convs(&mut self) -> Vec<(ConversationId, Option<u64>)> {
        next_page(&mut self.new_convs)
            .into_iter()
            .filter_map(|conv| {
                let known = self.convs.get_mut(&conv)?;
                known.asked = true;
                Some((conv, known.order.last()))
            })
            .collect()
    }

    /// In front and in their order: they are older than the queued ones.
    fn requeue_admits(&mut self, admits: Vec<MembershipCheck>) {
        for admit in admits.into_iter().rev() {
            self.admits.push_front(admit);
        }
    }

    /// Makes a conversation live, or passes on the events behind `have` that were missed. `before` are recent events outside the log.
    fn on_caught_up(
        &mut self,
        conv: ConversationId,
        have: Option<u64>,
        caught_up: CaughtUp,
        before: &[Arc<EventEnvelope>],
        workers: &mut HubWorkers,
    ) {
        let Some(known) = self.convs.get_mut(&conv) else {
            return;
        };
        let CaughtUp { last, events } = caught_up;
        // The workers need the position before the first event.
        if known.order.last().is_none()
            && let ReorderResult::Pull { after } = known.start(&conv, last, workers)
        {
            self.missing.push((conv.clone(), after));
        }
        if let Some(have) = have
            && let ReorderResult::Pull { after } = known.take_all((&conv, have), events, workers)
        {
            self.missing.push((conv.clone(), after));
        }
        known.release_unlogged(before, workers);
        // The response is limited in size: the rest is read as a range.
        if known.order.last().is_some_and(|known_last| known_last < last)
            && let ReorderResult::Pull { after } = known.order.suspect()
        {
            self.missing.push((conv, after));
        }
    }

    /// Passes on the latest conversations of the requested users.
    fn on_latest(&mut self, users: Vec<UserId>, indexes: Vec<Vec<PlacedEntry>>, workers: &mut HubWorkers) {
        // The response was full: the remaining users are requested again.
        self.new_users.extend(users.iter().skip(indexes.len()).cloned());
        for (user, convs) in users.into_iter().zip(indexes) {
            let convs: Arc<[PlacedEntry]> = convs.into();
            for worker in self.users.get(&user).into_iter().flatten() {
                workers.send(
                    *worker,
                    HubEvent::Index {
                        user: user.clone(),
                        convs: convs.clone(),
                    },
                );
            }
        }
    }

    /// Refuses the admissions that have been pending for too long.
    pub(in crate::subscription) fn expire_admits(&mut self, now: Instant, workers: &mut HubWorkers) {
        while let Some(admit) = self.admits.front() {
            // The oldest is in front, so the scan ends at the first one within its time.
            if now.saturating_duration_since(admit.since) < ADMIT_BUDGET {
                break;
            }
            let (worker, ticket) = (admit.worker, admit.ticket);
            workers.send(
                worker,
                HubEvent::Admitted {
                    ticket,
                    result: Err(CommandError::unavailable()),
                    recent: Vec::new(),
                },
            );
            self.admits.pop_front();
        }
    }
}

// === impl ConversationInterest ===

impl ConversationInterest {
    /// Makes the conversation live behind position `last`.
    fn start(&mut self, conv: &ConversationId, last: u64, workers: &mut HubWorkers) -> ReorderResult {
        for worker in &self.workers {
            workers.send(
                *worker,
                HubEvent::Live {
                    conv: conv.clone(),
                    as_of: last,
                },
            );
        }
        let ConversationInterest {
            order,
            workers: interested,
            ..
        } = self;
        order.start(last, |event| hand_out(event, interested, workers))
    }
}

/// Recent events outside the log, of one conversation.
fn of<'a>(
    recent: &'a HashMap<ConversationId, Vec<Arc<EventEnvelope>>>,
    conv: &ConversationId,
) -> &'a [Arc<EventEnvelope>] {
    recent.get(conv).map_or(&[], Vec::as_slice)
}

fn by_conversation(recent: Vec<Unlogged>) -> HashMap<ConversationId, Vec<Arc<EventEnvelope>>> {
    let mut by: HashMap<ConversationId, Vec<Arc<EventEnvelope>>> = HashMap::new();
    for Unlogged {
        conv,
        tail,
        skip,
        only,
    } in recent
    {
        let event = EventEnvelope {
            conv: conv.clone(),
            seq: 0,
            tail,
            removes: None,
            adds: None,
            skip,
            only,
        };
        by.entry(conv).or_default().push(event.into());
    }
    by
}
