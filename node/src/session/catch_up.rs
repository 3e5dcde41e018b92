//! Catch-up of a resumed session: each conversation continues from the position of the resumed session.
//!
//! The order of steps is the promise: subscribe first, then read the log, then deliver the events in between. So the
//! live events of a conversation continue exactly at the last event that the client has. See docs/delivery.md, "The way
//! to the receivers".

use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt;
use protocol::ConversationId;

use super::delivery::{EventSubscriber, LATEST};
use super::following::{AGAIN, follow_all, list_latest, retrying};
use super::worker_context::WorkerContext;
use crate::state_machine::query::{Missed, SinceQuery};
use crate::state_machine::{EventEnvelope, MembershipSpan};
use crate::subscription::Subscriber;

/// Concurrent subscriptions per session while a transferred session catches up.
const AT_ONCE: usize = 64;
/// Interval at which catch-up checks a full outbound queue.
const FULL: Duration = Duration::from_millis(20);

/// Page of missed events without the events themselves.
#[derive(Clone, Copy, Debug)]
struct MissedPage {
    has_gap: bool,
    /// Position of the last event visible to the user.
    last: u64,
    membership: MembershipSpan,
}

/// Step of a catch-up after the events of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CatchUpStep {
    ReadOn,
    /// Nothing is missing: live events follow.
    GoLive,
    /// Events were trimmed: live events follow from this position, behind a `resync`.
    ResyncAt(u64),
    /// The session stops following the conversation. `is_member`: it introduces the conversation as a new one.
    End {
        has_gap: bool,
        is_member: bool,
    },
}

/// Follows the conversations of a resumed session, each from that session's position, and introduces those that it has
/// not introduced yet.
pub(super) async fn carry_on(
    worker: Rc<WorkerContext>,
    feed: Rc<EventSubscriber>,
    convs: Vec<(ConversationId, u64)>,
    coming: Vec<ConversationId>,
    confirmed: bool,
) {
    // Begun before the first await: nothing else may begin them without their positions.
    for (conv, from) in &convs {
        feed.begin_at(conv, Some(*from));
    }
    // The resumed session can have been detached for at most this time.
    feed.began_before(worker.config.session.resume_timeout.as_millis());
    // The initial list was not complete, so it is read anew.
    if !confirmed {
        feed.begins(worker.sessions.begins(feed.user_id()));
    } else {
        feed.set_ready();
        coming.iter().for_each(|conv| feed.joined(conv));
    }
    let carrying = futures::stream::iter(convs).for_each_concurrent(AT_ONCE, |(conv, from)| {
        let (worker, feed) = (worker.clone(), feed.clone());
        async move { carry(&worker, &feed, &conv, from).await }
    });
    let rest = async {
        if confirmed {
            send_missing_snapshots(&worker, &feed).await;
        } else {
            follow_all(worker.clone(), feed.clone()).await;
        }
    };
    futures::join!(carrying, rest);
}

/// Rebuilds the stream of a session that was lost: each conversation continues behind the position that the client has
/// confirmed, and those without one are introduced, because they may have come later.
pub(super) async fn rebuild(
    worker: Rc<WorkerContext>,
    feed: Rc<EventSubscriber>,
    positions: Vec<(ConversationId, u64)>,
) {
    // Begun before the first await: nothing else may begin them without their positions.
    for (conv, from) in &positions {
        feed.begin_at(conv, Some(*from));
    }
    feed.set_ready();
    let carrying = futures::stream::iter(positions).for_each_concurrent(AT_ONCE, |(conv, from)| {
        let (worker, feed) = (worker.clone(), feed.clone());
        async move { carry(&worker, &feed, &conv, from).await }
    });
    let rest = async {
        let listed = list_latest(&worker, &feed).await;
        for conv in listed.iter().filter(|conv| !feed.follows(conv)) {
            feed.joined(conv);
        }
    };
    futures::join!(carrying, rest);
}

