//! What comes from the relay, in order: events for the subscribers, answers for those who wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ConvId, UserId};

use super::claim::{Claim, Verdict};
use super::{Hub, Origin, State, Ticket, unlogged};
use crate::conversation::Refusal;
use crate::conversation::timeline::{Moved, Published};
use crate::relay::Subscriber;
use crate::relay::notice::{Control, Notice};
use crate::relay::order::Next;
use crate::relay::slots::Slots;
use crate::rpc::register::Proof;
use crate::session::newcomers;

/// Subscribers called before other tasks of the thread run.
const SLICE: usize = 256;
/// How long after a registration a session is told of conversations that it has not subscribed to by itself.
const RECONCILE: Duration = Duration::from_secs(2);

// === impl Hub ===

impl Hub {
    pub(super) async fn take(self: &Rc<Hub>, notice: Notice) {
        match notice {
            Notice::Event(event) => self.event(event).await,
            Notice::Live { conv, as_of } => {
                let mut ready = Vec::new();
                if let Some(slots) = self.state.borrow_mut().convs.get_mut(&conv) {
                    let mut next = slots.order.start(as_of, |event| ready.push(event));
                    if slots.order.last().is_some_and(|last| last < as_of) {
                        // The position is of a subscription that was given up in between.
                        next = slots.order.suspect();
                    }
                    self.fill(&conv, next);
                }
                self.hand_out(ready).await;
            }
            Notice::Admitted {
                ticket,
                result,
                recent,
            } => self.admitted(ticket, result, recent),
            Notice::Pulled { conv, events, last } => {
                let mut ready = Vec::new();
                if let Some(first) = events.first() {
                    self.jump(&conv, first.seq, |event| ready.push(event));
                }
                if let Some(slots) = self.state.borrow_mut().convs.get_mut(&conv) {
                    for event in events {
                        slots.order.offer(event.seq, event, |event| ready.push(event));
                    }
                    let mut next = slots.order.pulled();
                    if next == Next::Nothing && slots.order.last().is_some_and(|have| have < last) {
                        next = slots.order.suspect();
                    }
                    self.fill(&conv, next);
                }
                self.hand_out(ready).await;
            }
            Notice::Joined { user, conv } => self.joined(&user, &conv),
            Notice::Active(Moved { user, conv, last }) => {
                for who in self.sessions(&user) {
                    who.active(&conv, last);
                }
            }
            Notice::Index { user, convs } => {
                let hub = Rc::downgrade(self);
                actix::spawn(async move {
                    tokio::time::sleep(RECONCILE).await;
                    let Some(hub) = hub.upgrade() else { return };
                    for who in hub.sessions(&user) {
                        who.latest(&convs);
                    }
                });
            }
            Notice::Overflow => {
                for (conv, slots) in &mut self.state.borrow_mut().convs {
                    let next = slots.order.suspect();
                    self.fill(conv, next);
                }
            }
        }
    }

    async fn event(&self, event: Arc<Published>) {
        let mut first = None;
        let mut others = Vec::new();
        {
            let mut borrowed = self.state.borrow_mut();
            let state = &mut *borrowed;
            let Some(slots) = state.convs.get_mut(&event.conv) else {
                return;
            };
            let conv = event.conv.clone();
            if event.seq == 0 {
                for (ticket, _) in &slots.pending {
                    if let Some(ticket) = state.tickets.get_mut(ticket) {
                        unlogged::wait(&mut ticket.unlogged, &event);
                    }
                }
                if let Some(user) = &event.only {
                    let sessions = state.users.get(user).cloned();
                    drop(borrowed);
                    // One user's sessions are few, whatever the crowd.
                    sessions.into_iter().flatten().for_each(|who| who.event(&event));
                    return;
                }
                first = Some(event);
            } else {
                let next = slots.order.offer(event.seq, event, |event| match &first {
                    None => first = Some(event),
                    Some(_) => others.push(event),
                });
                self.fill(&conv, next);
            }
        }
        if let Some(event) = first {
            self.call_all(&event).await;
        }
        self.hand_out(others).await;
    }

