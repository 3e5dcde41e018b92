//! Proofs of membership: those of pending subscriptions, and new ones where the stream jumps.

use std::sync::Arc;

use protocol::ConversationId;

use super::claim::{ClaimVerdict, PositionClaim};
use super::{Hub, Origin, PendingSubscription, State, unlogged};
use crate::rpc::register::Proof;
use crate::shard_client::CommandError;
use crate::state_machine::EventEnvelope;

// === impl Hub ===

impl Hub {
    /// Moves the stream to `to`, unless it is there already. The events in between are lost, and one of them may have
    /// ended a membership. So no subscriber is called for later events before the owner has proved its membership.
    pub(super) fn jump(&self, conv: &ConversationId, to: u64, ready: impl FnMut(Arc<EventEnvelope>)) {
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

    pub(super) fn admitted(
        &self,
        number: u64,
        result: Result<Proof, CommandError>,
        recent: Vec<Arc<EventEnvelope>>,
    ) {
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
    pub(super) fn membership_changed(&mut self, event: &EventEnvelope) {
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