/// Catches up a conversation of which the client has the events up to `from`. The owner returns the missed events as
/// far as the user's membership goes. The catch-up ends with the event that removes the user, if there is one. If
/// missed events were trimmed from the log, the client gets `resync` and continues at the position of the subscription.
pub(super) async fn carry(
    worker: &Rc<WorkerContext>,
    feed: &Rc<EventSubscriber>,
    conv: &ConversationId,
    from: u64,
) {
    // Subscribed before the log is read: later events are buffered, so none falls between the two.
    let subscribed = loop {
        match worker.hub.subscribe(conv, feed.clone()).await {
            Err(refusal) if refusal.code.temporary() => tokio::time::sleep(AGAIN).await,
            result => break result.ok(),
        }
    };
    let mut at = from;
    loop {
        let question = SinceQuery {
            conv: conv.clone(),
            user: feed.user_id().clone(),
            after: at,
        };
        let missed = match worker.conversations.query(&question).await {
            Ok(missed) => missed,
            Err(refusal) if refusal.code.temporary() => {
                tracing::debug!(%conv, %refusal, "catch-up of a session failed, will retry");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(_) => return end(worker, feed, conv, false),
        };
        let page = MissedPage::of(&missed);
        for event in missed.events {
            at = event.s;
            if !feed.carry(&EventEnvelope::replay(conv.clone(), event)) {
                // The user was removed. A successful subscription shows that the user is a member again.
                return end(worker, feed, conv, subscribed.is_some());
            }
        }
        // At the client's pace: otherwise the catch-up would overflow the outbound queue.
        while !page.has_gap && feed.is_above_half() {
            tokio::time::sleep(FULL).await;
        }
        match page.next_step(at, subscribed) {
            CatchUpStep::ReadOn => {}
            CatchUpStep::ResyncAt(as_of) => return feed.carry_over(conv, as_of),
            CatchUpStep::End { has_gap, is_member } => {
                if has_gap {
                    feed.ended(conv);
                }
                return end(worker, feed, conv, is_member);
            }
            // Fails if buffered events were lost: these are read from the log in the next round.
            CatchUpStep::GoLive => {
                if feed.carried(conv, at) {
                    return;
                }
            }
        }
    }
}

/// Stops following the conversation. `again`: the user is a member, so it is introduced as a new one.
fn end(worker: &Rc<WorkerContext>, feed: &Rc<EventSubscriber>, conv: &ConversationId, again: bool) {
    feed.end(conv);
    worker.hub.unsubscribe(conv, feed.tag());
    if again {
        feed.joined(conv);
    }
}

/// Reads the top of the user's conversation list for activity that was missed during the transfer.
async fn send_missing_snapshots(worker: &Rc<WorkerContext>, feed: &Rc<EventSubscriber>) {
    let found = retrying(worker, feed, None, LATEST).await;
    feed.latest(&found);
}

// === impl MissedPage ===

impl MissedPage {
    fn of(missed: &Missed) -> MissedPage {
        MissedPage {
            has_gap: missed.gap,
            last: missed.last,
            membership: missed.membership,
        }
    }

    /// Returns the step after the events of this page, the last of which is `at`. `subscribed`: position of the
    /// subscription; `None` if it was refused.
    fn next_step(self, at: u64, subscribed: Option<u64>) -> CatchUpStep {
        let continues = self.membership == MembershipSpan::Same;
        match subscribed {
            // The gap may hide the user's removal: only an unchanged membership continues (docs/decisions/0016).
            Some(as_of) if self.has_gap && continues => CatchUpStep::ResyncAt(as_of),
            _ if self.has_gap => CatchUpStep::End {
                has_gap: true,
                is_member: self.membership == MembershipSpan::Renewed,
            },
            _ if at < self.last => CatchUpStep::ReadOn,
            // Everything missed is delivered, but live events need the same membership and a subscription.
            Some(_) if continues => CatchUpStep::GoLive,
            _ => CatchUpStep::End {
                has_gap: false,
                is_member: continues,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MembershipSpan::{Over, Renewed, Same};

    fn step(has_gap: bool, membership: MembershipSpan, at: u64, subscribed: Option<u64>) -> CatchUpStep {
        let page = MissedPage {
            has_gap,
            last: 9,
            membership,
        };
        page.next_step(at, subscribed)
    }

    fn end(has_gap: bool, is_member: bool) -> CatchUpStep {
        CatchUpStep::End { has_gap, is_member }
    }

    #[test]
    fn pages_are_read_until_the_last_visible_event() {
        assert_eq!(step(false, Same, 8, Some(9)), CatchUpStep::ReadOn);
        assert_eq!(step(false, Over, 8, None), CatchUpStep::ReadOn);
        assert_eq!(step(false, Same, 9, Some(9)), CatchUpStep::GoLive);
    }

    #[test]
    fn only_an_unchanged_membership_continues_behind_a_gap() {
        assert_eq!(step(true, Same, 3, Some(9)), CatchUpStep::ResyncAt(9));
        assert_eq!(step(true, Renewed, 3, Some(9)), end(true, true));
        assert_eq!(step(true, Over, 3, Some(9)), end(true, false));
        assert_eq!(step(true, Same, 3, None), end(true, false));
    }

    #[test]
    fn ended_membership_or_refused_subscription_has_no_live_events() {
        assert_eq!(step(false, Over, 9, Some(9)), end(false, false));
        assert_eq!(step(false, Renewed, 9, Some(9)), end(false, false));
        assert_eq!(step(false, Same, 9, None), end(false, true));
    }
}
