//! Initial subscriptions of a session: the user's conversations with the latest messages.
//!
//! There may be a thousand, and none of that work may delay the client's queries. The conversations that a query names are
//! subscribed to at once and together, whatever else is in progress. The others, unless they are few, are subscribed to a
//! page at a time, each page after a pause. The subscriptions of a page share the requests to the owners of its shards.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::ConversationId;
use tokio::time::Instant;

use super::delivery::EventSubscriber;
use super::worker_context::WorkerContext;
use crate::state_machine::PlacedEntry;
use crate::state_machine::query::INDEX_LIMIT;

/// Up to this number all are subscribed to at once: the first query names all of them.
const FEW: usize = 16;
/// Conversations of a page, and the bound of those in progress: two in a request to the owner of each of 32 shards.
const TURN: usize = 64;
/// Pause before each page. Also before the first, because the client's first query arrives at that moment. A thousand
/// conversations without a query are subscribed to after two thirds of a second, at a small share of a core.
const PAUSE: Duration = Duration::from_millis(40);
/// Delay before a failed subscription is retried.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// Schedule of the initial subscriptions. Pure: time is an argument.
struct Turns {
    left: HashSet<ConversationId>,
    order: std::vec::IntoIter<ConversationId>,
    due: Instant,
}

/// Subscribes to the user's conversations with the latest messages, in that order. Retries until all are subscribed to,
/// or the session ends.
pub(super) async fn follow_all(worker: Rc<WorkerContext>, feed: Rc<EventSubscriber>) {
    let mut missing = list_latest(&worker, &feed).await;
    // Begun in reverse: the conversation that begins last gets the highest rank and is evicted last.
    let fresh: Vec<bool> = missing.iter().rev().map(|conv| feed.begin(conv)).collect();
    let mut fresh = fresh.into_iter().rev();
    // The client itself opens the others at this moment.
    let (begun, mut opened): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|_| fresh.next().unwrap_or(false));
    // From here on only queries about these conversations wait.
    feed.plans(&begun);
    missing = follow_some(&worker, &feed, begun, |conv, as_of| feed.go_live(&conv, as_of)).await;
    // After the first round: queries must not wait for a shard that has no owner.
    feed.set_ready();
    loop {
        // A temporarily refused `open` ends its subscription, although the user is a member: without another attempt the
        // session would receive nothing of that conversation.
        opened.retain(|conv| feed.is_opening(conv) || !feed.follows(conv));
        missing.extend(opened.iter().filter(|conv| feed.begin(conv)).cloned());
        opened.retain(|conv| !missing.contains(conv));
        if missing.is_empty() && opened.is_empty() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
        let mut late = Vec::new();
        missing = follow_some(&worker, &feed, missing, |conv, as_of| late.push((conv, as_of))).await;
        // Together, behind one `resync`: the client's `sync` may have been answered before they were live.
        feed.go_live_late(&late);
    }
}

/// Lists the conversations with the latest messages, in that order, at most `limits.subscriptions_per_session`.
pub(super) async fn list_latest(
    worker: &Rc<WorkerContext>,
    feed: &Rc<EventSubscriber>,
) -> Vec<ConversationId> {
    let most = worker.config.limits.subscriptions_per_session;
    let mut convs: Vec<ConversationId> = Vec::new();
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
    // A conversation may move between two pages and be listed twice.
    let mut known = HashSet::new();
    convs.retain(|conv| known.insert(conv.clone()));
    convs
}

/// Reads a page of the user's conversation list; retries until an owner answers.
pub(super) async fn retrying(
    worker: &Rc<WorkerContext>,
    feed: &Rc<EventSubscriber>,
    from: Option<(u64, ConversationId)>,
    limit: usize,
) -> Vec<PlacedEntry> {
    loop {
        match worker
            .conversations
            .latest(feed.user_id(), from.clone(), limit)
            .await
        {
            Ok(found) => return found,
            // Retried without a limit: without the list the session would miss conversations. The end of the session
            // drops this future.
            Err(refusal) => {
                tracing::debug!(%refusal, "conversation list query failed, will retry");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Subscribes to each conversation, which also proves the membership. Returns those that have to be retried.
async fn follow_some(
    worker: &Rc<WorkerContext>,
    feed: &Rc<EventSubscriber>,
    convs: Vec<ConversationId>,
    mut subscribed_as_of: impl FnMut(ConversationId, u64),
) -> Vec<ConversationId> {
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
                    // Queries stop waiting; the `resync` of the retry covers the events in between.
                    feed.stands(&conv);
                    again.push(conv);
                }
                // A refusal for good: the list may lag behind a removal.
                Err(_) => feed.end(&conv),
            },
            () = feed.asking() => {}
            () = tokio::time::sleep_until(turns.due), if !turns.are_over() => {}
        }
    }
}

// === impl Turns ===

impl Turns {
    fn new(convs: Vec<ConversationId>, now: Instant) -> Turns {
        Turns {
            left: convs.iter().cloned().collect(),
            due: if convs.len() > FEW { now + PAUSE } else { now },
            order: convs.into_iter(),
        }
    }

    /// Returns what is subscribed to now: all that a query names and, when the pause is over, the next page of the others.
    fn next(
        &mut self,
        asked: impl Iterator<Item = ConversationId>,
        under_way: usize,
        now: Instant,
    ) -> Vec<ConversationId> {
        let mut next: Vec<ConversationId> = asked.filter(|conv| self.left.remove(conv)).collect();
        if now >= self.due {
            let room = TURN.saturating_sub(under_way + next.len());
            let others = self.order.by_ref().filter(|conv| self.left.remove(conv));
            next.extend(others.take(room));
            self.due = now + PAUSE;
        }
        next
    }

    /// Returns true once every conversation was returned.
    fn are_over(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convs(numbers: impl IntoIterator<Item = usize>) -> Vec<ConversationId> {
        let conv = |n| ConversationId::parse(&format!("g_{n}")).unwrap();
        numbers.into_iter().map(conv).collect()
    }

    #[test]
    fn queried_conversations_are_followed_at_once() {
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
                let named: HashSet<ConversationId> = convs(asked.clone()).into_iter().collect();
                let next = turns.next(convs(asked).into_iter(), under_way, now);
                others += next.iter().filter(|conv| !named.contains(*conv)).count();
                prop_assert!(others as u64 <= TURN as u64 * pauses);
                begun.extend(next);
            }
            prop_assert!(turns.are_over());
            let distinct: HashSet<&ConversationId> = begun.iter().collect();
            prop_assert_eq!((begun.len(), distinct.len()), (count, count));
        }
    }
}
