//! The end of a node's relay on one worker thread: calls the subscribers.
//!
//! A plain task, not an actor, and not one message per session: an event comes once per thread and is then a loop of
//! calls, in slices of [`SLICE`] between which the thread's other tasks run.
//!
//! A subscription begins with a proof: the owner reads, after it has registered this node's interest, whether the user
//! is a member, and at which position. What the stream says of the user's membership above that position counts more.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::{ConvId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::notice::{Control, Notice, WorkerId};
use super::order::Next;
use super::slots::Slots;
use super::subscriber::Subscriber;
use crate::conversation::Refusal;
use crate::conversation::timeline::Published;

/// Subscribers called before other tasks of the thread run.
const SLICE: usize = 256;
/// Orders that wait for the relay; more subscriptions are refused.
const BACKLOG: usize = 65_536;
/// How long after a registration a session is told of conversations that it has not subscribed to by itself.
const RECONCILE: Duration = Duration::from_secs(2);

/// The subscribers of one worker thread. Cheap to clone, never leaves the thread.
#[derive(Clone)]
pub struct LocalHub {
    hub: Rc<Hub>,
}

struct Hub {
    worker: WorkerId,
    /// To the task that passes them on: taking an order never waits.
    orders: mpsc::UnboundedSender<Control>,
    state: RefCell<State>,
    tasks: RefCell<Vec<AbortHandle>>,
}

#[derive(Default)]
struct State {
    convs: HashMap<ConvId, Slots>,
    tickets: HashMap<u64, Ticket>,
    next_ticket: u64,
    users: HashMap<UserId, Vec<Rc<dyn Subscriber>>>,
}

/// A subscription whose membership isn't proved yet.
struct Ticket {
    conv: ConvId,
    who: Rc<dyn Subscriber>,
    reply: oneshot::Sender<Result<u64, Refusal>>,
    /// What the stream said meanwhile of the user: at which position, and whether added.
    change: Option<(u64, bool)>,
}

/// Drives a [`LocalHub`] that has no relay behind it: for benches and tests. Every subscription is granted at
/// position 0.
pub struct Feed {
    notices: mpsc::Sender<Vec<Notice>>,
}

// === impl LocalHub ===

impl LocalHub {
    pub(super) fn connect(control: mpsc::Sender<Control>, batches: usize) -> LocalHub {
        let (notices, inbox) = mpsc::channel(batches);
        let (hub, outbox) = LocalHub::build();
        let hello = Control::Hello {
            worker: hub.hub.worker,
            notices,
        };
        hub.own(actix::spawn(pass_on(hello, outbox, control)).abort_handle());
        hub.listen(inbox);
        hub
    }

    /// A hub that is fed by hand, on the calling thread's actix runtime.
    #[must_use]
    pub fn detached() -> (LocalHub, Feed) {
        let (notices, inbox) = mpsc::channel(16);
        let (hub, outbox) = LocalHub::build();
        hub.own(actix::spawn(grant_all(outbox, notices.clone())).abort_handle());
        hub.listen(inbox);
        (hub, Feed { notices })
    }

    fn build() -> (LocalHub, mpsc::UnboundedReceiver<Control>) {
        let (orders, outbox) = mpsc::unbounded_channel();
        let hub = Hub {
            worker: rand::random(),
            orders,
            state: RefCell::default(),
            tasks: RefCell::default(),
        };
        (LocalHub { hub: Rc::new(hub) }, outbox)
    }

    fn listen(&self, inbox: mpsc::Receiver<Vec<Notice>>) {
        let listener = Rc::downgrade(&self.hub);
        self.own(
            actix::spawn(async move {
                let mut inbox = inbox;
                while let Some(batch) = inbox.recv().await {
                    let Some(hub) = listener.upgrade() else { return };
                    for notice in batch {
                        hub.take(notice).await;
                    }
                }
            })
            .abort_handle(),
        );
    }

    fn own(&self, task: AbortHandle) {
        self.hub.tasks.borrow_mut().push(task);
    }

