//! Subscription hub of one worker thread: the interface by which its sessions subscribe.
//!
//! A subscription begins with a proof: the owner first registers this node's interest, then reads whether the user is a
//! member, and at which position. Membership changes in the stream above that position take precedence. At a jump of
//! the stream every subscriber is proved again.

mod claim;
mod deliver;
#[cfg(any(test, feature = "testkit"))]
mod feed;
mod proofs;
mod unlogged;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use protocol::{ConversationId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

#[cfg(any(test, feature = "testkit"))]
pub use self::feed::DetachedHub;

use self::claim::PositionClaim;
use super::hub_event::HubCommand;
use super::subscriber::Subscriber;
use super::subscriber_list::SubscriberList;
use crate::registration::WorkerId;
use crate::shard_client::CommandError;
use crate::state_machine::EventEnvelope;

/// Maximum number of pending subscriptions per thread; more are refused.
const BACKLOG: usize = 65_536;

/// Subscribers of one worker thread. Cheap to clone, not `Send`.
#[derive(Clone)]
pub struct SubscriptionHub {
    hub: Rc<Hub>,
}

struct Hub {
    worker: WorkerId,
    /// Unbounded, so that no caller waits. Its length is bounded by what causes commands: pending subscriptions
    /// ([`BACKLOG`]), one range per conversation, and sessions.
    orders: mpsc::UnboundedSender<HubCommand>,
    state: RefCell<State>,
    tasks: RefCell<Vec<AbortHandle>>,
}

#[derive(Default)]
struct State {
    convs: HashMap<ConversationId, SubscriberList>,
    tickets: HashMap<u64, PendingSubscription>,
    next_ticket: u64,
    users: HashMap<UserId, Vec<Rc<dyn Subscriber>>>,
}

/// Subscription whose membership is not proved yet.
struct PendingSubscription {
    conv: ConversationId,
    who: Rc<dyn Subscriber>,
    origin: Origin,
    claim: PositionClaim,
    /// The user's shard announced a joining since the request.
    joined: bool,
    /// Events outside the log that arrived since the request.
    unlogged: Vec<Arc<EventEnvelope>>,
}

/// Requester of the proof.
enum Origin {
    /// New subscription, whose caller waits for its position.
    First(oneshot::Sender<Result<u64, CommandError>>),
    /// Existing subscriber, held back where the stream jumped.
    Again,
}

// === impl SubscriptionHub ===

impl SubscriptionHub {
    pub(super) fn connect(control: mpsc::Sender<HubCommand>, batches: usize) -> SubscriptionHub {
        let (events, inbox) = mpsc::channel(batches);
        let (hub, outbox) = SubscriptionHub::build();
        let hello = HubCommand::Hello {
            worker: hub.hub.worker,
            events,
        };
        hub.own(actix::spawn(pass_on(hello, outbox, control)).abort_handle());
        hub.listen(inbox);
        hub
    }

    fn build() -> (SubscriptionHub, mpsc::UnboundedReceiver<HubCommand>) {
        let (orders, outbox) = mpsc::unbounded_channel();
        let hub = Hub {
            worker: rand::random(),
            orders,
            state: RefCell::default(),
            tasks: RefCell::default(),
        };
        (SubscriptionHub { hub: Rc::new(hub) }, outbox)
    }

    fn own(&self, task: AbortHandle) {
        self.hub.tasks.borrow_mut().push(task);
    }

    /// Subscribes a session to a conversation. Resolves with the position `as_of` at which its events begin. The first
    /// [`Subscriber::event`] has seq `as_of + 1`, and may precede the result. Dropping the future cancels the
    /// subscription.
    ///
    /// Fails with `not_member`, or with a temporary refusal if the owner cannot be reached. A session that is
    /// subscribed already gets its current position.
    pub fn subscribe(
        &self,
        conv: &ConversationId,
        who: Rc<dyn Subscriber>,
    ) -> impl Future<Output = Result<u64, CommandError>> + use<> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.hub.state.borrow_mut();
        let state = &mut *state;
        let slots = state
            .convs
            .entry(conv.clone())
            .or_insert_with(SubscriberList::new);
        if let Some(at) = slots.position(who.id()) {
            let as_of = slots.add(who, at);
            // Cannot fail: the receiver is still in scope.
            let _ = reply.send(Ok(as_of));
        } else if state.tickets.len() >= BACKLOG {
            // The entry was created above and would stay without a subscriber.
            if slots.unused() {
                state.convs.remove(conv);
            }
            let _ = reply.send(Err(CommandError::busy("too many subscriptions at once")));
        } else {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            slots.pending.push((ticket, who.id()));
            let user = who.user().clone();
            state.tickets.insert(
                ticket,
                PendingSubscription {
                    conv: conv.clone(),
                    who,
                    origin: Origin::First(reply),
                    claim: PositionClaim::default(),
                    joined: false,
                    unlogged: Vec::new(),
                },
            );
            self.hub.ask(conv.clone(), user, ticket);
        }
        async move { answer.await.unwrap_or_else(|_| Err(CommandError::unavailable())) }
    }

    /// Ends a session's subscription, if there is one.
    pub fn unsubscribe(&self, conv: &ConversationId, id: u64) {
        let mut state = self.hub.state.borrow_mut();
        let state = &mut *state;
        let Some(slots) = state.convs.get_mut(conv) else {
            return;
        };
        slots.remove(id);
        // Pending subscriptions too: their callers get `unavailable` from the dropped sender.
        for (ticket, _) in slots.pending.extract_if(.., |(_, session)| *session == id) {
            state.tickets.remove(&ticket);
        }
        self.hub.tidy(state, conv);
    }

    /// Attaches a session of the user. From now on it is notified of every joining, and shortly after of conversations
    /// that it has not subscribed to by itself.
    pub fn attach(&self, user: &UserId, who: Rc<dyn Subscriber>) {
        let mut state = self.hub.state.borrow_mut();
        let sessions = state.users.entry(user.clone()).or_default();
        // Only the first session of the user on this thread changes the node's interest.
        if sessions.is_empty() {
            self.hub.order(HubCommand::Attach {
                worker: self.hub.worker,
                user: user.clone(),
            });
        }
        if !sessions.iter().any(|known| known.id() == who.id()) {
            sessions.push(who);
        }
    }

    /// Detaches a session of the user. Its subscriptions are ended separately.
    pub fn detach(&self, user: &UserId, id: u64) {
        let mut state = self.hub.state.borrow_mut();
        let Some(sessions) = state.users.get_mut(user) else {
            return;
        };
        sessions.retain(|known| known.id() != id);
        if sessions.is_empty() {
            state.users.remove(user);
            self.hub.order(HubCommand::Detach {
                worker: self.hub.worker,
                user: user.clone(),
            });
        }
    }

    /// Number of conversations with subscribers on this thread.
    #[cfg(any(test, feature = "testkit"))]
    #[must_use]
    pub fn conversations(&self) -> usize {
        self.hub.state.borrow().convs.len()
    }
}

// === impl Hub ===

impl Hub {
    /// Requests a proof of membership.
    fn ask(&self, conv: ConversationId, user: UserId, ticket: u64) {
        self.order(HubCommand::Subscribe {
            worker: self.worker,
            conv,
            user,
            ticket,
        });
    }

    fn order(&self, order: HubCommand) {
        // The manager outlives the workers: this fails only while the node stops.
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

/// Forwards a worker's commands to the manager, and waits while its queue is full.
async fn pass_on(
    hello: HubCommand,
    mut orders: mpsc::UnboundedReceiver<HubCommand>,
    relay: mpsc::Sender<HubCommand>,
) {
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
