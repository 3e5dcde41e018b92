//! The live side of a session: events come here straight from the node's fan-out, past the actor's mailbox.
//!
//! A hub calls [`Subscriber::event`] once per session and event, and all that happens is a push into the outbox: the
//! actor's mailbox would cost an allocation and a wake-up each. What needs a decision is left for the actor, with a
//! nudge.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use protocol::event::{Event, Resync};
use protocol::{ConvId, RawEvent, UserId};

use super::arrivals::Arrivals;
use super::link::Link;
use super::outbox::Pushed;
use super::registry::Sessions;
use super::ring::Kept;
use super::settling::Beginning;
use super::sid::Sid;
use crate::conversation::timeline::Published;
use crate::relay::Subscriber;
use crate::telemetry::metrics::Metrics;
use crate::user::Screen;

/// Events held back per conversation while it is being opened.
const HELD: usize = 256;
/// The start of a receipt: worth knowing even when it comes late.
const RECEIPT: &[u8] = br#""t":"receipt""#;

/// The subscriber of one session.
pub struct Feed {
    tag: u64,
    user: UserId,
    link: Rc<Link>,
    metrics: Metrics,
    convs: RefCell<HashMap<ConvId, State>>,
    /// What went out and what has arrived.
    pub(super) arrivals: RefCell<Arrivals>,
    joined: RefCell<BTreeSet<ConvId>>,
    too_slow: Cell<bool>,
    /// Whether the conversations that the user was in at the start have been subscribed to.
    settled: Cell<bool>,
    /// Until then.
    beginning: RefCell<Option<Beginning>>,
    /// Where it is counted how much is kept for a client that is away.
    account: RefCell<Option<(Sessions, Sid)>>,
}

enum State {
    /// Events wait until the client knows the conversation, or until it has those before.
    Opening {
        held: Vec<Published>,
        lost: bool,
        /// The client has the events up to this one, and those behind it are read.
        from: Option<u64>,
    },
    /// Events above this one are passed on.
    Live(u64),
}

// === impl Feed ===

impl Feed {
    /// A feed that follows nothing yet.
    #[must_use]
    pub fn new(tag: u64, user: UserId, link: Rc<Link>, metrics: Metrics) -> Rc<Feed> {
        Rc::new(Feed {
            tag,
            user,
            link,
            metrics,
            convs: RefCell::default(),
            arrivals: RefCell::default(),
            joined: RefCell::default(),
            too_slow: Cell::new(false),
            settled: Cell::new(false),
            beginning: RefCell::default(),
            account: RefCell::default(),
        })
    }

    /// Counts what is kept while the client is away.
    pub(super) fn keep_account(&self, sessions: Sessions, sid: Sid) {
        *self.account.borrow_mut() = Some((sessions, sid));
    }

