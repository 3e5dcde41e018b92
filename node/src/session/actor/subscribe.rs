//! Subscriptions of a session: to the user's conversations at the [start](crate::session::following), later to those
//! that are opened or joined.
//!
//! The order of steps is the promise: subscribe first, then read, then deliver the events in between. So the live events
//! of a conversation continue exactly at the end of the view that the client received.

use std::rc::Rc;

use actix::Context;
use bytes::Bytes;
use protocol::event::{ActivityEvent, Event};
use protocol::response::ConversationSnapshot;
use protocol::{ClientMessageId, ConversationId, Response};

use super::Session;
use super::pending_snapshot::{PendingSnapshot, SnapshotFailure, SnapshotForm, SnapshotTarget};
use crate::commands::users_of_conversation;
use crate::session::delivery::{EventSubscriber, LATEST};
use crate::session::following::{AGAIN, retrying};
use crate::session::retry_budget::with_retries;
use crate::session::transport_policy::RefusalPolicy;
use crate::session::worker_context::WorkerContext;
use crate::session::{auto_subscribe, catch_up};
use crate::shard_client::{CommandAck, CommandError};
use crate::state_machine::{EventEnvelope, LoggedEvent};
use crate::subscription::Subscriber;

/// Events behind a `conv` that are pushed at once; more are delivered as fast as the client reads.
const FOLLOWERS: usize = 64;

// === impl Session: subscribe ===

impl Session {
    /// Sends a conversation to the client and follows it from there.
    pub(super) fn show(
        &mut self,
        ctx: &mut Context<Session>,
        conv: ConversationId,
        have: Option<u64>,
        target: SnapshotTarget,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        // Buffering starts first: an event may arrive before the subscription's result.
        let is_new = feed.begin(&conv);
        let snapshot = PendingSnapshot::new(conv, target, is_new);
        let command = (self.worker.clone(), feed, snapshot.conversation().clone());
        let (is_whole, timeout) = (snapshot.is_whole(), snapshot.timeout());
        // The side table belongs to responses: an event has no names.
        let (policy, with_users) = match snapshot.form() {
            SnapshotForm::Response(_) => (self.policy.reader.temporary, true),
            // Events are retried without a limit, whatever the transport.
            SnapshotForm::Event | SnapshotForm::Activity => (RefusalPolicy::Answer, false),
        };
        let view = with_retries(policy, command, move |(worker, feed, name)| async move {
            if is_new {
                // Subscribed before the view is read: an event in between is buffered instead of lost.
                worker.hub.subscribe(&name, feed.clone()).await?;
            } else {
                // The same holds for a subscription of the session that another request has begun: events between
                // an earlier view and its first one would be in neither.
                feed.pending_subscription(&name).await;
            }
            let mut view = if is_whole {
                auto_subscribe::view(&worker.conversations, feed.user_id(), &name).await?
            } else {
                worker.conversations.open(feed.user_id(), &name, have).await?
            };
            if with_users {
                view.users = worker.conversations.cards(users_of_conversation(&view)).await;
            }
            Ok(view)
        });
        let view = async move {
            match timeout {
                Some(timeout) => {
                    let late = |_| Err(CommandError::unavailable());
                    tokio::time::timeout(timeout, view).await.unwrap_or_else(late)
                }
                None => view.await,
            }
        };
        if !snapshot.is_activity() {
            self.limits.begin_query();
        }
        self.wait(ctx, view, move |session, ctx, view| {
            session.on_view(ctx, snapshot, view);
            session.schedule_backlog();
        });
    }

    /// Delivers a conversation that was read, or handles the refusal of the read.
    fn on_view(
        &mut self,
        ctx: &mut Context<Session>,
        mut snapshot: PendingSnapshot,
        view: Result<ConversationSnapshot, CommandError>,
    ) {
        if !snapshot.is_activity() {
            self.limits.end_query();
        }
        // Before the snapshot: the client knows the command's result when it receives the conversation.
        if let Some((id, cid, done)) = snapshot.take_ack() {
            self.acknowledge(id, cid, done);
        }
        let Some(feed) = self.subscriber() else {
            return;
        };
        if snapshot.is_activity() {
            self.delivery.end_activity();
        }
        let conv = snapshot.conversation().clone();
        match view {
            Ok(view) => {
                self.deliver_snapshot(&feed, &snapshot, view);
                if snapshot.is_new() {
                    // The new subscription becomes the most recent one, so the eviction cannot remove it.
                    feed.touch(&conv);
                    self.make_room(&feed);
                }
            }
            Err(refusal) => {
                // Undone only if it began here: otherwise another request owns the subscription.
                if snapshot.is_new() {
                    feed.end(&conv);
                    self.worker.hub.unsubscribe(&conv, self.tag);
                }
                match snapshot.fail(refusal) {
                    SnapshotFailure::Refuse(id, refusal) => self.refuse(id, refusal),
                    SnapshotFailure::FollowLater => self.follow_later(ctx, conv),
                    SnapshotFailure::AnnounceLater => self.bring_in_later(ctx, conv),
                    SnapshotFailure::Ignore => {}
                }
            }
        }
    }

    fn deliver_snapshot(
        &self,
        feed: &EventSubscriber,
        snapshot: &PendingSnapshot,
        view: ConversationSnapshot,
    ) {
        let (conv, last) = (snapshot.conversation(), view.last);
        // The view first: the live events continue behind it.
        match snapshot.form() {
            SnapshotForm::Event => return self.send_snapshot(conv, view, snapshot.is_new()),
            SnapshotForm::Response(id) => self.answer(id, &Response::Conv(view)),
            SnapshotForm::Activity => {
                let event = Event::Activity(ActivityEvent {
                    conversation: conv.clone(),
                    last,
                });
                feed.push(Bytes::from(event.tail()), None);
                feed.track_position(conv, 0);
            }
        }
        if snapshot.is_new() {
            feed.go_live(conv, last.seq);
        }
    }

    /// Sends a conversation as an event, followed by the events since. Many events are delivered as fast as the client
    /// reads.
    fn send_snapshot(&self, conv: &ConversationId, view: ConversationSnapshot, fresh: bool) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let last = view.last.seq;
        let (view, followers) = auto_subscribe::split_snapshot(view, feed.user_id());
        let last_seq = view.last.seq;
        feed.push(Bytes::from(Event::Conv(view).tail()), Some((conv, last_seq)));
        // All at once they would overflow the outbound queue.
        if fresh && followers.len() > FOLLOWERS {
            feed.known_up_to(conv, last_seq);
            let (worker, feed, conv) = (self.worker.clone(), feed.clone(), conv.clone());
            return self.work(async move { catch_up::carry(&worker, &feed, &conv, last_seq).await });
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
