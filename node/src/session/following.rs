//! What a session follows from its start: the conversations of its user with the latest messages.
//!
//! These may be a thousand, and none of that work may stand in front of what the client asks. So the conversations that a
//! question names are subscribed to at once and together, whatever else is under way; the others, unless they are few,
//! wait for their turns, a page at a time behind a pause. A page shares the questions to the owners of its shards.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::ConvId;
use tokio::time::Instant;

use super::feed::Feed;
use super::worker::Worker;
use crate::conversation::timeline::read::Placed;
use crate::rpc::read::INDEX_LIMIT;

/// So few need no turns: a first question names all of them.
const FEW: usize = 16;
/// Of more, so many at a time, and never more under way: two in a question to the owner of each of 32 shards.
const TURN: usize = 64;
/// Pause before each turn, also the first: the first question comes about now. A thousand that nobody asks about stand after
/// two thirds of a second, and cost a small share of a core meanwhile.
const PAUSE: Duration = Duration::from_millis(40);
/// Pause before what failed is tried again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Which conversations begin when. Pure: time is an argument.
struct Turns {
    left: HashSet<ConvId>,
    order: std::vec::IntoIter<ConvId>,
    due: Instant,
}

/// Follows the conversations that the user is in, those with the latest messages, these first. Tries again until all are, or
/// the session ends.
pub(super) async fn follow_all(worker: Rc<Worker>, feed: Rc<Feed>) {
    let mut missing = latest(&worker, &feed).await;
    // The last one to begin counts as the one in which something happened last.
    let fresh: Vec<bool> = missing.iter().rev().map(|conv| feed.begin(conv)).collect();
    let mut fresh = fresh.into_iter().rev();
    // The others are being opened by the client itself.
    let (begun, mut opened): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|_| fresh.next().unwrap_or(false));
    feed.plans(&begun);
    missing = follow_some(&worker, &feed, begun, |conv, as_of| feed.go_live(&conv, as_of)).await;
    feed.settle();
    loop {
        // An `open` that was refused for now has ended its subscription, but the user is in the conversation all the same.
        opened.retain(|conv| feed.is_opening(conv) || !feed.follows(conv));
        missing.extend(opened.iter().filter(|conv| feed.begin(conv)).cloned());
        opened.retain(|conv| !missing.contains(conv));
        if missing.is_empty() && opened.is_empty() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
        let mut late = Vec::new();
        missing = follow_some(&worker, &feed, missing, |conv, as_of| late.push((conv, as_of))).await;
        feed.go_live_late(&late);
    }
}

/// As many conversations as a session follows, those with the latest messages, these first.
async fn latest(worker: &Rc<Worker>, feed: &Rc<Feed>) -> Vec<ConvId> {
    let most = worker.config.limits.subscriptions;
    let mut convs: Vec<ConvId> = Vec::new();
    let mut from = None;
    while convs.len() < most {
        let page = (most - convs.len()).min(INDEX_LIMIT);
        let found = retrying(worker, feed, from.take(), page).await;
        let more = found.len() == page;
        from = found.last().map(|placed| (placed.ms, placed.conv.clone()));
        convs.extend(found.into_iter().map(|placed| placed.conv));
        if !more {
            break;
        }
    }
    // One may have moved between two pages.
    let mut known = HashSet::new();
    convs.retain(|conv| known.insert(conv.clone()));
    convs
}