    /// The user.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.user
    }

    /// The session's tag.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// Starts to hold back the conversation's events. `false`: it is followed already.
    pub fn begin(&self, conv: &ConvId) -> bool {
        self.begin_at(conv, None)
    }

    /// The same for a conversation of which the client has the events up to `from`.
    pub(super) fn begin_at(&self, conv: &ConvId, from: Option<u64>) -> bool {
        let mut convs = self.convs.borrow_mut();
        if convs.contains_key(conv) {
            return false;
        }
        let opening = State::Opening {
            held: Vec::new(),
            lost: false,
            from,
        };
        convs.insert(conv.clone(), opening);
        true
    }

    /// Passes on an event that was read, of a conversation that has [begun](Self::begin_at). `false`: the conversation
    /// is not followed any more, perhaps because of this event.
    pub(super) fn carry(&self, published: &Published) -> bool {
        let over = published.removes.as_ref() == Some(&self.user);
        {
            let mut convs = self.convs.borrow_mut();
            let Some(State::Opening { from, .. }) = convs.get_mut(&published.conv) else {
                return false;
            };
            *from = Some(published.seq);
            if over {
                convs.remove(&published.conv);
            }
        }
        self.replay(Kept {
            tail: published.tail.clone(),
            covers: Some((published.conv.clone(), published.seq)),
        });
        if over {
            self.arrivals.borrow_mut().forget(&published.conv);
        }
        !over
    }

    /// Everything up to `upto` was [carried](Self::carry): passes on what was held back. `false`: some of that is lost
    /// and has to be read too.
    pub(super) fn carried(&self, conv: &ConvId, upto: u64) -> bool {
        if let Some(State::Opening { held, lost, .. }) = self.convs.borrow_mut().get_mut(conv)
            && std::mem::take(lost)
        {
            held.retain(|published| published.seq == 0);
            return false;
        }
        self.go_live(conv, upto);
        true
    }

    /// Pushes an event that the client missed.
    pub(super) fn replay(&self, event: Kept) {
        let covers = event.covers.clone();
        let n = self.link.outbox(|outbox| outbox.replay(event));
        if let Some((conv, s)) = covers {
            self.arrivals.borrow_mut().sent(n, &conv, s);
        }
        self.account();
    }

    /// What follows the events that were [carried](Self::carry) is gone: the client is told, and gets those above `at`.
    pub(super) fn carry_over(&self, conv: &ConvId, at: u64) {
        if self.follows(conv) {
            self.resync("gone");
            self.go_live(conv, at);
        }
    }

    /// Where the client is in each conversation that is followed, and the conversations that it is about to see.
    pub(super) fn positions(&self) -> (Vec<(ConvId, u64)>, Vec<ConvId>) {
        let mut positions = Vec::new();
        let mut coming: Vec<ConvId> = self.joined.borrow().iter().cloned().collect();
        for (conv, state) in &*self.convs.borrow() {
            match state {
                State::Live(at) | State::Opening { from: Some(at), .. } => {
                    positions.push((conv.clone(), *at))
                }
                State::Opening { from: None, .. } => coming.push(conv.clone()),
            }
        }
        (positions, coming)
    }

    /// Whether the client has more to read than it should before more is read for it.
    pub(super) fn is_crowded(&self) -> bool {
        self.link.outbox(|outbox| outbox.crowded())
    }

    /// Passes on events above `from`, the held ones first.
    pub fn go_live(&self, conv: &ConvId, from: u64) {
        let before = match self.convs.borrow_mut().get_mut(conv) {
            Some(state) => std::mem::replace(state, State::Live(from)),
            None => return,
        };
        if let State::Opening { held, lost, .. } = before {
            for published in &held {
                self.event(published);
            }
            if lost {
                self.resync("late");
            }
        }
    }

    /// Passes on events of conversations that could not be subscribed to before the client's sync was answered. What
    /// happened in between is in neither, so the client is told first: an event that came before that would be a hole.
    pub fn go_live_late(&self, convs: &[(ConvId, u64)]) {
        if !convs.is_empty() {
            self.resync("late");
        }
        for (conv, as_of) in convs {
            self.go_live(conv, *as_of);
        }
    }

    /// Follows the conversation no more.
    pub fn end(&self, conv: &ConvId) {
        self.convs.borrow_mut().remove(conv);
        self.arrivals.borrow_mut().forget(conv);
    }

    /// Whether the conversation is followed, or about to be.
    #[must_use]
    pub fn follows(&self, conv: &ConvId) -> bool {
        self.convs.borrow().contains_key(conv)
    }

    /// Number of conversations followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.convs.borrow().len()
    }

    /// Forgets everything and returns what was followed.
    pub fn end_all(&self) -> Vec<ConvId> {
        self.convs.borrow_mut().drain().map(|(conv, _)| conv).collect()
    }

    /// Tells the client that it may have missed something.
    pub fn resync(&self, why: &str) {
        self.push(
            Bytes::from(Event::Resync(Resync { why: why.to_owned() }).tail()),
            None,
        );
    }

    /// Pushes an event made for this session alone. `covers`: the client then has the conversation up to there.
    pub fn push(&self, tail: Bytes, covers: Option<(&ConvId, u64)>) {
        let event = Kept {
            tail,
            covers: covers.map(|(conv, s)| (conv.clone(), s)),
        };
        match self.link.outbox(|outbox| outbox.event(event, Instant::now())) {
            Pushed::Queued(n) => {
                if let Some((conv, s)) = covers {
                    self.arrivals.borrow_mut().sent(n, conv, s);
                }
            }
            // Seen below.
            Pushed::Lost | Pushed::Dropped => {}
            Pushed::Resync(from) => {
                self.metrics.resyncs.inc();
                self.arrivals.borrow_mut().dropped_from(from);
            }
            Pushed::TooSlow => {
                self.too_slow.set(true);
                self.link.nudge();
            }
        }
        self.account();
    }

    /// Counts what is kept, if nobody is connected.
    fn account(&self) {
        if let Some((sessions, sid)) = &*self.account.borrow()
            && let Some(bytes) = self.link.outbox(|outbox| outbox.waits_alone())
        {
            sessions.holds(*sid, bytes);
            if self.link.outbox(|outbox| outbox.lost()) {
                self.link.nudge();
            }
        }
    }

    /// Conversations that the user became a member of since the last call, and that are to be introduced.
    ///
    /// None before the session follows those that the user was in at the start. One of these may be named here too, when
    /// the node registers anew: introduced, its events would begin behind a `conv` that a client which knows the
    /// conversation passes over, and no `sync` would have waited for it.
    pub fn take_joined(&self) -> Vec<ConvId> {
        if !self.settled.get() {
            return Vec::new();
        }
        let joined = self.joined.take().into_iter();
        joined.filter(|conv| !self.follows(conv)).collect()
    }

    /// Whether the outbox overflowed a second time.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        self.too_slow.get()
    }

    /// Whether everything that the user was in at the start is subscribed to.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// The session is about to follow everything.
    pub(super) fn begins(&self, beginning: Beginning) {
        *self.beginning.borrow_mut() = Some(beginning);
    }

    /// Everything that the user was in at the start is subscribed to, as far as possible.
    pub fn settle(&self) {
        self.settled.set(true);
        self.beginning.take();
        self.link.nudge();
    }

    /// Whether it says that this very user types, on whatever device.
    fn is_own_typing(&self, published: &Published) -> bool {
        if published.seq > 0 || !published.tail.starts_with(br#""t":"typing""#) {
            return false;
        }
        let event = RawEvent::from_tail(&published.tail)
            .ok()
            .and_then(|event| event.event());
        matches!(event, Some(Event::Typing(typing)) if typing.u == self.user)
    }

    fn pass(&self, published: &Published) {
        if published.skip == self.tag {
        } else if published.only.is_some() {
            // Rare, and not to be dropped first.
            self.push(published.tail.clone(), None);
        } else if published.seq == 0 {
            let lasts = published.tail.starts_with(RECEIPT);
            let pushed = self
                .link
                .outbox(|outbox| outbox.ephemeral(published.tail.clone(), lasts));
            if pushed == Pushed::Dropped {
                self.metrics.dropped.inc();
            }
            self.account();
        } else {
            self.push(published.tail.clone(), Some((&published.conv, published.seq)));
        }
    }
}

