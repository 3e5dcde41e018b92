//! What is asked of the owner, and what its answer changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConvId, UserId};

use super::deliver::hand_out;
use super::{Admit, Asked, ConvRelay, Hole, Question, ShardRelay};
use crate::conversation::Refusal;
use crate::conversation::timeline::Published;
use crate::conversation::timeline::read::Placed;
use crate::relay::notice::Notice;
use crate::relay::order::Next;
use crate::relay::workers::Workers;
use crate::rpc::register::{Register, Registered, Unlogged, Unregister};

/// Entries of one question.
const PAGE: usize = 1024;
/// How long a user's wish to subscribe is pursued.
const ADMIT_BUDGET: Duration = Duration::from_secs(10);

// === impl ShardRelay ===

impl ShardRelay {
    /// The registration is in doubt: everything is asked for anew, after `wait`.
    pub(in crate::relay) fn doubt(&mut self, registration: u64, now: Instant, wait: Duration) {
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
        for conv in self.convs.values_mut() {
            // Of an earlier registration; the owner says it again, with what was said since.
            conv.unlogged.clear();
            conv.asked = true;
        }
    }

    /// Whether the owner under `epoch` is another than the one that was asked last.
    pub(in crate::relay) fn moved(&self, epoch: u64) -> bool {
        epoch > self.epoch && self.epoch > 0 && (!self.convs.is_empty() || !self.users.is_empty())
    }

    /// Whether the owner has been silent for too long.
    pub(in crate::relay) fn silent(&self, now: Instant, silence: Duration) -> bool {
        let live = !self.fresh && (!self.convs.is_empty() || !self.users.is_empty());
        live && now.saturating_duration_since(self.heard) > silence
    }

    /// When the next question is due; `None` when there is none, or one is under way.
    pub(in crate::relay) fn due(&self) -> Option<Instant> {
        let idle = !self.wants() && self.old_convs.is_empty() && self.old_users.is_empty();
        if idle || self.asked.is_some() {
            None
        } else {
            Some(self.not_before.unwrap_or(self.heard))
        }
    }

    /// Whether the next question registers something. Somebody may wait for that, and for nothing that is given back.
    pub(in crate::relay) fn wants(&self) -> bool {
        !self.new_convs.is_empty() || !self.new_users.is_empty() || !self.admits.is_empty()
    }

    /// There is nobody to ask now.
    pub(in crate::relay) fn postpone(&mut self, until: Instant) {
        self.not_before = Some(until);
    }

    /// The next question for the owner under `epoch`, and its number.
    pub(in crate::relay) fn ask(&mut self, epoch: u64) -> (u64, Question) {
        self.epoch = epoch;
        self.questions += 1;
        let id = self.questions;
        let gone = !self.old_convs.is_empty() || !self.old_users.is_empty();
        // Who has just come goes first; both take turns, so that neither holds up the other for long.
        let give_back = gone && !self.fresh && (self.held_back || !self.wants());
        self.held_back = gone && !give_back;
        if give_back {
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
        if self.fresh {
            self.old_convs.clear();
            self.old_users.clear();
        }
        let convs = split(&mut self.new_convs);
        let convs: Vec<(ConvId, Option<u64>)> = convs
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
    pub(in crate::relay) fn answered(
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
        let recent = by_conversation(answer.recent);
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
                    ..
                } = known;
                if let Next::Pull { after } =
                    order.start(caught.last, |event| hand_out(event, places, workers))
                {
                    holes.push((conv.clone(), after));
                }
            }
            if have.is_some()
                && let Next::Pull { after } = known.take_all(&conv, caught.events, workers)
            {
                holes.push((conv.clone(), after));
            }
            // Who is new gets it with the admission.
            known.release_unlogged(if have.is_some() { of(&recent, &conv) } else { &[] }, workers);
            if known.order.last().is_some_and(|last| last < caught.last)
                && let Next::Pull { after } = known.order.suspect()
            {
                holes.push((conv, after));
            }
        }
        for (admit, proof) in asked.admits.into_iter().zip(answer.admits) {
            workers.tell(
                admit.worker,
                Notice::Admitted {
                    ticket: admit.ticket,
                    result: Ok(proof),
                    recent: of(&recent, &admit.conv).to_vec(),
                },
            );
        }
        // The answer was full: the others are asked about next.
        let rest = register.users.iter().skip(answer.indexes.len());
        self.new_users.extend(rest.cloned());
        for (user, convs) in register.users.into_iter().zip(answer.indexes) {
            let convs: Arc<[Placed]> = convs.into();
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
    pub(in crate::relay) fn give_up(&mut self, now: Instant, workers: &mut Workers) {
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

/// What was said lately of a conversation.
fn of<'a>(recent: &'a HashMap<ConvId, Vec<Arc<Published>>>, conv: &ConvId) -> &'a [Arc<Published>] {
    recent.get(conv).map_or(&[], Vec::as_slice)
}

fn by_conversation(recent: Vec<Unlogged>) -> HashMap<ConvId, Vec<Arc<Published>>> {
    let mut by: HashMap<ConvId, Vec<Arc<Published>>> = HashMap::new();
    for Unlogged {
        conv,
        tail,
        skip,
        only,
    } in recent
    {
        let event = Published {
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
