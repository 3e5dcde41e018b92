//! What the owner delivers, and what was read again: in order, to every worker that wants it.

use std::sync::Arc;
use std::time::Instant;

use protocol::ConvId;

use super::{ConvRelay, Hole, Places, ShardRelay};
use crate::conversation::timeline::Published;
use crate::conversation::timeline::read::Logged;
use crate::relay::notice::Notice;
use crate::relay::order::Next;
use crate::relay::workers::Workers;
use crate::relay::{Delivered, Delivery};
use crate::rpc::deliver::To;
use crate::rpc::read::Ranged;

/// Events outside the log that wait for the answer to a registration, per conversation; more are lost.
const UNLOGGED: usize = 64;

// === impl ShardRelay ===

impl ShardRelay {
    /// Takes a delivery. Returns `false` when one before it is missing: a fresh registration is due.
    pub(in crate::relay) fn deliver(
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
            Delivered::Active(moved) => {
                for worker in self.users.get(&moved.user).into_iter().flatten() {
                    workers.tell(*worker, Notice::Active(moved.clone()));
                }
            }
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
    pub(in crate::relay) fn position(&mut self, to: &To, now: Instant) -> bool {
        if to.registration != self.registration {
            return true;
        }
        self.heard = now;
        to.fo <= self.fo
    }

    /// Takes a range that was missing; `None` when it could not be read. Returns what is still missing.
    pub(in crate::relay) fn pulled(
        &mut self,
        conv: &ConvId,
        range: Option<Ranged>,
        workers: &mut Workers,
    ) -> Option<Hole> {
        let known = self.convs.get_mut(conv)?;
        let next = match range {
            None => {
                known.order.pulled();
                known.order.suspect()
            }
            Some(Ranged { last, events }) => {
                // Nothing is asked for while the answer to the last pull is being taken.
                known.take_all(conv, events, workers);
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
}

// === impl ConvRelay ===

impl ConvRelay {
    /// The registration is answered: what was said before it is passed on, and then what waited.
    pub(super) fn release_unlogged(&mut self, before: &[Arc<Published>], workers: &mut Workers) {
        self.asked = false;
        for event in before.iter().cloned().chain(self.unlogged.drain(..)) {
            hand_out(event, &self.workers, workers);
        }
    }

    fn take(&mut self, event: Arc<Published>, workers: &mut Workers) -> Next {
        if event.seq == 0 {
            if !self.asked {
                hand_out(event, &self.workers, workers);
            } else if self.unlogged.len() < UNLOGGED {
                self.unlogged.push(event);
            }
            return Next::Nothing;
        }
        let ConvRelay {
            order,
            workers: places,
            ..
        } = self;
        order.offer(event.seq, event, |event| hand_out(event, places, workers))
    }

    /// Takes a piece of the log that was asked for from behind the last event, and begins later if what follows that is
    /// gone. What a worker then misses it asks for in its turn, and proves its subscribers' membership anew.
    pub(super) fn take_all(&mut self, conv: &ConvId, events: Vec<Logged>, workers: &mut Workers) -> Next {
        let mut missing = Next::Nothing;
        let ConvRelay {
            order,
            workers: places,
            ..
        } = self;
        if let Some(first) = events.first() {
            order.skip_to(first.s, |event| hand_out(event, places, workers));
        }
        for event in events {
            if order.last().is_none_or(|last| event.s > last) {
                let event = Arc::new(Published::replay(conv.clone(), event));
                let next = order.offer(event.seq, event, |event| hand_out(event, places, workers));
                if next != Next::Nothing {
                    missing = next;
                }
            }
        }
        missing
    }
}

pub(super) fn hand_out(event: Arc<Published>, places: &Places, workers: &mut Workers) {
    if let Some((last, others)) = places.split_last() {
        for worker in others {
            workers.tell(*worker, Notice::Event(event.clone()));
        }
        workers.tell(*last, Notice::Event(event));
    }
}