    async fn hand_out(&self, events: Vec<Arc<Published>>) {
        for event in events {
            self.call_all(&event).await;
        }
    }

    /// Calls every subscriber, a slice at a time.
    async fn call_all(&self, event: &Published) {
        let mut slice: Vec<Rc<dyn Subscriber>> = Vec::new();
        let end = {
            let mut state = self.state.borrow_mut();
            if event.adds.is_some() || event.removes.is_some() {
                state.membership_changed(event);
            }
            let Some(slots) = state.convs.get_mut(&event.conv) else {
                return;
            };
            if let Some(history) = newcomers::history(&event.tail) {
                slots.history = Some((event.seq, history));
            }
            slots.begin()
        };
        let mut at = 0;
        while at < end {
            {
                let state = self.state.borrow();
                let Some(slots) = state.convs.get(&event.conv) else {
                    return;
                };
                slots.slice(at, (at + SLICE).min(end), event.seq, &mut slice);
            }
            for who in slice.drain(..) {
                who.event(event);
                if event.removes.as_ref() == Some(who.user())
                    && let Some(slots) = self.state.borrow_mut().convs.get_mut(&event.conv)
                {
                    slots.remove(who.id());
                }
            }
            at += SLICE;
            if at < end {
                tokio::task::yield_now().await;
            }
        }
        let mut state = self.state.borrow_mut();
        if let Some(slots) = state.convs.get_mut(&event.conv) {
            slots.end();
        }
        if event.removes.is_some() {
            self.tidy(&mut state, &event.conv);
        }
    }

