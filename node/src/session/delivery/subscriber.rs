//! Subscriber of a session: receives events directly from the subscription hub, so that a busy session actor cannot
//! delay delivery.
//!
//! Path of a message: step 12 of 13.
//!
//! The hub calls `Subscriber::event` once per session and event. The call only appends to the outbound queue; the
//! actor's mailbox would cost an allocation and a wake-up per event. Decisions are left to the actor, which is woken
//! for them.

mod activity;
mod barrier;
mod catch_up;
mod durable_positions;
mod echo;
mod hub_events;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use protocol::event::{Event, ResyncEvent};
use protocol::response::LastEvent;
use protocol::{ConversationId, EncodedEvent, UserId};
use tokio::sync::oneshot;

use super::delivery_tracker::DeliveryTracker;
use super::echo_filter::EchoFilter;
use super::outbound_queue::PushResult;
use super::replay_buffer::BufferedEvent;
use super::unconfirmed_positions::UnconfirmedPositions;
use crate::rpc::SessionId;
use crate::session::connection_handle::ConnectionHandle;
use crate::session::lifecycle::BarrierGuard;
use crate::session::registry::SessionRegistry;
use crate::shard::{REGISTERED_INDEX, TYPING_LASTS};
use crate::state_machine::EventEnvelope;
use crate::subscription::{JoinedConversations, Subscriber};
use crate::telemetry::metrics::ServerMetrics;

/// Events buffered per conversation while its subscription starts; half as many of those outside the log.
const HELD: usize = 256;
/// Entries of the user's conversation list examined per step for missed activity.
pub(in crate::session) const LATEST: usize = REGISTERED_INDEX;
/// Tolerance for clock differences between nodes and for the delay from proposal to apply, in milliseconds.
const SLACK_MS: u64 = 15_000;
/// Prefix of the event that introduces a conversation.
const INTRODUCTION: &[u8] = br#""t":"conv""#;
/// Prefix of a receipt, which is still useful when it is delivered late.
const RECEIPT: &[u8] = br#""t":"receipt""#;

/// The subscriber of one session.
pub(in crate::session) struct EventSubscriber {
    tag: u64,
    user: UserId,
    link: Rc<ConnectionHandle>,
    metrics: ServerMetrics,
    convs: RefCell<HashMap<ConversationId, Followed>>,
    /// Logical clock for the ranks of conversations.
    clock: Cell<u64>,
    /// Conversations without a subscription, with the seq up to which the client was informed.
    reached: RefCell<HashMap<ConversationId, u64>>,
    /// Conversations without a subscription in which newer messages were sent.
    active: RefCell<BTreeMap<ConversationId, LastEvent>>,
    /// Position in the user's conversation list behind which activity may have been missed.
    unread: RefCell<Option<(u64, ConversationId)>>,
    /// Start of the session in Unix milliseconds; the client's first `sync` covers earlier activity.
    began_ms: Cell<u64>,
    pub(super) tracker: RefCell<DeliveryTracker>,
    /// Basis of the durable cursors; `None` without a device that has some.
    unconfirmed: RefCell<Option<UnconfirmedPositions>>,
    joined: RefCell<BTreeSet<ConversationId>>,
    quiet: RefCell<EchoFilter>,
    joined_conversations: RefCell<JoinedConversations>,
    too_slow: Cell<bool>,
    /// True once the user's initial conversations are subscribed to.
    is_ready: Cell<bool>,
    /// Held until then; its drop releases the waiting queries.
    beginning: RefCell<Option<BarrierGuard>>,
    /// Registry that counts the buffered bytes while the session is detached.
    account: RefCell<Option<(SessionRegistry, SessionId)>>,
}

/// Conversation with a starting or live subscription.
struct Followed {
    state: State,
    /// Logical time of the last activity; the lowest rank is evicted first.
    rank: u64,
    /// Highest seq announced by the user's shard; above the delivered seq while a delivery is under way.
    announced: u64,
}

enum State {
    /// Events are buffered until the client has the conversation, or the events before them.
    Opening {
        held: Vec<Held>,
        lost: bool,
        /// Position up to which the client has the events while later ones are read; `None`: it does not have the
        /// conversation.
        from: Option<u64>,
        /// Dropped when the subscription is live, has failed, or has to be retried.
        waiting: Vec<oneshot::Sender<()>>,
    },
    /// Events above this seq are delivered.
    Live(u64),
}

impl State {
    /// Returns true if the client does not have the conversation.
    fn is_unknown(&self) -> bool {
        matches!(self, State::Opening { from: None, .. })
    }
}

/// Buffered event with the time of its arrival.
struct Held {
    at: Instant,
    published: EventEnvelope,
}

// === impl EventSubscriber ===

