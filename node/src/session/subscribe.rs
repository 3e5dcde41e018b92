//! Subscriptions of a session: to the user's conversations at the [start](super::following), later to those that are
//! opened or joined.
//!
//! The order of steps is the promise: subscribe first, then read, then deliver what came in between. So the live events
//! of a conversation continue exactly at the end of the view that the client received.

use std::rc::Rc;
use std::time::Duration;

use actix::Context;
use bytes::Bytes;
use futures::StreamExt;
use protocol::answer::ConversationSnapshot;
use protocol::event::{ActivityEvent, Event};
use protocol::{ClientMessageId, ConversationId, Response};

use super::actor::Session;
use super::auto_subscribe;
use super::delivery::{EventSubscriber, LATEST};
use super::following::{AGAIN, follow_all, retrying};
use super::worker_context::WorkerContext;
use crate::shard_client::{CommandAck, CommandError};
use crate::state_machine::{EventEnvelope, LoggedEvent, MembershipSpan};
use crate::subscription::Subscriber;

/// Concurrent subscriptions per session while a transferred session catches up.
const AT_ONCE: usize = 64;
/// Events behind a `conv` that are pushed at once; more are delivered as fast as the client reads.
const FOLLOWERS: usize = 64;
/// Interval at which catch-up checks a full outbound queue.
const FULL: Duration = Duration::from_millis(20);

/// Maximum time that the `ack` of a joining command waits for the subscription. The command is committed: a failing
/// owner must not make it look undone.
const ACK_WAITS: Duration = Duration::from_secs(2);

/// Form in which the client receives a conversation.
pub(super) enum SnapshotTarget {
    /// As the response to this command.
    Answer(Option<i64>),
    /// As the response to the command that created it, with all its events.
    Made(Option<i64>),
    Event,
    /// As an event behind the `ack` of the command that made the user a member. After that `ack` the client misses no
    /// event.
    EventAndAck(Option<i64>, ClientMessageId, CommandAck),
    /// As an `activity` event, which has the last position and nothing else.
    Activity,
}

// === impl Session: subscribe ===

impl Session {
    /// Sends a conversation to the client and follows it from there.
    pub(super) fn show(
        &mut self,
        ctx: &mut Context<Session>,
        conv: ConversationId,
        have: Option<u64>,
        deliver: SnapshotTarget,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        // Buffering starts first: an event may arrive before the subscription's result.
        let fresh = feed.begin(&conv);
        let (worker, name) = (self.worker.clone(), conv.clone());
        let waits = matches!(deliver, SnapshotTarget::EventAndAck(..));
        let whole = !matches!(deliver, SnapshotTarget::Answer(_) | SnapshotTarget::Activity);
        let view = async move {
            if fresh {
                // Subscribed before the view is read: an event in between is buffered instead of lost.
                worker.hub.subscribe(&name, feed.clone()).await?;
            }
            if whole {
                auto_subscribe::view(&worker.conversations, feed.user_id(), &name).await
            } else {
                worker.conversations.open(feed.user_id(), &name, have).await
            }
        };
        let view = async move {
            // The command is committed: its `ack` must not wait for a shard without an owner.
            if waits {
                let late = |_| Err(CommandError::unavailable());
                tokio::time::timeout(ACK_WAITS, view).await.unwrap_or_else(late)
            } else {
                view.await
            }
        };
        let activity = matches!(deliver, SnapshotTarget::Activity);
        // Activity is no command of the client and does not count against its in-flight limit.
        if !activity {
            self.limits.begin_query();
        }
        self.wait(ctx, view, move |session, ctx, view| {
            if !activity {
                session.limits.end_query();
            }
            let deliver = match deliver {
                SnapshotTarget::EventAndAck(id, cid, done) => {
                    // The `ack` is due whether or not the subscription succeeded.
                    session.acknowledge(id, cid, done);
                    SnapshotTarget::Event
                }
                deliver => deliver,
            };
            let Some(feed) = session.subscriber() else {
                return;
            };
            if activity {
                session.delivery.end_activity();
            }
            match view {
                Ok(view) => {
                    let last = view.last.s;
                    match deliver {
                        SnapshotTarget::Answer(id) | SnapshotTarget::Made(id) => {
                            // The view first: the live events continue behind it.
                            session.answer(id, &Response::Conv(view));
                            if fresh {
                                feed.go_live(&conv, last);
                            }
                        }
                        SnapshotTarget::Activity => {
                            let event = Event::Activity(ActivityEvent {
                                c: conv.clone(),
                                last: view.last,
                            });
                            feed.push(Bytes::from(event.tail()), None);
                            if fresh {
                                feed.go_live(&conv, last);
                            }
                        }
                        SnapshotTarget::Event | SnapshotTarget::EventAndAck(..) => {
                            session.send_snapshot(&conv, view, fresh)
                        }
                    }
                    if fresh {
                        // The new subscription becomes the most recent one, so the eviction cannot remove it.
                        feed.touch(&conv);
                        session.make_room(&feed);
                    }
                }
                Err(refusal) => {
                    // Undone only if it began here: otherwise another request owns the subscription.
                    if fresh {
                        feed.end(&conv);
                        session.worker.hub.unsubscribe(&conv, session.tag);
                    }
                    match deliver {
                        SnapshotTarget::Answer(id) | SnapshotTarget::Made(id) => session.refuse(id, refusal),
                        SnapshotTarget::Activity if refusal.code.temporary() => {
                            session.bring_in_later(ctx, conv)
                        }
                        SnapshotTarget::Activity => {}
                        _ if refusal.code.temporary() => session.follow_later(ctx, conv),
                        _ => {}
                    }
                }
            }
            session.schedule_backlog();
        });
    }

