//! Delivery to the subscribers of one worker thread: takes the manager's notices in order, and calls the subscribers.
//!
//! Spine: step 12 of 13. Previous: `node: shard/fanout`. Next: `node: session/delivery/outbound_queue`.
//!
//! Queues: 512 incoming frames at the subscription manager, then 1,024 batches of events per worker. A dropped frame
//! shows as a gap; a worker whose queue was full reads the events again. Metrics: `subscription_dropped`,
//! `conversation_worker_overflows`.
//!
//! A plain task, not an actor, and without a message per session. An event arrives once per thread; the subscribers are
//! then called in a loop, in slices between which other tasks of the thread run.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ConversationId, UserId};
use tokio::sync::mpsc;

use super::{Hub, State, SubscriptionHub, unlogged};
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

// === impl SubscriptionHub ===

impl SubscriptionHub {
    /// Spawns the task that takes the batches of the manager.
    pub(super) fn listen(&self, inbox: mpsc::Receiver<Vec<HubEvent>>) {
        // Weak: the hub would otherwise be kept alive by its own task.
        let listener = Rc::downgrade(&self.hub);
        self.own(
            actix::spawn(async move {
                let mut inbox = inbox;
                while let Some(batch) = inbox.recv().await {
                    let Some(hub) = listener.upgrade() else { return };
                    for event in batch {
                        hub.take(event).await;
                    }
                }
            })
            .abort_handle(),
        );
    }
}

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
            HubEvent::Pulled {
                conv,
                after,
                events,
                last,
            } => {
                let mut ready = Vec::new();
                // The log before the range may be trimmed: its loss is a jump, which needs new proofs. A range of an
                // earlier subscription may begin behind the position, and shows nothing of the events between.
                if let Some(first) = events.first()
                    && self.position(&conv).is_some_and(|position| after <= position)
                {
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

    /// Returns the seq of the last event of a conversation in order.
    fn position(&self, conv: &ConversationId) -> Option<u64> {
        self.state.borrow().convs.get(conv)?.order.last()
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
