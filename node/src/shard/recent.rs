//! Recent events of a shard's conversations that are in no log: typing, cursor movements, a member's own settings.
//! Pure: time is an argument.
//!
//! Such events reach the current subscribers only. The shard owner therefore keeps the last one of each kind and user
//! for some seconds. The response to a registration contains them beside the log position; later ones arrive as
//! deliveries. Older ones need no cache: `list`, `open` and `members` return cursors and settings.
//!
//! Soft state: a new shard owner starts empty.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConversationId, UserId};

use crate::state_machine::EventEnvelope;

/// Lifetime of a cursor or settings event. A subscription is faster, or its client gets `resync`.
const LASTS: Duration = Duration::from_secs(10);
/// Lifetime of a typing notice that is not repeated.
pub(crate) const TYPING_LASTS: Duration = Duration::from_secs(6);
/// Bound per shard. Above it the oldest event is evicted early; the next one of its kind replaces it.
const MOST: usize = 8_192;

/// Kind and user of an event. Only the last event of each is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecentSubject {
    Cursors(UserId),
    Settings(UserId),
    /// Typing has started (`true`) or stopped.
    Typing(UserId, bool),
}

/// Recent unlogged events of one shard.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    convs: HashMap<ConversationId, Vec<RecentEvent>>,
    /// In order of arrival. Entries of replaced events stay until they expire.
    order: VecDeque<(Instant, ConversationId)>,
}

#[derive(Debug)]
struct RecentEvent {
    about: RecentSubject,
    at: Instant,
    event: Arc<EventEnvelope>,
}

// === impl RecentSubject ===

impl RecentSubject {
    fn lasts(&self) -> Duration {
        match self {
            RecentSubject::Typing(..) => TYPING_LASTS,
            RecentSubject::Cursors(_) | RecentSubject::Settings(_) => LASTS,
        }
    }

    fn replaces(&self, other: &RecentSubject) -> bool {
        match (self, other) {
            (RecentSubject::Cursors(a), RecentSubject::Cursors(b))
            | (RecentSubject::Settings(a), RecentSubject::Settings(b))
            | (RecentSubject::Typing(a, _), RecentSubject::Typing(b, _)) => a == b,
            _ => false,
        }
    }
}

// === impl Recent ===

impl Recent {
    /// Records an event, which replaces the earlier one of its kind and user.
    pub(crate) fn note(&mut self, about: RecentSubject, event: Arc<EventEnvelope>, now: Instant) {
        self.prune(now);
        let entries = self.convs.entry(event.conv.clone()).or_default();
        entries.retain(|entry| !about.replaces(&entry.about));
        // The end of typing needs no entry: new subscribers start without typing notices.
        if !matches!(about, RecentSubject::Typing(_, false)) {
            self.order.push_back((now, event.conv.clone()));
            let at = now;
            entries.push(RecentEvent { about, at, event });
        } else if entries.is_empty() {
            self.convs.remove(&event.conv);
        }
    }

    /// Returns the unexpired events of a conversation in order of arrival.
    pub(crate) fn of(
        &self,
        conv: &ConversationId,
        now: Instant,
    ) -> impl Iterator<Item = &Arc<EventEnvelope>> {
        let entries = self.convs.get(conv).into_iter().flatten();
        entries
            .filter(move |entry| now.saturating_duration_since(entry.at) < entry.about.lasts())
            .map(|entry| &entry.event)
    }

    fn prune(&mut self, now: Instant) {
        // One lifetime for all kinds keeps the queue sorted; `of` filters typing notices, which expire sooner.
        while let Some((at, conv)) = self.order.front() {
            let over = now.saturating_duration_since(*at) >= LASTS;
            if !over && self.order.len() < MOST {
                return;
            }
            // An event that replaced this entry's event is younger and stays.
            if let Some(entries) = self.convs.get_mut(conv) {
                entries.retain(|entry| entry.at > *at);
                if entries.is_empty() {
                    self.convs.remove(conv);
                }
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn event(conv: &str, tail: &'static str) -> Arc<EventEnvelope> {
        Arc::new(EventEnvelope {
            conv: ConversationId::parse(conv).unwrap(),
            seq: 0,
            tail: Bytes::from_static(tail.as_bytes()),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        })
    }

    fn visible(recent: &Recent, now: Instant) -> Vec<String> {
        let conv = ConversationId::parse("g_1").unwrap();
        let events = recent.of(&conv, now);
        events
            .map(|event| String::from_utf8(event.tail.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn the_last_of_each_kind_and_user_is_returned_until_it_expires() {
        let (bob, carol): (UserId, UserId) = ("bob".parse().unwrap(), "carol".parse().unwrap());
        let now = Instant::now();
        let mut recent = Recent::default();
        for (about, conv, text) in [
            (RecentSubject::Cursors(bob.clone()), "g_1", "1"),
            (RecentSubject::Cursors(carol.clone()), "g_1", "2"),
            (RecentSubject::Cursors(bob.clone()), "g_1", "3"),
            (RecentSubject::Typing(bob.clone(), true), "g_1", "4"),
            (RecentSubject::Typing(carol.clone(), true), "g_1", "5"),
            (RecentSubject::Settings(bob.clone()), "g_2", "6"),
            (RecentSubject::Typing(carol, false), "g_1", "7"),
        ] {
            recent.note(about, event(conv, text), now);
        }
        assert_eq!(visible(&recent, now), ["2", "3", "4"]);
        assert_eq!(
            visible(&recent, now + 7 * SEC),
            ["2", "3"],
            "who types says so again"
        );
        assert!(visible(&recent, now + LASTS).is_empty());
        recent.note(RecentSubject::Cursors(bob), event("g_1", "8"), now + LASTS);
        assert_eq!(
            (visible(&recent, now + LASTS), recent.order.len()),
            (vec!["8".to_owned()], 1)
        );
    }

    #[test]
    fn recent_events_are_bounded() {
        let now = Instant::now();
        let mut recent = Recent::default();
        for n in 0..3 * MOST {
            let user = format!("u{}", n % 5_000).parse().unwrap();
            recent.note(RecentSubject::Cursors(user), event("g_1", "x"), now + SEC);
        }
        assert!(recent.order.len() <= MOST && recent.convs.values().flatten().count() <= MOST);
    }
}