/// Reads in the list of the user's conversations until somebody answers.
pub(super) async fn retrying(
    worker: &Rc<Worker>,
    feed: &Rc<Feed>,
    from: Option<(u64, ConvId)>,
    limit: usize,
) -> Vec<Placed> {
    loop {
        match worker
            .conversations
            .latest(feed.user_id(), from.clone(), limit)
            .await
        {
            Ok(found) => return found,
            Err(refusal) => {
                tracing::debug!(%refusal, "no index yet");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Subscribes, which proves the membership too. Returns what has to be tried again.
async fn follow_some(
    worker: &Rc<Worker>,
    feed: &Rc<Feed>,
    convs: Vec<ConvId>,
    mut subscribed_as_of: impl FnMut(ConvId, u64),
) -> Vec<ConvId> {
    let mut again = Vec::new();
    let mut turns = Turns::new(convs, Instant::now());
    let mut under_way = FuturesUnordered::new();
    loop {
        let asked = std::iter::from_fn(|| feed.asked());
        let next = turns.next(asked, under_way.len(), Instant::now()).into_iter();
        under_way
            .extend(next.map(|conv| async move { (worker.hub.subscribe(&conv, feed.clone()).await, conv) }));
        if under_way.is_empty() && turns.are_over() {
            return again;
        }
        tokio::select! {
            Some((result, conv)) = under_way.next() => match result {
                Ok(as_of) => subscribed_as_of(conv, as_of),
                Err(refusal) if refusal.code.temporary() => {
                    // Whoever asks about it is told by a resync what came in between.
                    feed.stands(&conv);
                    again.push(conv);
                }
                // The index may lag behind a kick.
                Err(_) => feed.end(&conv),
            },
            () = feed.asking() => {}
            () = tokio::time::sleep_until(turns.due), if !turns.are_over() => {}
        }
    }
}

// === impl Turns ===

impl Turns {
    fn new(convs: Vec<ConvId>, now: Instant) -> Turns {
        Turns {
            left: convs.iter().cloned().collect(),
            due: if convs.len() > FEW { now + PAUSE } else { now },
            order: convs.into_iter(),
        }
    }

    /// What is subscribed to now: all that was asked about, and if it is time, the next of the others.
    fn next(&mut self, asked: impl Iterator<Item = ConvId>, under_way: usize, now: Instant) -> Vec<ConvId> {
        let mut next: Vec<ConvId> = asked.filter(|conv| self.left.remove(conv)).collect();
        if now >= self.due {
            let room = TURN.saturating_sub(under_way + next.len());
            let others = self.order.by_ref().filter(|conv| self.left.remove(conv));
            next.extend(others.take(room));
            self.due = now + PAUSE;
        }
        next
    }

    /// Whether everything has had its turn.
    fn are_over(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convs(numbers: impl IntoIterator<Item = usize>) -> Vec<ConvId> {
        let conv = |n| ConvId::parse(&format!("g_{n}")).unwrap();
        numbers.into_iter().map(conv).collect()
    }

    #[test]
    fn what_is_asked_about_waits_for_no_turn_and_for_nothing_that_is_under_way() {
        let start = Instant::now();
        let mut few = Turns::new(convs(0..FEW), start);
        assert_eq!(few.next(std::iter::empty(), 0, start), convs(0..FEW));
        let mut turns = Turns::new(convs(0..1_000), start);
        let mut ask = || turns.next(convs(500..550).into_iter(), TURN, start);
        assert_eq!(ask(), convs(500..550));
        assert!(ask().is_empty(), "begun already");
        let soon = turns.next(std::iter::empty(), 0, start);
        assert!(soon.is_empty(), "the others pause");
        let first = turns.next(std::iter::empty(), 0, start + PAUSE);
        assert_eq!(first, convs(0..TURN));
        let second = turns.next(std::iter::empty(), TURN, start + 2 * PAUSE);
        assert!(second.is_empty(), "no room");
    }

    proptest! {
        /// Whatever is asked when, and however long it takes: each conversation begins once, and of those that nobody
        /// asked about no more than a turn for each pause.
        #[test]
        fn each_has_one_turn(
            count in 0usize..600,
            steps in prop::collection::vec((0u64..40, prop::collection::vec(0usize..700, 0..30), 0usize..200), 1..40),
        ) {
            let start = Instant::now();
            let mut turns = Turns::new(convs(0..count), start);
            let (mut now, mut begun, mut others, mut pauses) = (start, Vec::new(), 0, 0);
            let rest = std::iter::repeat_n((40, Vec::new(), 0), 600 / TURN + 1);
            for (ms, asked, under_way) in steps.into_iter().chain(rest) {
                now += Duration::from_millis(ms);
                pauses += u64::from(now >= turns.due);
                let named: HashSet<ConvId> = convs(asked.clone()).into_iter().collect();
                let next = turns.next(convs(asked).into_iter(), under_way, now);
                others += next.iter().filter(|conv| !named.contains(*conv)).count();
                prop_assert!(others as u64 <= TURN as u64 * pauses);
                begun.extend(next);
            }
            prop_assert!(turns.are_over());
            let distinct: HashSet<&ConvId> = begun.iter().collect();
            prop_assert_eq!((begun.len(), distinct.len()), (count, count));
        }
    }
}
