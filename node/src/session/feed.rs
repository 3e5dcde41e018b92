//! The live side of a session: events come here straight from the node's fan-out, past the actor's mailbox.
//!
//! A hub calls [`Subscriber::event`] once per session and event, and all that happens is a push into the outbox: the
//! actor's mailbox would cost an allocation and a wake-up each. What needs a decision is left for the actor, with a
//! nudge.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use protocol::answer::Last;
use protocol::event::{Event, Resync};
use protocol::{Cid, ConvId, History, RawEvent, UserId};

use super::arrivals::Arrivals;
use super::link::Link;
use super::newcomers::Newcomers;
use super::outbox::Pushed;
use super::quiet::Quiet;
use super::registry::Sessions;
use super::ring::Kept;
use super::settling::Beginning;
use super::sid::Sid;
use crate::conversation::reads::rows::REGISTERED_INDEX;
use crate::conversation::recent::TYPING_LASTS;
use crate::conversation::timeline::Published;
use crate::conversation::timeline::read::Placed;
use crate::relay::Subscriber;
use crate::telemetry::metrics::Metrics;
use crate::user::Screen;

/// Events held back per conversation while it is being opened; of those that are in no log half as many.
const HELD: usize = 256;
/// Conversations of a user that are looked at in one step for what was missed.
pub(super) const LATEST: usize = REGISTERED_INDEX;
/// By how much the clocks of nodes may differ, and how much later what is proposed is applied.
const SLACK_MS: u64 = 15_000;
/// The start of a receipt: worth knowing even when it comes late.
const RECEIPT: &[u8] = br#""t":"receipt""#;

/// The subscriber of one session.
pub struct Feed {
    tag: u64,
    user: UserId,
    link: Rc<Link>,
    metrics: Metrics,
    convs: RefCell<HashMap<ConvId, Followed>>,
    /// Counts what happens in them.
    clock: Cell<u64>,
    /// Conversations that are not followed, and how far the client was told of them.
    reached: RefCell<HashMap<ConvId, u64>>,
    /// Of these it is to be told more.
    active: RefCell<BTreeMap<ConvId, Last>>,
    /// There may be more such behind this place of the user's list.
    unread: RefCell<Option<(u64, ConvId)>>,
    /// What happened before is in the client's first sync.
    began_ms: Cell<u64>,
    /// What went out and what has arrived.
    pub(super) arrivals: RefCell<Arrivals>,
    joined: RefCell<BTreeSet<ConvId>>,
    /// Its own messages that are not to be shown.
    quiet: RefCell<Quiet>,
    /// What of events its user may not read.
    newcomers: RefCell<Newcomers>,
    too_slow: Cell<bool>,
    /// Whether the conversations that the user was in at the start have been subscribed to.
    settled: Cell<bool>,
    /// Until then.
    beginning: RefCell<Option<Beginning>>,
    /// Where it is counted how much is kept for a client that is away.
    account: RefCell<Option<(Sessions, Sid)>>,
}

/// A conversation that is followed.
struct Followed {
    state: State,
    /// The greater, the later something happened there.
    rank: u64,
    /// The last message that the user's shard has told of.
    announced: u64,
}

enum State {
    /// Events wait until the client knows the conversation, or until it has those before.
    Opening {
        held: Vec<Held>,
        lost: bool,
        /// The client has the events up to this one, and those behind it are read.
        from: Option<u64>,
    },
    /// Events above this one are passed on.
    Live(u64),
}

impl State {
    /// Returns whether the client does not know the conversation's position yet.
    fn is_unknown(&self) -> bool {
        matches!(self, State::Opening { from: None, .. })
    }
}

