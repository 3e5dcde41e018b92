//! Processing of the manager's notices, in order: events for the subscribers, proofs for pending subscriptions.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ConversationId, UserId};

use super::claim::{ClaimVerdict, PositionClaim};
use super::{Hub, Origin, PendingSubscription, State, unlogged};
use crate::rpc::register::Proof;
use crate::shard_client::CommandError;
use crate::state_machine::{EventEnvelope, MovedMember};
use crate::subscription::Subscriber;
use crate::subscription::hub_event::{HubCommand, HubEvent};
use crate::subscription::joined_conversations::history;
use crate::subscription::reorder_buffer::ReorderResult;
use crate::subscription::subscriber_list::SubscriberList;

/// Maximum number of subscribers called before other tasks of the thread run.
const SLICE: usize = 256;
/// Delay after a registration before a session is notified of conversations that it has not subscribed to by itself.
const RECONCILE: Duration = Duration::from_secs(2);

// === impl Hub ===

impl Hub {
    pub(super) async fn take(self: &Rc<Hub>, event: HubEvent) {
        match event {
            HubEvent::Event(event) => self.event(event).await,
            HubEvent::Live { conv, as_of } => {
                let mut ready = Vec::new();
                if let Some(slots) = self.state.borrow_mut().convs.get_mut(&conv) {
                    let mut next = slots.order.start(as_of, |event| ready.push(event));
                    if slots.order.last().is_some_and(|last| last < as_of) {
                        // The position belongs to an earlier subscription that was cancelled.
                        next = slots.order.suspect();
                    }
                    self.fill(&conv, next);
                }
                self.hand_out(ready).await;
            }
            HubEvent::Admitted {
                ticket,
                result,
                recent,
            } => self.admitted(ticket, result, recent),
            HubEvent::Pulled { conv, events, last } => {
                let mut ready = Vec::new();
                // The log before the range may be trimmed: its loss is a jump, which needs new proofs.
                if let Some(first) = events.first() {
                    self.jump(&conv, first.seq, |event| ready.push(event));
                }
                if let Some(slots) = self.state.borrow_mut().convs.get_mut(&conv) {
                    for event in events {
                        slots.order.offer(event.seq, event, |event| ready.push(event));
                    }
                    let mut next = slots.order.pulled();
                    // The range ends before the log does: the rest is requested next.
                    if next == ReorderResult::Nothing && slots.order.last().is_some_and(|have| have < last) {
                        next = slots.order.suspect();
                    }
                    self.fill(&conv, next);
                }
                self.hand_out(ready).await;
            }
            HubEvent::Joined { user, conv } => self.joined(&user, &conv),
            HubEvent::Active(MovedMember { user, conv, last }) => {
                for who in self.sessions(&user) {
                    who.active(&conv, last);
                }
            }
            HubEvent::Index { user, convs } => {
                // Weak and delayed: meanwhile most sessions have subscribed by themselves, or ended.
                let hub = Rc::downgrade(self);
                actix::spawn(async move {
                    tokio::time::sleep(RECONCILE).await;
                    let Some(hub) = hub.upgrade() else { return };
                    for who in hub.sessions(&user) {
                        who.latest(&convs);
                    }
                });
            }
            HubEvent::Overflow => {
                // The overflow does not name the conversations that lost events.
                for (conv, slots) in &mut self.state.borrow_mut().convs {
                    let next = slots.order.suspect();
                    self.fill(conv, next);
                }
            }
        }
    }