    /// Sends a conversation as an event, followed by the events since. Many events are delivered as fast as the client
    /// reads.
    fn send_snapshot(&self, conv: &ConversationId, view: ConversationSnapshot, fresh: bool) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let last = view.last.s;
        let (view, followers) = auto_subscribe::split_snapshot(view, feed.user_id());
        let last_seq = view.last.s;
        feed.push(Bytes::from(Event::Conv(view).tail()), Some((conv, last_seq)));
        // All at once they would overflow the outbound queue.
        if fresh && followers.len() > FOLLOWERS {
            feed.known_up_to(conv, last_seq);
            let (worker, feed, conv) = (self.worker.clone(), feed.clone(), conv.clone());
            return self.work(async move { carry(&worker, &feed, &conv, last_seq).await });
        }
        for (s, tail) in followers {
            feed.follower(&EventEnvelope::replay(conv.clone(), LoggedEvent { s, tail }));
        }
        if fresh {
            feed.go_live(conv, last);
        }
    }

    /// Introduces a conversation that the user joined by a command of this session, and acknowledges the command.
    pub(super) fn follow_and_acknowledge(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        cid: ClientMessageId,
        done: CommandAck,
    ) {
        let conv = done.conv.clone();
        let known = self.subscriber().is_some_and(|feed| feed.follows(&conv));
        if known {
            self.acknowledge(id, cid, done);
        } else {
            self.show(ctx, conv, Some(0), SnapshotTarget::EventAndAck(id, cid, done));
        }
    }

    /// Introduces a conversation that is new to the session, with all events since the user joined.
    pub(super) fn follow(&mut self, ctx: &mut Context<Session>, conv: ConversationId) {
        let known = self.subscriber().is_some_and(|feed| feed.follows(&conv));
        if !known {
            self.show(ctx, conv, Some(0), SnapshotTarget::Event);
        }
    }

    /// Introduces the conversations that the user joined.
    pub(super) fn follow_joined(&mut self, ctx: &mut Context<Session>) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        for conv in feed.take_joined() {
            self.show(ctx, conv, Some(0), SnapshotTarget::Event);
        }
        self.follow_active(ctx);
    }

    /// Subscribes to conversations in which messages were sent, and sends `activity` for each. The least recently
    /// active subscriptions make room. See docs/decisions/0017-conversations-by-activity.md.
    fn follow_active(&mut self, ctx: &mut Context<Session>) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let active = self.delivery.take_active();
        let missed = feed.take_unread().map(|from| (feed.clone(), from));
        for conv in active {
            self.show(ctx, conv, None, SnapshotTarget::Activity);
        }
        if let Some((feed, from)) = missed {
            self.work(read_on(self.worker.clone(), feed, from));
        }
    }

    /// Ends the least recently active subscriptions while there are more than `limits.subscriptions_per_session`.
    fn make_room(&self, feed: &EventSubscriber) {
        while let Some(conv) = feed.make_room(self.worker.config.limits.subscriptions_per_session) {
            self.worker.hub.unsubscribe(&conv, self.tag);
        }
    }

    fn bring_in_later(&mut self, ctx: &mut Context<Session>, conv: ConversationId) {
        self.wait(ctx, tokio::time::sleep(AGAIN), |session, ctx, ()| {
            session.bring_in(ctx, conv);
        });
    }

    /// Subscribes to a conversation that the client has but the session does not follow.
    pub(super) fn bring_in(&mut self, ctx: &mut Context<Session>, conv: ConversationId) {
        // Not before the session is ready: the initial subscriptions may still include the conversation.
        if let Some(feed) = self.subscriber()
            && feed.is_ready()
            && !feed.follows(&conv)
        {
            self.delivery.begin_activity();
            self.show(ctx, conv, None, SnapshotTarget::Activity);
        }
    }

    fn follow_later(&mut self, ctx: &mut Context<Session>, conv: ConversationId) {
        self.wait(ctx, tokio::time::sleep(AGAIN), |session, ctx, ()| {
            session.follow(ctx, conv)
        });
    }
}

