//! Subscriber of a session: receives events directly from the subscription hub, so that a busy session actor cannot
//! delay delivery.
//!
//! The hub calls `Subscriber::event` once per session and event. The call only appends to the outbound queue; the
//! actor's mailbox would cost an allocation and a wake-up per event. Decisions are left to the actor, which is woken
//! for them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use protocol::answer::LastEvent;
use protocol::event::{Event, ResyncEvent};
use protocol::{ClientMessageId, ConversationId, EncodedEvent, HistoryVisibility, UserId};

use super::delivery_tracker::DeliveryTracker;
use super::echo_filter::EchoFilter;
use super::outbound_queue::PushResult;
use super::replay_buffer::BufferedEvent;
use crate::presence::PresenceSink;
use crate::rpc::SessionId;
use crate::session::connection_handle::ConnectionHandle;
use crate::session::lifecycle::BarrierGuard;
use crate::session::registry::SessionRegistry;
use crate::shard::{REGISTERED_INDEX, TYPING_LASTS};
use crate::state_machine::{EventEnvelope, PlacedEntry};
use crate::subscription::{JoinedConversations, Subscriber};
use crate::telemetry::metrics::ServerMetrics;

/// Events buffered per conversation while its subscription starts; half as many of those outside the log.
const HELD: usize = 256;
/// Entries of the user's conversation list examined per step for missed activity.
pub(in crate::session) const LATEST: usize = REGISTERED_INDEX;
/// Tolerance for clock differences between nodes and for the delay from proposal to apply, in milliseconds.
const SLACK_MS: u64 = 15_000;
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

    /// Delivers an event read from the log, of a conversation whose subscription is starting. Returns `false` if it is
    /// no longer followed, possibly because of this event.
    pub(in crate::session) fn carry(&self, published: &EventEnvelope) -> bool {
        let over = published.removes.as_ref() == Some(&self.user);
        {
            let mut convs = self.convs.borrow_mut();
            let Some(Followed {
                state: State::Opening { from, .. },
                ..
            }) = convs.get_mut(&published.conv)
            else {
                return false;
            };
            // Also for an event that is not shown: a later resume has to continue behind it.
            *from = Some(published.seq);
            if over {
                convs.remove(&published.conv);
            }
        }
        if !self.is_unwanted(published) {
            self.replay(BufferedEvent {
                tail: published.tail.clone(),
                covers: Some((published.conv.clone(), published.seq)),
            });
        }
        if over {
            self.tracker.borrow_mut().forget(&published.conv);
        }
        !over
    }

    /// Ends the catch-up of a conversation at `upto` and delivers the buffered events. Returns `false` if some of those
    /// were lost and have to be read too.
    pub(in crate::session) fn carried(&self, conv: &ConversationId, upto: u64) -> bool {
        if let Some(Followed {
            state: State::Opening { held, lost, .. },
            ..
        }) = self.convs.borrow_mut().get_mut(conv)
            && std::mem::take(lost)
        {
            // Log events are read again together with the lost ones; events outside the log cannot be.
            held.retain(|held| held.published.seq == 0);
            return false;
        }
        self.go_live(conv, upto);
        true
    }

    /// Appends an event that the client missed.
    pub(in crate::session) fn replay(&self, event: BufferedEvent) {
        let covers = event.covers.clone();
        let n = self.link.outbox(|outbox| outbox.replay(event));
        if let Some((conv, s)) = covers {
            self.tracker.borrow_mut().sent(n, &conv, s);
        }
        self.account();
    }

    /// Ends the catch-up across a gap: sends `resync`, then delivers the events above `at`.
    pub(in crate::session) fn carry_over(&self, conv: &ConversationId, at: u64) {
        if self.follows(conv) {
            // First the `resync`: an event from behind the gap would otherwise look like a hole.
            self.resync("gone");
            self.go_live(conv, at);
        }
    }

    /// Returns the client's position in each followed conversation, and the conversations that are yet to be
    /// introduced.
    pub(in crate::session) fn positions(&self) -> (Vec<(ConversationId, u64)>, Vec<ConversationId>) {
        let mut positions = Vec::new();
        let mut coming: Vec<ConversationId> = self.joined.borrow().iter().cloned().collect();
        for (conv, followed) in &*self.convs.borrow() {
            match &followed.state {
                State::Live(at) | State::Opening { from: Some(at), .. } => {
                    positions.push((conv.clone(), *at))
                }
                State::Opening { from: None, .. } => coming.push(conv.clone()),
            }
        }
        (positions, coming)
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

    /// Delivers events of conversations that were subscribed to only after the client's `sync` was answered. The events
    /// in between are in neither, so `resync` precedes the first one: without it there would be a hole.
    pub(in crate::session) fn go_live_late(&self, convs: &[(ConversationId, u64)]) {
        if !convs.is_empty() {
            self.resync("late");
        }
        for (conv, as_of) in convs {
            self.go_live(conv, *as_of);
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

    /// Releases the queries that wait for this conversation's subscription.
    pub(in crate::session) fn stands(&self, conv: &ConversationId) {
        if let Some(beginning) = &*self.beginning.borrow() {
            beginning.stands(conv);
        }
        if self.is_ready.get() {
            self.release_barrier();
        }
    }

    /// Returns a conversation that a waiting query needs; it is subscribed to before the others.
    pub(in crate::session) fn asked(&self) -> Option<ConversationId> {
        self.beginning.borrow().as_ref()?.asked()
    }

    /// Completes when a query waits for a conversation that is not subscribed to yet.
    pub(in crate::session) async fn asking(&self) {
        let asking = self.beginning.borrow().as_ref().map(BarrierGuard::asking);
        match asking {
            Some(asking) => asking.await,
            // No query waits any more.
            None => std::future::pending().await,
        }
    }

    /// Sets the conversations that the session is about to subscribe to. Queries about others no longer wait, except
    /// those that the client opens at this moment: their subscriptions are pending too.
    pub(in crate::session) fn plans(&self, convs: &[ConversationId]) {
        if let Some(beginning) = &*self.beginning.borrow() {
            let followed = self.convs.borrow();
            let opened = followed
                .iter()
                .filter(|(_, followed)| followed.state.is_unknown());
            beginning.follows(convs.iter().chain(opened.map(|(conv, _)| conv)).cloned());
        }
    }

    /// Returns true while the subscription is pending and the client does not have the conversation.
    pub(in crate::session) fn is_opening(&self, conv: &ConversationId) -> bool {
        let convs = self.convs.borrow();
        convs
            .get(conv)
            .is_some_and(|followed| followed.state.is_unknown())
    }

    /// Removes and returns the least recently active conversation if more than `most` are followed. A conversation
    /// whose announced message has not arrived yet is not removed.
    pub(in crate::session) fn make_room(&self, most: usize) -> Option<ConversationId> {
        let mut convs = self.convs.borrow_mut();
        if convs.len() <= most {
            return None;
        }
        let (conv, at) = convs
            .iter()
            .filter_map(|(conv, followed)| match followed.state {
                State::Live(at) if followed.announced <= at => Some((followed.rank, conv, at)),
                _ => None,
            })
            .min_by_key(|(rank, ..)| *rank)
            .map(|(_, conv, at)| (conv.clone(), at))?;
        convs.remove(&conv);
        // Kept: only an announcement above this seq is news to the client.
        self.reached.borrow_mut().insert(conv.clone(), at);
        Some(conv)
    }

    /// Drains up to `most` conversations without a subscription in which messages were sent.
    pub(in crate::session) fn take_active(&self, most: usize) -> Vec<(ConversationId, LastEvent)> {
        // The initial list is still being subscribed to and may contain the announced conversations.
        if !self.is_ready.get() {
            return Vec::new();
        }
        let mut active = self.active.borrow_mut();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((conv, last)) = active.pop_first()
        {
            if self.is_unknown(&conv, last.s) {
                taken.push((conv, last));
            }
        }
        taken
    }

    /// Drains the position behind which the user's conversation list is to be read for missed activity.
    pub(in crate::session) fn take_unread(&self) -> Option<(u64, ConversationId)> {
        self.unread.take()
    }

    fn is_unknown(&self, conv: &ConversationId, s: u64) -> bool {
        !self.follows(conv) && self.reached.borrow().get(conv).is_none_or(|at| *at < s)
    }

    /// Returns true if activity at `ms` (Unix milliseconds) may be missing from every response to the client.
    fn is_late(&self, ms: u64) -> bool {
        ms.saturating_add(SLACK_MS) >= self.began_ms.get()
    }

    /// Sets the start of the session in Unix milliseconds. The client's first `sync` covers earlier activity.
    pub(in crate::session) fn begins_at(&self, now_ms: u64) {
        self.began_ms.set(now_ms);
    }

    /// Moves the start back by `ms`, for activity that the resumed session may have missed.
    pub(in crate::session) fn began_before(&self, ms: u64) {
        self.began_ms.set(self.began_ms.get().saturating_sub(ms));
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
            Bytes::from(Event::Resync(ResyncEvent { why: why.to_owned() }).tail()),
            None,
        );
    }

    /// Appends an event made for this session alone. `covers`: position of the conversation that the client then has.
    pub(in crate::session) fn push(&self, tail: Bytes, covers: Option<(&ConversationId, u64)>) {
        let event = BufferedEvent {
            tail,
            covers: covers.map(|(conv, s)| (conv.clone(), s)),
        };
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
        self.account();
    }

    /// Reports the buffered bytes to the registry while no connection drains them.
    fn account(&self) {
        if let Some((sessions, sid)) = &*self.account.borrow()
            && let Some(bytes) = self.link.outbox(|outbox| outbox.waits_alone())
        {
            sessions.holds(*sid, bytes);
            // An undelivered event was evicted: the actor has to end the session, which can no longer be resumed.
            if self.link.outbox(|outbox| outbox.lost()) {
                self.link.request_check();
            }
        }
    }

    /// Drains the conversations that the user joined since the last call and that are to be introduced.
    ///
    /// Returns none before the initial subscriptions are complete, because a re-registration of the node may name these
    /// too. Introduced, their events would begin behind a `conv` that a client with the conversation skips. No `sync`
    /// would have waited for them.
    pub(in crate::session) fn take_joined(&self) -> Vec<ConversationId> {
        if !self.is_ready.get() {
            return Vec::new();
        }
        let convs = self.convs.borrow();
        let mut joined = self.joined.borrow_mut();
        let fresh = joined.iter().filter(|conv| !convs.contains_key(*conv)).cloned();
        let fresh = fresh.collect();
        // A starting subscription may date from before the joining: its entry stays until the outcome is decided.
        joined.retain(|conv| {
            let state = convs.get(conv).map(|followed| &followed.state);
            matches!(state, Some(State::Opening { .. }))
        });
        fresh
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

    /// Stores the guard that delays queries until the initial subscriptions are complete.
    pub(in crate::session) fn begins(&self, beginning: BarrierGuard) {
        *self.beginning.borrow_mut() = Some(beginning);
    }

    /// Marks the initial subscriptions as complete, as far as possible, and releases the waiting queries.
    pub(in crate::session) fn set_ready(&self) {
        self.is_ready.set(true);
        self.release_barrier();
        self.link.request_check();
    }

    /// Releases all queries, unless a subscription that the client requested is still pending: a `sync` answered before
    /// it would leave out the events in between.
    fn release_barrier(&self) {
        let over = self.beginning.borrow().as_ref().is_none_or(BarrierGuard::is_over);
        if over {
            self.beginning.take();
        }
    }

    /// Returns true for a typing event of this session's user, from any device.
    fn is_own_typing(&self, published: &EventEnvelope) -> bool {
        if !is_typing(published) {
            return false;
        }
        let event = EncodedEvent::from_tail(&published.tail)
            .ok()
            .and_then(|event| event.event());
        matches!(event, Some(Event::Typing(typing)) if typing.u == self.user)
    }

    /// Delivers an event that follows an introducing `conv`.
    pub(in crate::session) fn follower(&self, published: &EventEnvelope) {
        if !self.is_unwanted(published) {
            self.push(published.tail.clone(), Some((&published.conv, published.seq)));
        }
    }

    /// Registers a message sent with `echo:false`, which this session must not receive.
    pub(in crate::session) fn hush(&self, conv: &ConversationId, cid: &ClientMessageId) {
        self.quiet.borrow_mut().sent(conv, cid);
    }

    /// Records the seq of such a message. `comes`: the conversation is about to be introduced, with the message.
    pub(in crate::session) fn hushed(
        &self,
        conv: &ConversationId,
        cid: &ClientMessageId,
        s: u64,
        comes: bool,
    ) {
        let mut quiet = self.quiet.borrow_mut();
        match self.convs.borrow().get(conv).map(|followed| &followed.state) {
            Some(State::Live(at)) => quiet.placed(conv, cid, s, *at),
            Some(State::Opening { .. }) => quiet.placed(conv, cid, s, 0),
            None if comes => quiet.placed(conv, cid, s, 0),
            // Not followed: the event never arrives.
            None => quiet.refused(conv, cid),
        }
    }

    /// Removes a permanently refused message from the filter.
    pub(in crate::session) fn unhush(&self, conv: &ConversationId, cid: &ClientMessageId) {
        self.quiet.borrow_mut().refused(conv, cid);
    }

    /// Returns the filtered messages, for the session that resumes this one.
    pub(in crate::session) fn hushed_messages(&self) -> Vec<(ConversationId, ClientMessageId)> {
        self.quiet.borrow().all()
    }

    /// Returns true for a message of this session sent with `echo:false`, whether live or read from the log.
    fn is_unwanted(&self, published: &EventEnvelope) -> bool {
        let mut quiet = self.quiet.borrow_mut();
        // A live event names the excluded session. One read from the log does not, and the tag changes on resume.
        if published.skip == self.tag {
            quiet.passed(&published.conv, published.seq);
            return true;
        }
        published.seq > 0 && quiet.takes(published, &self.user)
    }

    fn pass(&self, published: &EventEnvelope) {
        if self.is_unwanted(published) {
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

impl PresenceSink for EventSubscriber {
    fn show(&self, tail: Bytes) -> bool {
        self.link.outbox(|outbox| outbox.ephemeral(tail, false)) != PushResult::Dropped
    }
}

impl Subscriber for EventSubscriber {
    fn id(&self) -> u64 {
        self.tag
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn admitted(&self, conv: &ConversationId, since: u64, history: HistoryVisibility) {
        self.joined_conversations
            .borrow_mut()
            .admitted(conv, since, history);
    }

    fn event(&self, published: &EventEnvelope) {
        if published.only.as_ref().is_some_and(|only| *only != self.user) || self.is_own_typing(published) {
            return;
        }
        let visible = self.joined_conversations.borrow_mut().visible(published);
        let visible = visible.map(|tail| EventEnvelope {
            tail,
            ..published.clone()
        });
        let published = visible.as_ref().unwrap_or(published);
        let mut convs = self.convs.borrow_mut();
        let Some(followed) = convs.get_mut(&published.conv) else {
            return;
        };
        if published.seq > 0 {
            followed.rank = self.tick();
        }
        match &mut followed.state {
            State::Opening { held, lost, .. } => {
                let over = published.removes.as_ref() == Some(&self.user);
                let room = if published.seq == 0 { HELD / 2 } else { HELD };
                // The removal of this user is buffered in any case: it decides which membership the view belongs to.
                if held.len() < room || over {
                    let (at, published) = (Instant::now(), published.clone());
                    held.push(Held { at, published });
                } else if published.seq > 0 {
                    // Only for log events, which have to be read again; others may be lost.
                    *lost = true;
                }
                return;
            }
            State::Live(last) if published.seq == 0 || published.seq > *last => {
                *last = published.seq.max(*last);
            }
            // Duplicate: the view or the catch-up contained this event.
            State::Live(_) => return,
        }
        let over = published.removes.as_ref() == Some(&self.user);
        if over {
            convs.remove(&published.conv);
            self.joined_conversations.borrow_mut().forget(&published.conv);
        }
        drop(convs);
        self.pass(published);
        if over {
            self.tracker.borrow_mut().forget(&published.conv);
        }
    }

    fn jumped(&self, conv: &ConversationId, at: u64) {
        match self
            .convs
            .borrow_mut()
            .get_mut(conv)
            .map(|followed| &mut followed.state)
        {
            None => return,
            // `resync` follows when the subscription is live, or the events are read again.
            Some(State::Opening { lost, .. }) => {
                *lost = true;
                return;
            }
            Some(State::Live(last)) => *last = at.max(*last),
        }
        self.quiet.borrow_mut().passed(conv, at);
        self.resync("gone");
    }

    fn ended(&self, conv: &ConversationId) {
        if self.follows(conv) {
            self.end(conv);
            // The removal event was trimmed from the log. The next `sync` omits the conversation.
            self.resync("gone");
        }
    }

    fn joined(&self, conv: &ConversationId) {
        if self.reached.borrow().contains_key(conv) {
            // The client has this conversation; its subscription was evicted to make room.
            return;
        }
        self.joined.borrow_mut().insert(conv.clone());
        self.link.request_check();
    }

    fn active(&self, conv: &ConversationId, last: LastEvent) {
        if let Some(followed) = self.convs.borrow_mut().get_mut(conv) {
            // Protects the conversation from eviction until this message has been delivered.
            followed.announced = followed.announced.max(last.s);
        } else if self.reached.borrow().get(conv).is_none_or(|at| *at < last.s) {
            self.active.borrow_mut().insert(conv.clone(), last);
            self.link.request_check();
        }
    }

    fn latest(&self, convs: &[PlacedEntry]) {
        for placed in convs.iter().filter(|placed| self.is_late(placed.ms)) {
            if self.follows(&placed.conv) {
            } else if self.is_late(placed.since_ms) && !self.reached.borrow().contains_key(&placed.conv) {
                // The joining itself was not announced: introduce the conversation instead of reporting activity.
                self.joined(&placed.conv);
            } else {
                self.active(&placed.conv, placed.last);
            }
        }
        // A full page that ends within the window: older entries may be news too.
        if let Some(last) = convs
            .last()
            .filter(|last| convs.len() >= LATEST && self.is_late(last.ms))
        {
            *self.unread.borrow_mut() = Some((last.ms, last.conv.clone()));
            self.link.request_check();
        }
    }
}

#[cfg(test)]
mod tests;