/// An event that waits, and since when.
struct Held {
    at: Instant,
    published: Published,
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
            clock: Cell::new(0),
            reached: RefCell::default(),
            active: RefCell::default(),
            unread: RefCell::default(),
            began_ms: Cell::default(),
            arrivals: RefCell::default(),
            joined: RefCell::default(),
            quiet: RefCell::default(),
            newcomers: RefCell::default(),
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
        let followed = Followed {
            state: opening,
            rank: self.tick(),
            announced: 0,
        };
        convs.insert(conv.clone(), followed);
        true
    }

    /// The client has the events of a conversation that has [begun](Self::begin) up to `at`.
    pub(super) fn known_up_to(&self, conv: &ConvId, at: u64) {
        if let Some(Followed {
            state: State::Opening { from, .. },
            ..
        }) = self.convs.borrow_mut().get_mut(conv)
        {
            *from = Some(at);
        }
    }

    /// Something has just happened in the conversation.
    pub(super) fn touch(&self, conv: &ConvId) {
        let rank = self.tick();
        if let Some(followed) = self.convs.borrow_mut().get_mut(conv) {
            followed.rank = rank;
        }
    }

    fn tick(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    /// Passes on an event that was read, of a conversation that has [begun](Self::begin_at). `false`: the conversation
    /// is not followed any more, perhaps because of this event.
    pub(super) fn carry(&self, published: &Published) -> bool {
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
            *from = Some(published.seq);
            if over {
                convs.remove(&published.conv);
            }
        }
        if !self.is_unwanted(published) {
            self.replay(Kept {
                tail: published.tail.clone(),
                covers: Some((published.conv.clone(), published.seq)),
            });
        }
        if over {
            self.arrivals.borrow_mut().forget(&published.conv);
        }
        !over
    }

    /// Everything up to `upto` was [carried](Self::carry): passes on what was held back. `false`: some of that is lost
    /// and has to be read too.
    pub(super) fn carried(&self, conv: &ConvId, upto: u64) -> bool {
        if let Some(Followed {
            state: State::Opening { held, lost, .. },
            ..
        }) = self.convs.borrow_mut().get_mut(conv)
            && std::mem::take(lost)
        {
            held.retain(|held| held.published.seq == 0);
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

    /// Whether the client has more to read than it should before more is read for it.
    pub(super) fn is_crowded(&self) -> bool {
        self.link.outbox(|outbox| outbox.crowded())
    }

    /// Passes on events above `from`, the held ones first.
    pub fn go_live(&self, conv: &ConvId, from: u64) {
        let before = match self.convs.borrow_mut().get_mut(conv) {
            Some(followed) => std::mem::replace(&mut followed.state, State::Live(from)),
            None => return,
        };
        self.quiet.borrow_mut().passed(conv, from);
        self.reached.borrow_mut().remove(conv);
        self.stands(conv);
        if let State::Opening { held, lost, .. } = before {
            // Before the held events: where the position has jumped, those behind the jump would be a hole.
            if lost {
                self.resync("late");
            }
            for Held { at, published } in &held {
                // Who types says so again before that.
                let stale = published.seq == 0 && at.elapsed() >= TYPING_LASTS && is_typing(published);
                if !stale {
                    self.event(published);
                }
            }
            // The view is newer than the end of the membership that was subscribed to: this is another one.
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
        self.newcomers.borrow_mut().forget(conv);
        self.arrivals.borrow_mut().forget(conv);
        self.quiet.borrow_mut().forget(conv);
        self.stands(conv);
    }

    /// Whoever asks about the conversation needs not wait for its subscription any more.
    pub(super) fn stands(&self, conv: &ConvId) {
        if let Some(beginning) = &*self.beginning.borrow() {
            beginning.stands(conv);
        }
        if self.settled.get() {
            self.end_of_beginning();
        }
    }

    /// A conversation about which somebody has asked, to be followed before others.
    pub(super) fn asked(&self) -> Option<ConvId> {
        self.beginning.borrow().as_ref()?.asked()
    }

    /// Waits until somebody asks about a conversation that is not followed yet.
    pub(super) async fn asking(&self) {
        let asking = self.beginning.borrow().as_ref().map(Beginning::asking);
        match asking {
            Some(asking) => asking.await,
            // Nobody waits any more.
            None => std::future::pending().await,
        }
    }

    /// Announces the conversations that the session subscribes to next. Those that its client has opened meanwhile are
    /// added: their subscriptions do not stand yet either.
    pub(super) fn plans(&self, convs: &[ConvId]) {
        if let Some(beginning) = &*self.beginning.borrow() {
            let followed = self.convs.borrow();
            let opened = followed
                .iter()
                .filter(|(_, followed)| followed.state.is_unknown());
            beginning.follows(convs.iter().chain(opened.map(|(conv, _)| conv)).cloned());
        }
    }

    /// Returns whether the conversation is being subscribed to, and the client does not know its position yet.
    pub(super) fn is_opening(&self, conv: &ConvId) -> bool {
        let convs = self.convs.borrow();
        convs
            .get(conv)
            .is_some_and(|followed| followed.state.is_unknown())
    }

    /// Follows the quietest conversation no more if more than `most` are followed, and returns it. One of which more was
    /// told than has come is none.
    pub(super) fn make_room(&self, most: usize) -> Option<ConvId> {
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
        self.reached.borrow_mut().insert(conv.clone(), at);
        Some(conv)
    }

    /// Conversations that are not followed and in which something was sent, at most so many of them.
    pub(super) fn take_active(&self, most: usize) -> Vec<(ConvId, Last)> {
        if !self.settled.get() {
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

    /// Where the list of the user's conversations is to be read on for what was missed.
    pub(super) fn take_unread(&self) -> Option<(u64, ConvId)> {
        self.unread.take()
    }

    fn is_unknown(&self, conv: &ConvId, s: u64) -> bool {
        !self.follows(conv) && self.reached.borrow().get(conv).is_none_or(|at| *at < s)
    }

    /// Whether what happened then may be in no answer to the client.
    fn is_late(&self, ms: u64) -> bool {
        ms.saturating_add(SLACK_MS) >= self.began_ms.get()
    }

    /// The session begins at this time: what happened before is in what its client asks for then.
    pub(super) fn begins_at(&self, now_ms: u64) {
        self.began_ms.set(now_ms);
    }

    /// What happened up to so long ago may have been told to nobody.
    pub(super) fn began_before(&self, ms: u64) {
        self.began_ms.set(self.began_ms.get().saturating_sub(ms));
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
        *self.newcomers.borrow_mut() = Newcomers::default();
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
        let convs = self.convs.borrow();
        let mut joined = self.joined.borrow_mut();
        let fresh = joined.iter().filter(|conv| !convs.contains_key(*conv)).cloned();
        let fresh = fresh.collect();
        // One that is being opened may turn out to have been asked for before the user joined.
        joined.retain(|conv| {
            let state = convs.get(conv).map(|followed| &followed.state);
            matches!(state, Some(State::Opening { .. }))
        });
        fresh
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
        self.end_of_beginning();
        self.link.nudge();
    }

    /// Lets all queries pass, unless a subscription that the client has asked for does not stand yet: a `sync` that is
    /// answered before would leave out what comes in between.
    fn end_of_beginning(&self) {
        let over = self.beginning.borrow().as_ref().is_none_or(Beginning::is_over);
        if over {
            self.beginning.take();
        }
    }

    /// Whether it says that this very user types, on whatever device.
    fn is_own_typing(&self, published: &Published) -> bool {
        if !is_typing(published) {
            return false;
        }
        let event = RawEvent::from_tail(&published.tail)
            .ok()
            .and_then(|event| event.event());
        matches!(event, Some(Event::Typing(typing)) if typing.u == self.user)
    }

    /// Passes on an event that follows a `conv`.
    pub(super) fn follower(&self, published: &Published) {
        if !self.is_unwanted(published) {
            self.push(published.tail.clone(), Some((&published.conv, published.seq)));
        }
    }

    /// A message of this session that it doesn't want to see.
    pub(super) fn hush(&self, conv: &ConvId, cid: &Cid) {
        self.quiet.borrow_mut().sent(conv, cid);
    }

    /// It has its place. `comes`: the conversation is about to be introduced, with the message.
    pub(super) fn hushed(&self, conv: &ConvId, cid: &Cid, s: u64, comes: bool) {
        let mut quiet = self.quiet.borrow_mut();
        match self.convs.borrow().get(conv).map(|followed| &followed.state) {
            Some(State::Live(at)) => quiet.placed(conv, cid, s, *at),
            Some(State::Opening { .. }) => quiet.placed(conv, cid, s, 0),
            None if comes => quiet.placed(conv, cid, s, 0),
            // Nothing comes.
            None => quiet.refused(conv, cid),
        }
    }

    /// It was refused for good.
    pub(super) fn unhush(&self, conv: &ConvId, cid: &Cid) {
        self.quiet.borrow_mut().refused(conv, cid);
    }

    /// The messages that are not to be shown, for who goes on with this session.
    pub(super) fn hushed_messages(&self) -> Vec<(ConvId, Cid)> {
        self.quiet.borrow().all()
    }

    /// Whether it is one of its own messages that the session doesn't want to see, however it comes.
    fn is_unwanted(&self, published: &Published) -> bool {
        let mut quiet = self.quiet.borrow_mut();
        if published.skip == self.tag {
            quiet.passed(&published.conv, published.seq);
            return true;
        }
        published.seq > 0 && quiet.takes(published, &self.user)
    }

    fn pass(&self, published: &Published) {
        if self.is_unwanted(published) {
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

fn is_typing(published: &Published) -> bool {
    published.seq == 0 && published.tail.starts_with(br#""t":"typing""#)
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

    fn admitted(&self, conv: &ConvId, since: u64, history: History) {
        self.newcomers.borrow_mut().admitted(conv, since, history);
    }

    fn event(&self, published: &Published) {
        if published.only.as_ref().is_some_and(|only| *only != self.user) || self.is_own_typing(published) {
            return;
        }
        let shown = self.newcomers.borrow_mut().shown(published);
        let shown = shown.map(|tail| Published {
            tail,
            ..published.clone()
        });
        let published = shown.as_ref().unwrap_or(published);
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
                if held.len() < room || over {
                    let (at, published) = (Instant::now(), published.clone());
                    held.push(Held { at, published });
                } else if published.seq > 0 {
                    *lost = true;
                }
                return;
            }
            State::Live(last) if published.seq == 0 || published.seq > *last => {
                *last = published.seq.max(*last);
            }
            State::Live(_) => return,
        }
        let over = published.removes.as_ref() == Some(&self.user);
        if over {
            convs.remove(&published.conv);
            self.newcomers.borrow_mut().forget(&published.conv);
        }
        drop(convs);
        self.pass(published);
        if over {
            self.arrivals.borrow_mut().forget(&published.conv);
        }
    }

    fn jumped(&self, conv: &ConvId, at: u64) {
        match self
            .convs
            .borrow_mut()
            .get_mut(conv)
            .map(|followed| &mut followed.state)
        {
            None => return,
            // Told when it is live, or read again.
            Some(State::Opening { lost, .. }) => {
                *lost = true;
                return;
            }
            Some(State::Live(last)) => *last = at.max(*last),
        }
        self.quiet.borrow_mut().passed(conv, at);
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
        if self.reached.borrow().contains_key(conv) {
            // The client knows it: it made room for another one.
            return;
        }
        self.joined.borrow_mut().insert(conv.clone());
        self.link.nudge();
    }

    fn active(&self, conv: &ConvId, last: Last) {
        if let Some(followed) = self.convs.borrow_mut().get_mut(conv) {
            followed.announced = followed.announced.max(last.s);
        } else if self.reached.borrow().get(conv).is_none_or(|at| *at < last.s) {
            self.active.borrow_mut().insert(conv.clone(), last);
            self.link.nudge();
        }
    }

    fn latest(&self, convs: &[Placed]) {
        for placed in convs.iter().filter(|placed| self.is_late(placed.ms)) {
            if self.follows(&placed.conv) {
            } else if self.is_late(placed.since_ms) && !self.reached.borrow().contains_key(&placed.conv) {
                self.joined(&placed.conv);
            } else {
                self.active(&placed.conv, placed.last);
            }
        }
        if let Some(last) = convs
            .last()
            .filter(|last| convs.len() >= LATEST && self.is_late(last.ms))
        {
            *self.unread.borrow_mut() = Some((last.ms, last.conv.clone()));
            self.link.nudge();
        }
    }
}

#[cfg(test)]
mod tests;
