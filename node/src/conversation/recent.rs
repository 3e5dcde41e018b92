//! What was said lately of a shard's conversations and is in no log: who types, whose cursors moved, what a member has
//! muted or pinned on another device. Pure: time is an argument.
//!
//! Such events go to whoever listens at the moment, and a session that subscribes a moment later would never learn of
//! them. So the owner keeps the last of each kind and user for a while, and the answer to a registration has them beside
//! the position: what is said before the owner knows of a subscriber comes with the answer, what is said after it comes
//! as an event. Further back need nobody look, for what a client asks for in between (`list`, `open`, `members`) has the
//! cursors and the settings.
//!
//! Soft, as all that an owner keeps: a new one begins with nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{ConvId, UserId};

use super::timeline::Published;

/// How long a cursor and a setting are said again. A subscription takes less, or the session tells its client to sync.
const LASTS: Duration = Duration::from_secs(10);
/// How long somebody types who doesn't say so again.
pub(crate) const TYPING_LASTS: Duration = Duration::from_secs(6);
/// Kept per shard; beyond, the oldest goes before its time, and the next one of its kind makes it good.
const MOST: usize = 8_192;

/// What an event says, and of whom. Of each only the last is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// A member's cursors.
    Cursors(UserId),
    /// A member's own settings.
    Settings(UserId),
    /// That a member types, or no longer.
    Typing(UserId, bool),
}

/// What was said lately, in one shard.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    convs: HashMap<ConvId, Vec<RecentEvent>>,
    /// In the order in which they came; those that were replaced stand here too.
    order: VecDeque<(Instant, ConvId)>,
}

#[derive(Debug)]
struct RecentEvent {
    about: About,
    at: Instant,
    event: Arc<Published>,
}

// === impl About ===

impl About {
    fn lasts(&self) -> Duration {
        match self {
            About::Typing(..) => TYPING_LASTS,
            About::Cursors(_) | About::Settings(_) => LASTS,
        }
    }

    fn replaces(&self, other: &About) -> bool {
        match (self, other) {
            (About::Cursors(a), About::Cursors(b))
            | (About::Settings(a), About::Settings(b))
            | (About::Typing(a, _), About::Typing(b, _)) => a == b,
            _ => false,
        }
    }
}

// === impl Recent ===

impl Recent {
    /// Something is said.
    pub(crate) fn note(&mut self, about: About, event: Arc<Published>, now: Instant) {
        self.prune(now);
        let entries = self.convs.entry(event.conv.clone()).or_default();
        entries.retain(|entry| !about.replaces(&entry.about));
        if !matches!(about, About::Typing(_, false)) {
            self.order.push_back((now, event.conv.clone()));
            let at = now;
            entries.push(RecentEvent { about, at, event });
        } else if entries.is_empty() {
            self.convs.remove(&event.conv);
        }
    }

    /// What still counts of a conversation, in the order in which it was said.
    pub(crate) fn of(&self, conv: &ConvId, now: Instant) -> impl Iterator<Item = &Arc<Published>> {
        let entries = self.convs.get(conv).into_iter().flatten();
        entries
            .filter(move |entry| now.saturating_duration_since(entry.at) < entry.about.lasts())
            .map(|entry| &entry.event)
    }

    fn prune(&mut self, now: Instant) {
        while let Some((at, conv)) = self.order.front() {
            let over = now.saturating_duration_since(*at) >= LASTS;
            if !over && self.order.len() < MOST {
                return;
            }
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

    fn event(conv: &str, tail: &'static str) -> Arc<Published> {
        Arc::new(Published {
            conv: ConvId::parse(conv).unwrap(),
            seq: 0,
            tail: Bytes::from_static(tail.as_bytes()),
            removes: None,
            adds: None,
            skip: 0,
            only: None,
        })
    }

    fn shown(recent: &Recent, now: Instant) -> Vec<String> {
        let conv = ConvId::parse("g_1").unwrap();
        let shown = recent.of(&conv, now);
        shown
            .map(|event| String::from_utf8(event.tail.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn the_last_of_each_kind_and_user_is_told_until_its_time_is_over() {
        let (bob, carol): (UserId, UserId) = ("bob".parse().unwrap(), "carol".parse().unwrap());
        let now = Instant::now();
        let mut recent = Recent::default();
        for (about, conv, text) in [
            (About::Cursors(bob.clone()), "g_1", "1"),
            (About::Cursors(carol.clone()), "g_1", "2"),
            (About::Cursors(bob.clone()), "g_1", "3"),
            (About::Typing(bob.clone(), true), "g_1", "4"),
            (About::Typing(carol.clone(), true), "g_1", "5"),
            (About::Settings(bob.clone()), "g_2", "6"),
            (About::Typing(carol, false), "g_1", "7"),
        ] {
            recent.note(about, event(conv, text), now);
        }
        assert_eq!(shown(&recent, now), ["2", "3", "4"]);
        assert_eq!(
            shown(&recent, now + 7 * SEC),
            ["2", "3"],
            "who types says so again"
        );
        assert!(shown(&recent, now + LASTS).is_empty());
        recent.note(About::Cursors(bob), event("g_1", "8"), now + LASTS);
        assert_eq!(
            (shown(&recent, now + LASTS), recent.order.len()),
            (vec!["8".to_owned()], 1)
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let now = Instant::now();
        let mut recent = Recent::default();
        for n in 0..3 * MOST {
            let user = format!("u{}", n % 5_000).parse().unwrap();
            recent.note(About::Cursors(user), event("g_1", "x"), now + SEC);
        }
        assert!(recent.order.len() <= MOST && recent.convs.values().flatten().count() <= MOST);
    }
}
