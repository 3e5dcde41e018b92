//! Requests to the owner of a shard, and the effects of its responses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConversationId, UserId};

use super::deliver::hand_out;
use super::{
    ConversationInterest, MembershipCheck, MissingRange, PendingQuestion, QuestionSubject, ShardInterest,
};
use crate::conversation::CommandError;
use crate::conversation::state_machine::EventEnvelope;
use crate::conversation::state_machine::query::PlacedEntry;
use crate::relay::hub_event::HubEvent;
use crate::relay::reorder_buffer::ReorderResult;
use crate::relay::workers::HubWorkers;
use crate::rpc::register::{InterestRegistered, RegisterInterest, Unlogged, UnregisterInterest};

/// Maximum number of entries of each kind in one request.
const PAGE: usize = 1024;
/// Time after which a pending admission is refused.
const ADMIT_BUDGET: Duration = Duration::from_secs(10);

// === impl ShardInterest ===

impl ShardInterest {
    /// Marks the registration as stale; the full registration is sent again after `wait`.
    pub(in crate::relay) fn mark_stale(&mut self, registration: u64, now: Instant, wait: Duration) {
        self.registration = registration;
        self.fresh = true;
        self.fo = 0;
        self.last_received = now;
        self.not_before = Some(now + wait);
        if let Some(asked) = self.asked.take() {
            // In front and in their order: they are older than the queued ones.
            for admit in asked.admits.into_iter().rev() {
                self.admits.push_front(admit);
            }
        }
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

    /// Returns true if the owner under `epoch` is not the one that was asked last.
    pub(in crate::relay) fn moved(&self, epoch: u64) -> bool {
        epoch > self.epoch && self.epoch > 0 && (!self.convs.is_empty() || !self.users.is_empty())
    }

    /// Returns true if nothing was received from the owner for longer than `timeout`.
    pub(in crate::relay) fn silent(&self, now: Instant, timeout: Duration) -> bool {
        let live = !self.fresh && (!self.convs.is_empty() || !self.users.is_empty());
        live && now.saturating_duration_since(self.last_received) > timeout
    }

    /// Time of the next request; `None` if there is none, or one is under way.
    pub(in crate::relay) fn due(&self) -> Option<Instant> {
        let idle = !self.wants() && self.old_convs.is_empty() && self.old_users.is_empty();
        if idle || self.asked.is_some() {
            None
        } else {
            Some(self.not_before.unwrap_or(self.last_received))
        }
    }

    /// Returns true if the next request registers something. A session may wait for that; none waits for an
    /// unregistration.
    pub(in crate::relay) fn wants(&self) -> bool {
        !self.new_convs.is_empty() || !self.new_users.is_empty() || !self.admits.is_empty()
    }

    /// Defers the next request, because the routing table has no owner of the shard.
    pub(in crate::relay) fn postpone(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// Creates the next request to the owner under `epoch`, with its number.
    pub(in crate::relay) fn ask(&mut self, epoch: u64) -> (u64, PendingQuestion) {
        self.epoch = epoch;
        self.questions += 1;
        let id = self.questions;
        let gone = !self.old_convs.is_empty() || !self.old_users.is_empty();
        // New interest goes first, but the two alternate, so that neither delays the other for long.
        let give_back = gone && !self.fresh && (self.held_back || !self.wants());
        self.held_back = gone && !give_back;
        if give_back {
            let unregister = UnregisterInterest {
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
            // An entry that is wanted again is left out here, and the next registration names it.
            self.asked = Some(QuestionSubject {
                id,
                register: None,
                admits: Vec::new(),
            });
            return (id, PendingQuestion::Unregister(unregister));
        }
        if self.fresh {
            self.old_convs.clear();
            self.old_users.clear();
        }
        let convs = split(&mut self.new_convs);
        let convs: Vec<(ConversationId, Option<u64>)> = convs
            .into_iter()
            .filter_map(|conv| {
                let known = self.convs.get_mut(&conv)?;
                known.asked = true;
                Some((conv, known.order.last()))
            })
            .collect();
        let users: Vec<UserId> = split(&mut self.new_users)
            .into_iter()
            .filter(|user| self.users.contains_key(user))
            .collect();
        // Only once all conversations are registered, because an admission needs its conversation to be live.
        let take = if self.new_convs.is_empty() {
            self.admits.len().min(PAGE)
        } else {
            0
        };
        let admits: Vec<MembershipCheck> = self.admits.drain(..take).collect();
        let register = RegisterInterest {
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
        self.asked = Some(QuestionSubject {
            id,
            register: Some(register.clone()),
            admits,
        });
        (id, PendingQuestion::Register(register))
    }

    /// Handles the response to a request: its conversations are live, its users are admitted or refused.
    pub(in crate::relay) fn answered(
        &mut self,
        id: u64,
        answer: Option<InterestRegistered>,
        now: Instant,
        workers: &mut HubWorkers,
        holes: &mut Vec<MissingRange>,
    ) {
        // A response from before the registration was marked as stale is ignored.
        let Some(asked) = self.asked.take_if(|asked| asked.id == id) else {
            return;
        };
        self.failures = 0;
        self.not_before = None;
        let (Some(register), Some(answer)) = (asked.register, answer) else {
            return;
        };
        self.fresh = false;
        self.last_received = now;
        let recent = by_conversation(answer.recent);
        for ((conv, have), caught) in register.convs.into_iter().zip(answer.convs) {
            let Some(known) = self.convs.get_mut(&conv) else {
                continue;
            };
            // The workers need the position before the first event.
            if known.order.last().is_none() {
                for worker in &known.workers {
                    workers.send(
                        *worker,
                        HubEvent::Live {
                            conv: conv.clone(),
                            as_of: caught.last,
                        },
                    );
                }
                let ConversationInterest {
                    order,
                    workers: interested,
                    ..
                } = known;
                if let ReorderResult::Pull { after } =
                    order.start(caught.last, |event| hand_out(event, interested, workers))
                {
                    holes.push((conv.clone(), after));
                }
            }
            if have.is_some()
                && let ReorderResult::Pull { after } = known.take_all(&conv, caught.events, workers)
            {
                holes.push((conv.clone(), after));
            }
            // New subscribers receive these with their admission instead.
            known.release_unlogged(if have.is_some() { of(&recent, &conv) } else { &[] }, workers);
            // The response is limited in size: the rest is read as a range.
            if known.order.last().is_some_and(|last| last < caught.last)
                && let ReorderResult::Pull { after } = known.order.suspect()
            {
                holes.push((conv, after));
            }
        }
        for (admit, proof) in asked.admits.into_iter().zip(answer.admits) {
            workers.send(
                admit.worker,
                HubEvent::Admitted {
                    ticket: admit.ticket,
                    result: Ok(proof),
                    recent: of(&recent, &admit.conv).to_vec(),
                },
            );
        }
        // The response was full: the remaining users are requested again.
        let rest = register.users.iter().skip(answer.indexes.len());
        self.new_users.extend(rest.cloned());
        for (user, convs) in register.users.into_iter().zip(answer.indexes) {
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

    /// Handles a request without a response: it is repeated after `wait`.
    ///
    /// A registration that was not accepted yet gets another id. The owner may have created and lost it since, and
    /// would number its deliveries from 1 again.
    pub(in crate::relay) fn failed(
        &mut self,
        id: u64,
        registration: u64,
        now: Instant,
        wait: impl FnOnce(u32) -> Duration,
    ) {
        if self.asked.as_ref().is_none_or(|asked| asked.id != id) {
            return;
        }
        self.failures += 1;
        let wait = wait(self.failures);
        if self.fresh {
            return self.mark_stale(registration, now, wait);
        }
        self.not_before = Some(now + wait);
        let Some(asked) = self.asked.take() else { return };
        if let Some(register) = asked.register {
            self.new_convs
                .extend(register.convs.into_iter().map(|(conv, _)| conv));
            self.new_users.extend(register.users);
        }
        // In front and in their order: they are older than the queued ones.
        for admit in asked.admits.into_iter().rev() {
            self.admits.push_front(admit);
        }
    }

    /// Refuses the admissions that have been pending for too long.
    pub(in crate::relay) fn give_up(&mut self, now: Instant, workers: &mut HubWorkers) {
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

fn split<T>(from: &mut Vec<T>) -> Vec<T> {
    let rest = from.split_off(from.len().min(PAGE));
    std::mem::replace(from, rest)
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