impl Screen for Feed {
    fn show(&self, tail: Bytes) -> bool {
        self.link.outbox(|outbox| outbox.ephemeral(tail, false)) != Pushed::Dropped
    }
}

impl Subscriber for Feed {
    fn id(&self) -> u64 {
        self.tag
    }

    fn user(&self) -> &UserId {
        &self.user
    }

    fn event(&self, published: &Published) {
        if published.only.as_ref().is_some_and(|only| *only != self.user) || self.is_own_typing(published) {
            return;
        }
        let mut convs = self.convs.borrow_mut();
        match convs.get_mut(&published.conv) {
            None => return,
            Some(State::Opening { held, lost, from }) => {
                // What is not in the log is worth holding only where it is not read again: a view that is on its way has
                // the cursors and the settings, what is carried on has them not.
                let lasts = published.only.is_some() || published.tail.starts_with(RECEIPT);
                if published.seq == 0 && !(lasts && from.is_some() && held.len() < HELD) {
                } else if held.len() < HELD || published.removes.as_ref() == Some(&self.user) {
                    held.push(published.clone());
                } else {
                    *lost = true;
                }
                return;
            }
            Some(State::Live(last)) if published.seq == 0 || published.seq > *last => {
                *last = published.seq.max(*last);
            }
            Some(State::Live(_)) => return,
        }
        let over = published.removes.as_ref() == Some(&self.user);
        if over {
            convs.remove(&published.conv);
        }
        drop(convs);
        self.pass(published);
        if over {
            self.arrivals.borrow_mut().forget(&published.conv);
        }
    }

    fn jumped(&self, conv: &ConvId, at: u64) {
        match self.convs.borrow_mut().get_mut(conv) {
            None => return,
            // Told when it is live, or read again.
            Some(State::Opening { lost, .. }) => {
                *lost = true;
                return;
            }
            Some(State::Live(last)) => *last = at.max(*last),
        }
        self.resync("gone");
    }

    fn ended(&self, conv: &ConvId) {
        if self.follows(conv) {
            self.end(conv);
            // What says so is gone: `sync` doesn't name the conversation any more.
            self.resync("gone");
        }
    }