    /// Subscribes a session to a conversation. Resolves with the position at which its events begin: the first
    /// [`Subscriber::event`] is that of `as_of + 1`, and may come before the caller sees the result. Dropping the
    /// future gives the subscription up.
    ///
    /// Fails with `not_member`, or with a temporary refusal when the owner can't be reached. A session that is
    /// subscribed already gets its present position.
    pub fn subscribe(
        &self,
        conv: &ConvId,
        who: Rc<dyn Subscriber>,
    ) -> impl Future<Output = Result<u64, Refusal>> + use<> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.hub.state.borrow_mut();
        let state = &mut *state;
        let slots = state.convs.entry(conv.clone()).or_insert_with(Slots::new);
        let known = slots.order.last().filter(|_| slots.proves(&*who));
        if let Some(last) = known {
            let as_of = slots.add(who, last);
            // The receiver is right here.
            let _ = reply.send(Ok(as_of));
        } else if state.tickets.len() >= BACKLOG {
            if slots.unused() {
                state.convs.remove(conv);
            }
            let _ = reply.send(Err(Refusal::busy("too many subscriptions at once")));
        } else {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            slots.pending.push((ticket, who.id()));
            let user = who.user().clone();
            state.tickets.insert(
                ticket,
                Ticket {
                    conv: conv.clone(),
                    who,
                    reply,
                    change: None,
                },
            );
            self.hub.order(Control::Subscribe {
                worker: self.hub.worker,
                conv: conv.clone(),
                user,
                ticket,
            });
        }
        async move { answer.await.unwrap_or_else(|_| Err(Refusal::unavailable())) }
    }

    /// Ends a session's subscription. One that isn't there is no error.
    pub fn unsubscribe(&self, conv: &ConvId, id: u64) {
        let mut state = self.hub.state.borrow_mut();
        let state = &mut *state;
        let Some(slots) = state.convs.get_mut(conv) else {
            return;
        };
        slots.remove(id);
        for (ticket, _) in slots.pending.extract_if(.., |(_, session)| *session == id) {
            state.tickets.remove(&ticket);
        }
        self.hub.tidy(state, conv);
    }

    /// A session of the user is there: it is told of every conversation that the user joins from now on, and
    /// shortly after of those it hasn't subscribed to by itself.
    pub fn attach(&self, user: &UserId, who: Rc<dyn Subscriber>) {
        let mut state = self.hub.state.borrow_mut();
        let sessions = state.users.entry(user.clone()).or_default();
        if sessions.is_empty() {
            self.hub.order(Control::Attach {
                worker: self.hub.worker,
                user: user.clone(),
            });
        }
        if !sessions.iter().any(|known| known.id() == who.id()) {
            sessions.push(who);
        }
    }

    /// A session of the user is gone. Its subscriptions are ended one by one.
    pub fn detach(&self, user: &UserId, id: u64) {
        let mut state = self.hub.state.borrow_mut();
        let Some(sessions) = state.users.get_mut(user) else {
            return;
        };
        sessions.retain(|known| known.id() != id);
        if sessions.is_empty() {
            state.users.remove(user);
            self.hub.order(Control::Detach {
                worker: self.hub.worker,
                user: user.clone(),
            });
        }
    }

    /// Conversations with subscribers on this thread.
    #[must_use]
    pub fn conversations(&self) -> usize {
        self.hub.state.borrow().convs.len()
    }
}

// === impl Hub ===

impl Hub {
    async fn take(self: &Rc<Hub>, notice: Notice) {
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
    fn tidy(&self, state: &mut State, conv: &ConvId) {
        if state.convs.get(conv).is_some_and(Slots::unused) {
            state.convs.remove(conv);
            self.order(Control::Unsubscribe {
                worker: self.worker,
                conv: conv.clone(),
            });
        }
    }

    fn order(&self, order: Control) {
        // The relay outlives the workers; when it is gone, the node stops.
        let _ = self.orders.send(order);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for task in self.tasks.borrow().iter() {
            task.abort();
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

// === impl Feed ===

impl Feed {
    /// Puts events in the hub's queue; waits while it is full.
    pub async fn push(&self, events: Vec<Arc<Published>>) {
        // Without its hub the feed goes nowhere.
        let _ = self
            .notices
            .send(events.into_iter().map(Notice::Event).collect())
            .await;
    }
}

/// Passes a worker's orders on to the relay, which may make it wait.
async fn pass_on(hello: Control, mut orders: mpsc::UnboundedReceiver<Control>, relay: mpsc::Sender<Control>) {
    if relay.send(hello).await.is_err() {
        return;
    }
    while let Some(order) = orders.recv().await {
        if relay.send(order).await.is_err() {
            return;
        }
    }
}

/// In the place of the relay: grants everything.
async fn grant_all(mut orders: mpsc::UnboundedReceiver<Control>, notices: mpsc::Sender<Vec<Notice>>) {
    while let Some(order) = orders.recv().await {
        if let Control::Subscribe { conv, ticket, .. } = order {
            let batch = vec![
                Notice::Live { conv, as_of: 0 },
                Notice::Admitted {
                    ticket,
                    result: Ok(0),
                },
            ];
            if notices.send(batch).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
