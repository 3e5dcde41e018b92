//! The end of a node's relay on one worker thread: calls the subscribers.
//!
//! A plain task, not an actor, and not one message per session: an event comes once per thread and is then a loop of
//! calls, in slices between which the thread's other tasks run.
//!
//! A subscription begins with a proof: the owner reads, after it has registered this node's interest, whether the user
//! is a member, and at which position. What the stream says of the user's membership above that position counts more.
//! Where the stream jumps, everybody proves it again.

mod claim;
mod deliver;
mod feed;
mod unlogged;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use protocol::{ConvId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

pub use feed::Feed;

use self::claim::Claim;
use super::notice::{Control, Notice, WorkerId};
use super::slots::Slots;
use super::subscriber::Subscriber;
use crate::conversation::Refusal;
use crate::conversation::timeline::Published;

/// Orders that wait for the relay; more subscriptions are refused.
const BACKLOG: usize = 65_536;

/// The subscribers of one worker thread. Cheap to clone, never leaves the thread.
#[derive(Clone)]
pub struct LocalHub {
    hub: Rc<Hub>,
}

struct Hub {
    worker: WorkerId,
    /// To the task that passes them on: taking an order never waits. Bounded by what is behind the orders: subscriptions
    /// ([`BACKLOG`]), one range per conversation, sessions.
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
    origin: Origin,
    claim: Claim,
    /// The user's shard said meanwhile that the user joined.
    joined: bool,
    /// What was said meanwhile outside the log.
    unlogged: Vec<Arc<Published>>,
}

/// Who wants the proof.
enum Origin {
    /// A session that waits for its position.
    First(oneshot::Sender<Result<u64, Refusal>>),
    /// One that listened until the stream jumped.
    Again,
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
        if let Some(at) = slots.position(who.id()) {
            let as_of = slots.add(who, at);
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
                    origin: Origin::First(reply),
                    claim: Claim::default(),
                    joined: false,
                    unlogged: Vec::new(),
                },
            );
            self.hub.ask(conv.clone(), user, ticket);
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
    /// Asks for a proof of membership.
    fn ask(&self, conv: ConvId, user: UserId, ticket: u64) {
        self.order(Control::Subscribe {
            worker: self.worker,
            conv,
            user,
            ticket,
        });
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

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