    fn joined(&self, conv: &ConvId) {
        self.joined.borrow_mut().insert(conv.clone());
        self.link.nudge();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Weak;

    use protocol::event::Typing;

    use super::*;
    use crate::config::Limits;
    use crate::conversation::timeline::read::Logged;
    use crate::session::Cut;
    use crate::session::outbox::{Bounds, Outbox};

    struct NoSocket;

    impl Cut for NoSocket {
        fn cut(&self) {}
    }

    fn conv() -> ConvId {
        ConvId::parse("g_1").unwrap()
    }

    fn typing(user: &str) -> Published {
        let event = Event::Typing(Typing {
            c: conv(),
            u: user.parse().unwrap(),
            on: true,
        });
        Published {
            conv: conv(),
            seq: 0,
            tail: event.tail().into(),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        }
    }

    /// An event as it is read from the log.
    fn stored(conv: &ConvId, s: u64, tail: &'static [u8]) -> Published {
        let tail = Bytes::from_static(tail);
        Published::replay(conv.clone(), Logged { s, tail })
    }

    /// A feed that follows the conversation, with room for so many events.
    fn feed(frames: usize) -> Rc<Feed> {
        let limits = Limits {
            outbox_frames: frames,
            ..Limits::default()
        };
        let socket: Weak<dyn Cut> = Weak::<NoSocket>::new();
        let link = Link::new(Outbox::new(Bounds::from(&limits)), socket);
        let feed = Feed::new(1, "alice".parse().unwrap(), link, Metrics::default());
        assert!(feed.begin(&conv()));
        feed.go_live(&conv(), 0);
        feed
    }

    fn last_n(feed: &Feed) -> u64 {
        feed.link.outbox(|outbox| outbox.last_n())
    }

    #[test]
    fn what_is_in_no_log_and_lasts_is_not_lost_while_a_session_is_carried_on() {
        let feed = feed(8);
        let carried = ConvId::parse("g_2").unwrap();
        let unlogged = |tail: &'static [u8], only: Option<&str>| Published {
            only: only.map(|user| user.parse().unwrap()),
            ..stored(&carried, 0, tail)
        };
        assert!(feed.begin_at(&carried, Some(3)));
        feed.event(&unlogged(br#""t":"receipt"}"#, None));
        feed.event(&unlogged(br#""t":"typing","c":"g_2","u":"bob","on":true}"#, None));
        feed.event(&unlogged(br#""t":"conv"}"#, Some("alice")));
        feed.event(&unlogged(br#""t":"conv","of":"bob"}"#, Some("bob")));
        assert!(feed.carried(&carried, 3));
        let tails: Vec<Bytes> = feed.link.outbox(|outbox| {
            let events = outbox.after(0).unwrap();
            events.map(|(_, kept)| kept.tail.clone()).collect()
        });
        assert_eq!(tails, [&br#""t":"receipt"}"#[..], br#""t":"conv"}"#]);
    }

    #[test]
    fn a_late_subscription_says_so_before_its_events() {
        let feed = feed(8);
        let late = ConvId::parse("g_2").unwrap();
        let message = |seq| stored(&late, seq, br#""t":"msg"}"#);
        assert!(feed.begin(&late));
        // Held back: it came while the subscription was answered.
        feed.event(&message(4));
        feed.go_live_late(&[(late.clone(), 3)]);
        feed.event(&message(5));
        let is_resync = feed.link.outbox(|outbox| {
            let events = outbox.after(0).unwrap();
            let resyncs = events.map(|(_, event)| event.tail.starts_with(br#""t":"resync""#));
            resyncs.collect::<Vec<_>>()
        });
        assert_eq!(is_resync, [true, false, false]);
        feed.go_live_late(&[]);
        assert_eq!(last_n(&feed), 3);
    }

    #[test]
    fn a_conversation_of_the_start_is_not_introduced_before_the_session_follows_it() {
        let feed = feed(8);
        let (known, new) = (conv(), ConvId::parse("g_2").unwrap());
        // The list of the start can't be had yet, and the node hears that the user is in both.
        feed.joined(&known);
        feed.joined(&new);
        assert_eq!(
            feed.take_joined(),
            [],
            "each is to be followed from where the client is"
        );
        // The list was made before the user came into the second one.
        feed.end(&known);
        assert!(feed.begin(&known));
        feed.go_live(&known, 200);
        feed.settle();
        assert_eq!(feed.take_joined(), [new]);
        assert_eq!(feed.take_joined(), []);
    }

    #[test]
    fn ones_own_typing_is_not_shown_on_any_of_ones_devices() {
        let feed = feed(8);
        feed.event(&typing("alice"));
        assert_eq!(last_n(&feed), 0);
        feed.event(&typing("alice2"));
        assert_eq!(last_n(&feed), 1);
    }

    #[test]
    fn under_pressure_typing_and_presence_go_first_and_messages_stay() {
        let feed = feed(8);
        for seq in 1..=4 {
            feed.event(&stored(&conv(), seq, br#""t":"msg"}"#));
        }
        feed.event(&typing("bob"));
        assert!(!feed.show(Bytes::from_static(br#""t":"presence"}"#)));
        assert_eq!((last_n(&feed), feed.metrics.dropped.get()), (4, 1));
        for seq in 5..=8 {
            feed.event(&stored(&conv(), seq, br#""t":"msg"}"#));
        }
        assert_eq!((last_n(&feed), feed.metrics.resyncs.get()), (8, 0));
    }
}