    /// The stream goes on at `to`, if it has not come there yet: what lies between is gone, and with it perhaps what ended
    /// a membership. Nobody is called for what is above it before the owner has said who is a member.
    fn jump(&self, conv: &ConvId, to: u64, ready: impl FnMut(Arc<Published>)) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(slots) = state.convs.get_mut(conv) else {
            return;
        };
        if slots.order.last().is_none_or(|last| last + 1 >= to) {
            return;
        }
        for (ticket, _) in &slots.pending {
            if let Some(ticket) = state.tickets.get_mut(ticket) {
                ticket.claim.jump(to - 1);
            }
        }
        for (who, at) in slots.take_unproved(to) {
            let mut claim = Claim::of_listener(at);
            claim.jump(to - 1);
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            slots.pending.push((ticket, who.id()));
            self.ask(conv.clone(), who.user().clone(), ticket);
            let (conv, origin) = (conv.clone(), Origin::Again);
            state.tickets.insert(
                ticket,
                Ticket {
                    conv,
                    who,
                    origin,
                    claim,
                    joined: false,
                    unlogged: Vec::new(),
                },
            );
        }
        slots.order.skip_to(to, ready);
    }

    fn admitted(&self, number: u64, result: Result<Proof, Refusal>, recent: Vec<Arc<Published>>) {
        let mut borrowed = self.state.borrow_mut();
        let state = &mut *borrowed;
        let Some(ticket) = state.tickets.remove(&number) else {
            return;
        };
        let Some(slots) = state.convs.get_mut(&ticket.conv) else {
            return;
        };
        let mut since = None;
        let verdict = match (result, &ticket.origin) {
            (Ok(proof), _) => {
                // The stream may have changed since what the proof says.
                let history = slots.history.filter(|(s, _)| *s > proof.at);
                let history = history.map_or(proof.history, |(_, history)| history);
                since = ticket.claim.since(proof).map(|since| (since, history));
                ticket.claim.decide(proof, slots.order.last().unwrap_or(proof.at))
            }
            // One who listened goes on waiting for the owner.
            (Err(_), Origin::Again) => Verdict::Stale,
            (Err(refusal), Origin::First(_)) => {
                slots.pending.retain(|(known, _)| *known != number);
                self.tidy(state, &ticket.conv);
                return ticket.refuse(refusal);
            }
        };
        if verdict == Verdict::Stale {
            self.ask(ticket.conv.clone(), ticket.who.user().clone(), number);
            state.tickets.insert(number, ticket);
            return;
        }
        slots.pending.retain(|(known, _)| *known != number);
        let Ticket {
            conv,
            who,
            origin,
            joined,
            unlogged,
            ..
        } = ticket;
        let admitted = match verdict {
            Verdict::Admitted(from) => Some(slots.add(who.clone(), from)),
            Verdict::Renewed | Verdict::Refused | Verdict::Stale => None,
        };
        let again = match origin {
            Origin::Again => true,
            Origin::First(reply) => {
                if reply.send(admitted.ok_or_else(Refusal::not_member)).is_err() && admitted.is_some() {
                    // Nobody waits any more.
                    slots.remove(who.id());
                }
                false
            }
        };
        self.tidy(state, &conv);
        drop(borrowed);
        if let (Some((since, history)), true) = (since, admitted.is_some()) {
            who.admitted(&conv, since, history);
        }
        match admitted {
            Some(at) if again => who.jumped(&conv, at),
            None if again => who.ended(&conv),
            _ => {}
        }
        if admitted.is_some() {
            for event in unlogged::merged(recent, unlogged, who.user()) {
                who.event(&event);
            }
        }
        if admitted.is_none() && (joined || verdict == Verdict::Renewed) {
            who.joined(&conv);
        }
    }

    /// The user's sessions on this thread.
    fn sessions(&self, user: &UserId) -> Vec<Rc<dyn Subscriber>> {
        self.state.borrow().users.get(user).cloned().unwrap_or_default()
    }

    /// Tells the user's sessions of a conversation that they aren't subscribed to.
    fn joined(&self, user: &UserId, conv: &ConvId) {
        let told: Vec<Rc<dyn Subscriber>> = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            // Who waits for a proof may be refused by one that is older than this.
            for (ticket, _) in state.convs.get(conv).into_iter().flat_map(|slots| &slots.pending) {
                if let Some(ticket) = state.tickets.get_mut(ticket)
                    && ticket.who.user() == user
                {
                    ticket.joined = true;
                }
            }
            let sessions = state.users.get(user).into_iter().flatten();
            let slots = state.convs.get(conv);
            let unknown = |who: &&Rc<dyn Subscriber>| slots.is_none_or(|slots| !slots.knows(who.id()));
            sessions.filter(unknown).cloned().collect()
        };
        for who in told {
            who.joined(conv);
        }
    }

    /// Asks for what is missing.
    fn fill(&self, conv: &ConvId, next: Next) {
        if let Next::Pull { after } = next {
            self.order(Control::Pull {
                worker: self.worker,
                conv: conv.clone(),
                after,
            });
        }
    }

    /// Gives up a conversation that nobody listens to any more.
    pub(super) fn tidy(&self, state: &mut State, conv: &ConvId) {
        if state.convs.get(conv).is_some_and(Slots::unused) {
            state.convs.remove(conv);
            self.order(Control::Unsubscribe {
                worker: self.worker,
                conv: conv.clone(),
            });
        }
    }
}

// === impl Ticket, State ===

impl Ticket {
    fn refuse(self, refusal: Refusal) {
        if let Origin::First(reply) = self.origin {
            // One that is gone needs no answer.
            let _ = reply.send(Err(refusal));
        }
    }
}

impl State {
    /// Notes for those who wait what the stream says of their membership.
    fn membership_changed(&mut self, event: &Published) {
        let Some(slots) = self.convs.get(&event.conv) else {
            return;
        };
        for (ticket, _) in &slots.pending {
            let Some(ticket) = self.tickets.get_mut(ticket) else {
                continue;
            };
            if event.removes.as_ref() == Some(ticket.who.user()) {
                ticket.claim.change(event.seq, false);
            }
            if event.adds.as_ref() == Some(ticket.who.user()) {
                ticket.claim.change(event.seq, true);
            }
        }
    }
}