impl EventSubscriber {
    /// Creates a subscriber without subscriptions.
    #[must_use]
    pub(in crate::session) fn new(
        tag: u64,
        user: UserId,
        link: Rc<ConnectionHandle>,
        metrics: ServerMetrics,
    ) -> Rc<EventSubscriber> {
        Rc::new(EventSubscriber {
            tag,
            user,
            link,
            metrics,
            convs: RefCell::default(),
            clock: Cell::new(0),
            reached: RefCell::default(),
            active: RefCell::default(),
            unread: RefCell::default(),
            began_ms: Cell::default(),
            tracker: RefCell::default(),
            unconfirmed: RefCell::default(),
            joined: RefCell::default(),
            quiet: RefCell::default(),
            joined_conversations: RefCell::default(),
            too_slow: Cell::new(false),
            is_ready: Cell::new(false),
            beginning: RefCell::default(),
            account: RefCell::default(),
        })
    }

    /// Enables accounting of the buffered bytes while the session is detached.
    pub(in crate::session) fn keep_account(&self, sessions: SessionRegistry, sid: SessionId) {
        *self.account.borrow_mut() = Some((sessions, sid));
    }

    #[must_use]
    pub(in crate::session) fn user_id(&self) -> &UserId {
        &self.user
    }

    #[must_use]
    pub(in crate::session) fn tag(&self) -> u64 {
        self.tag
    }

    /// Starts buffering the conversation's events. Returns `false` if it is followed already.
    pub(in crate::session) fn begin(&self, conv: &ConversationId) -> bool {
        self.begin_at(conv, None)
    }

    /// Like `begin`, for a conversation of which the client has the events up to `from`.
    pub(in crate::session) fn begin_at(&self, conv: &ConversationId, from: Option<u64>) -> bool {
        let mut convs = self.convs.borrow_mut();
        if convs.contains_key(conv) {
            return false;
        }
        let opening = State::Opening {
            held: Vec::new(),
            lost: false,
            from,
            waiting: Vec::new(),
        };
        let followed = Followed {
            state: opening,
            rank: self.tick(),
            announced: 0,
        };
        convs.insert(conv.clone(), followed);
        true
    }

    /// Records the position up to which the client has the events of a starting subscription.
    pub(in crate::session) fn known_up_to(&self, conv: &ConversationId, at: u64) {
        if let Some(Followed {
            state: State::Opening { from, .. },
            ..
        }) = self.convs.borrow_mut().get_mut(conv)
        {
            *from = Some(at);
        }
    }