/// Reads the user's conversation list behind `from` for activity that was not announced.
async fn read_on(worker: Rc<WorkerContext>, feed: Rc<EventSubscriber>, from: (u64, ConversationId)) {
    let found = retrying(&worker, &feed, Some(from), LATEST).await;
    feed.latest(&found);
}

/// Follows the conversations of a session that this one goes on with, each from where that one was, and introduces those
/// that it has not come to.
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

/// Catches up a conversation of which the client has the events up to `from`. The owner returns the missed events as
/// far as the user's membership goes. The catch-up ends with the event that removes the user, if there is one. If
/// missed events were trimmed from the log, the client gets `resync` and continues at the position of the subscription.
async fn carry(worker: &Rc<WorkerContext>, feed: &Rc<EventSubscriber>, conv: &ConversationId, from: u64) {
    // Subscribed before the log is read: later events are buffered, so none falls between the two.
    let subscribed = loop {
        match worker.hub.subscribe(conv, feed.clone()).await {
            Err(refusal) if refusal.code.temporary() => tokio::time::sleep(AGAIN).await,
            result => break result.ok(),
        }
    };
    let mut at = from;
    loop {
        let missed = match worker.conversations.missed(feed.user_id(), conv, at).await {
            Ok(missed) => missed,
            Err(refusal) if refusal.code.temporary() => {
                tracing::debug!(%conv, %refusal, "catch-up of a session failed, will retry");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(_) => return end(worker, feed, conv, false),
        };
        let again = missed.membership == MembershipSpan::Renewed;
        // The gap may hide the user's removal: only an unchanged membership continues (docs/decisions/0016).
        if missed.gap {
            return match subscribed {
                Some(as_of) if missed.membership == MembershipSpan::Same => feed.carry_over(conv, as_of),
                _ => {
                    feed.ended(conv);
                    end(worker, feed, conv, again);
                }
            };
        }
        for event in missed.events {
            at = event.s;
            if !feed.carry(&EventEnvelope::replay(conv.clone(), event)) {
                // The user was removed. A successful subscription shows that the user is a member again.
                return end(worker, feed, conv, subscribed.is_some());
            }
        }
        // At the client's pace: otherwise the catch-up would overflow the outbound queue.
        while feed.is_above_half() {
            tokio::time::sleep(FULL).await;
        }
        if at < missed.last {
            continue;
        }
        // Everything missed is delivered, but live events need the same membership and a subscription.
        if missed.membership != MembershipSpan::Same || subscribed.is_none() {
            return end(worker, feed, conv, missed.membership == MembershipSpan::Same);
        }
        // Fails if buffered events were lost: these are read from the log in the next round.
        if feed.carried(conv, at) {
            return;
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
