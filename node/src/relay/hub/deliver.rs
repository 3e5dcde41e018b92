//! What comes from the relay, in order: events for the subscribers, answers for those who wait.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ConvId, UserId};

use super::{Hub, State, Ticket};
use crate::conversation::Refusal;
use crate::conversation::timeline::Published;
use crate::relay::Subscriber;
use crate::relay::notice::{Control, Notice};
use crate::relay::order::Next;
use crate::relay::slots::Slots;

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
            Notice::Admitted { ticket, result } => self.admitted(ticket, result),
            Notice::Pulled { conv, events, last } => {
                let mut ready = Vec::new();
                if let Some(slots) = self.state.borrow_mut().convs.get_mut(&conv) {
                    if let Some(first) = events.first() {
                        // What was missed before it is gone: the subscribers see the jump.
                        slots.order.skip_to(first.seq, |event| ready.push(event));
                    }
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
            Notice::Index { user, convs } => {
                let hub = Rc::downgrade(self);
                actix::spawn(async move {
                    tokio::time::sleep(RECONCILE).await;
                    let Some(hub) = hub.upgrade() else { return };
                    for conv in convs.iter() {
                        hub.joined(&user, conv);
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
            let mut state = self.state.borrow_mut();
            let Some(slots) = state.convs.get_mut(&event.conv) else {
                return;
            };
            let conv = event.conv.clone();
            if event.seq == 0 {
                if let Some(user) = &event.only {
                    let sessions = state.users.get(user).cloned();
                    drop(state);
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

    fn admitted(&self, ticket: u64, result: Result<u64, Refusal>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(Ticket {
            conv,
            who,
            reply,
            change,
        }) = state.tickets.remove(&ticket)
        else {
            return;
        };
        let Some(slots) = state.convs.get_mut(&conv) else {
            return;
        };
        slots.pending.retain(|(known, _)| *known != ticket);
        let read_at = result.as_ref().ok().copied().unwrap_or(0);
        let result = match (result, change) {
            // What happened above the position that was read counts more. A refusal has no position: the stream
            // speaks of a later time only if it says that the user was added.
            (Ok(_), Some((seq, false))) if seq > read_at => Err(Refusal::not_member()),
            (Err(refusal), Some((_, true))) if refusal.code == protocol::ErrorCode::NotMember => Ok(0),
            (result, _) => result,
        };
        let id = who.id();
        let result = result.map(|position| {
            let from = position.max(slots.order.last().unwrap_or(position));
            slots.add(who, from)
        });
        if reply.send(result).is_err() {
            // Nobody waits any more.
            slots.remove(id);
        }
        self.tidy(state, &conv);
    }

    /// Tells the user's sessions of a conversation that they aren't subscribed to.
    fn joined(&self, user: &UserId, conv: &ConvId) {
        let told: Vec<Rc<dyn Subscriber>> = {
            let state = self.state.borrow();
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

// === impl State ===

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
                ticket.change = Some((event.seq, false));
            }
            if event.adds.as_ref() == Some(ticket.who.user()) {
                ticket.change = Some((event.seq, true));
            }
        }
    }
}