    /// Marks the conversation as the most recently active one.
    pub(in crate::session) fn touch(&self, conv: &ConversationId) {
        let rank = self.tick();
        if let Some(followed) = self.convs.borrow_mut().get_mut(conv) {
            followed.rank = rank;
        }
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    /// Returns true if the outbound queue is at least half full; catch-up pauses meanwhile.
    pub(in crate::session) fn is_above_half(&self) -> bool {
        self.link.outbox(|outbox| outbox.is_above_half())
    }

    /// Delivers the events above `from`, the buffered ones first.
    pub(in crate::session) fn go_live(&self, conv: &ConversationId, from: u64) {
        // Live before the buffer is delivered: `event` then drops what the client already has.
        let before = match self.convs.borrow_mut().get_mut(conv) {
            Some(followed) => std::mem::replace(&mut followed.state, State::Live(from)),
            None => return,
        };
        self.quiet.borrow_mut().passed(conv, from);
        self.reached.borrow_mut().remove(conv);
        self.stands(conv);
        if let State::Opening { held, lost, .. } = before {
            // Before the buffered events: those behind a jump of the position would look like a hole.
            if lost {
                self.resync("late");
            }
            for Held { at, published } in &held {
                // A typing event is repeated before it expires, so an older one is stale.
                let stale = published.seq == 0 && at.elapsed() >= TYPING_LASTS && is_typing(published);
                if !stale {
                    self.event(published);
                }
            }
            // The view is newer than this removal, so it is of a later membership: the conversation is subscribed to
            // anew.
            let me = Some(&self.user);
            if held
                .iter()
                .any(|held| held.published.removes.as_ref() == me && held.published.seq <= from)
            {
                self.end(conv);
                self.joined(conv);
            }
        }
    }

    /// Removes the conversation and all state kept for it.
    pub(in crate::session) fn end(&self, conv: &ConversationId) {
        self.convs.borrow_mut().remove(conv);
        self.joined_conversations.borrow_mut().forget(conv);
        self.tracker.borrow_mut().forget(conv);
        self.quiet.borrow_mut().forget(conv);
        self.stands(conv);
    }

    /// Returns true while the subscription is pending and the client does not have the conversation.
    pub(in crate::session) fn is_opening(&self, conv: &ConversationId) -> bool {
        let convs = self.convs.borrow();
        convs
            .get(conv)
            .is_some_and(|followed| followed.state.is_unknown())
    }

    /// Returns true if the conversation has a live or starting subscription.
    #[must_use]
    pub(in crate::session) fn follows(&self, conv: &ConversationId) -> bool {
        self.convs.borrow().contains_key(conv)
    }

    /// Removes all subscriptions and returns their conversations.
    pub(in crate::session) fn end_all(&self) -> Vec<ConversationId> {
        *self.joined_conversations.borrow_mut() = JoinedConversations::default();
        self.convs.borrow_mut().drain().map(|(conv, _)| conv).collect()
    }

    /// Sends `resync`: the client may have missed events.
    pub(in crate::session) fn resync(&self, why: &str) {
        self.push(
            Bytes::from(
                Event::Resync(ResyncEvent {
                    reason: why.to_owned(),
                })
                .tail(),
            ),
            None,
        );
    }

    /// Appends an event made for this session alone. `covers`: position of the conversation that the client then has.
    pub(in crate::session) fn push(&self, tail: Bytes, covers: Option<(&ConversationId, u64)>) {
        // Such an event must not move the delivered cursor: the client does not get it.
        if covers.is_some_and(|(conv, _)| !self.link.includes(conv)) {
            return;
        }
        let event = BufferedEvent {
            tail,
            covers: covers.map(|(conv, s)| (conv.clone(), s)),
        };
        let introduces = event.tail.starts_with(INTRODUCTION);
        match self.link.outbox(|outbox| outbox.event(event, Instant::now())) {
            PushResult::Queued(n) => {
                if let Some((conv, s)) = covers {
                    self.tracker.borrow_mut().sent(n, conv, s);
                }
            }
            // A loss is detected by the accounting below. Only ephemeral events are dropped.
            PushResult::Lost | PushResult::Dropped => {}
            PushResult::Resync(from) => {
                self.metrics.resyncs.inc();
                // These numbers are never delivered, so confirming them must not move a delivered cursor.
                self.tracker.borrow_mut().dropped_from(from);
            }
            PushResult::TooSlow => {
                // Only the actor can close the connection: this call comes from the hub's task.
                self.too_slow.set(true);
                self.link.request_check();
            }
        }
        // Also an event that was not sent: the client has to read it.
        if let Some((conv, s)) = covers {
            self.track_position(conv, if introduces { 0 } else { s });
        }
        self.account();
    }

    /// Reports the buffered bytes to the registry while no connection drains them.
    fn account(&self) {
        if let Some((sessions, sid)) = &*self.account.borrow()
            && let Some(bytes) = self.link.detached_bytes()
        {
            sessions.holds(*sid, bytes);
            // An undelivered event was evicted: the actor has to end the session, which can no longer be resumed.
            if self.link.outbox(|outbox| outbox.lost()) {
                self.link.request_check();
            }
        }
    }

    /// Returns true if the outbound queue overflowed a second time within `slow_again`.
    #[must_use]
    pub(in crate::session) fn is_too_slow(&self) -> bool {
        self.too_slow.get()
    }

    /// Returns true once the user's initial conversations are subscribed to.
    #[must_use]
    pub(in crate::session) fn is_ready(&self) -> bool {
        self.is_ready.get()
    }

    /// Returns true for a typing event of this session's user, from any device.
    fn is_own_typing(&self, published: &EventEnvelope) -> bool {
        if !is_typing(published) {
            return false;
        }
        let event = EncodedEvent::from_tail(&published.tail)
            .ok()
            .and_then(|event| event.event());
        matches!(event, Some(Event::Typing(typing)) if typing.user == self.user)
    }

    fn pass(&self, published: &EventEnvelope) {
        if self.is_unwanted(published) || !self.link.includes(&published.conv) {
        } else if published.only.is_some() {
            // Settings of this user: rare, and not among the first to be dropped although outside the log.
            self.push(published.tail.clone(), None);
        } else if published.seq == 0 {
            // A receipt is buffered even while detached: the next one may come much later.
            let lasts = published.tail.starts_with(RECEIPT);
            let pushed = self
                .link
                .outbox(|outbox| outbox.ephemeral(published.tail.clone(), lasts));
            if pushed == PushResult::Dropped {
                self.metrics.dropped.inc();
            }
            self.account();
        } else {
            self.push(published.tail.clone(), Some((&published.conv, published.seq)));
        }
    }
}

fn is_typing(published: &EventEnvelope) -> bool {
    published.seq == 0 && published.tail.starts_with(br#""t":"typing""#)
}

#[cfg(test)]
mod tests;