    async fn event(&self, event: Arc<EventEnvelope>) {
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
                // A pending session receives these events with its admission.
                for (ticket, _) in &slots.pending {
                    if let Some(ticket) = state.tickets.get_mut(ticket) {
                        unlogged::wait(&mut ticket.unlogged, &event);
                    }
                }
                if let Some(user) = &event.only {
                    let sessions = state.users.get(user).cloned();
                    // Not borrowed during the calls: a subscriber may use the hub.
                    drop(borrowed);
                    // One user's sessions are few, so the calls need no slices.
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

    async fn hand_out(&self, events: Vec<Arc<EventEnvelope>>) {
        for event in events {
            self.call_all(&event).await;
        }
    }

    /// Calls every subscriber, one slice at a time.
    async fn call_all(&self, event: &EventEnvelope) {
        let mut slice: Vec<Rc<dyn Subscriber>> = Vec::new();
        let end = {
            let mut state = self.state.borrow_mut();
            // Pending claims need every membership change of the stream.
            if event.adds.is_some() || event.removes.is_some() {
                state.membership_changed(event);
            }
            let Some(slots) = state.convs.get_mut(&event.conv) else {
                return;
            };
            if let Some(history) = history(&event.tail) {
                slots.history = Some((event.seq, history));
            }
            slots.begin()
        };
        let mut at = 0;
        while at < end {
            {
                // Borrowed per slice: between slices, sessions subscribe and unsubscribe.
                let state = self.state.borrow();
                let Some(slots) = state.convs.get(&event.conv) else {
                    return;
                };
                slots.slice(at, (at + SLICE).min(end), event.seq, &mut slice);
            }
            for who in slice.drain(..) {
                who.event(event);
                // After the call: the removal is the last event that its user receives.
                if event.removes.as_ref() == Some(who.user())
                    && let Some(slots) = self.state.borrow_mut().convs.get_mut(&event.conv)
                {
                    slots.remove(who.id());
                }
            }
            at += SLICE;
            if at < end {
                // A large conversation must not delay the other sessions of the thread.
                tokio::task::yield_now().await;
            }
        }
        let mut state = self.state.borrow_mut();
        if let Some(slots) = state.convs.get_mut(&event.conv) {
            // Only now: free slots must not move the others between slices.
            slots.end();
        }
        if event.removes.is_some() {
            self.tidy(&mut state, &event.conv);
        }
    }

    /// Moves the stream to `to`, unless it is there already. The events in between are lost, and one of them may have
    /// ended a membership. So no subscriber is called for later events before the owner has proved its membership.
    fn jump(&self, conv: &ConversationId, to: u64, ready: impl FnMut(Arc<EventEnvelope>)) {
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
        // Removed before the buffered events behind the jump are released: these are for proved members only.
        for (who, at) in slots.take_unproved(to) {
            let mut claim = PositionClaim::of_listener(at);
            claim.jump(to - 1);
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            slots.pending.push((ticket, who.id()));
            self.ask(conv.clone(), who.user().clone(), ticket);
            let (conv, origin) = (conv.clone(), Origin::Again);
            state.tickets.insert(
                ticket,
                PendingSubscription {
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

    fn admitted(&self, number: u64, result: Result<Proof, CommandError>, recent: Vec<Arc<EventEnvelope>>) {
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
                // The stream may have changed the setting behind the position of the proof.
                let history = slots.history.filter(|(s, _)| *s > proof.at);
                let history = history.map_or(proof.history, |(_, history)| history);
                since = ticket.claim.since(proof).map(|since| (since, history));
                ticket.claim.decide(proof, slots.order.last().unwrap_or(proof.at))
            }
            // An existing subscriber stays pending until the owner responds.
            (Err(_), Origin::Again) => ClaimVerdict::Stale,
            (Err(refusal), Origin::First(_)) => {
                slots.pending.retain(|(known, _)| *known != number);
                self.tidy(state, &ticket.conv);
                return ticket.refuse(refusal);
            }
        };
        if verdict == ClaimVerdict::Stale {
            // Under the same ticket, so that the caller's future stays valid.
            self.ask(ticket.conv.clone(), ticket.who.user().clone(), number);
            state.tickets.insert(number, ticket);
            return;
        }
        slots.pending.retain(|(known, _)| *known != number);
        let PendingSubscription {
            conv,
            who,
            origin,
            joined,
            unlogged,
            ..
        } = ticket;
        let admitted = match verdict {
            ClaimVerdict::Admitted(from) => Some(slots.add(who.clone(), from)),
            ClaimVerdict::Renewed | ClaimVerdict::Refused | ClaimVerdict::Stale => None,
        };
        let again = match origin {
            Origin::Again => true,
            Origin::First(reply) => {
                if reply.send(admitted.ok_or_else(CommandError::not_member)).is_err() && admitted.is_some() {
                    // The caller dropped its future: the subscription is cancelled.
                    slots.remove(who.id());
                }
                false
            }
        };
        self.tidy(state, &conv);
        // Not borrowed during the calls: a subscriber may use the hub.
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
        // A later membership, or one behind the proof: the conversation is new to the session.
        if admitted.is_none() && (joined || verdict == ClaimVerdict::Renewed) {
            who.joined(&conv);
        }
    }

    /// Returns the user's sessions on this thread.
    fn sessions(&self, user: &UserId) -> Vec<Rc<dyn Subscriber>> {
        self.state.borrow().users.get(user).cloned().unwrap_or_default()
    }

    /// Notifies the user's sessions of a conversation to which they are not subscribed.
    fn joined(&self, user: &UserId, conv: &ConversationId) {
        let subscribers: Vec<Rc<dyn Subscriber>> = {
            let mut state = self.state.borrow_mut();
            let state = &mut *state;
            // A pending session may be refused by a proof that is older than this joining.
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
        for who in subscribers {
            who.joined(conv);
        }
    }

    /// Requests the missing events, if there are any.
    fn fill(&self, conv: &ConversationId, next: ReorderResult) {
        if let ReorderResult::Pull { after } = next {
            self.order(HubCommand::Pull {
                worker: self.worker,
                conv: conv.clone(),
                after,
            });
        }
    }

    /// Ends the interest in a conversation without subscribers.
    pub(super) fn tidy(&self, state: &mut State, conv: &ConversationId) {
        if state.convs.get(conv).is_some_and(SubscriberList::unused) {
            state.convs.remove(conv);
            self.order(HubCommand::Unsubscribe {
                worker: self.worker,
                conv: conv.clone(),
            });
        }
    }
}

// === impl PendingSubscription, State ===

impl PendingSubscription {
    fn refuse(self, refusal: CommandError) {
        if let Origin::First(reply) = self.origin {
            // The caller may have dropped its future.
            let _ = reply.send(Err(refusal));
        }
    }
}

impl State {
    /// Records a membership change of the stream in the pending claims.
    fn membership_changed(&mut self, event: &EventEnvelope) {
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
