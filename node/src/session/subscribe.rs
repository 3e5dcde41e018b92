//! Which conversations a session follows: at the [start](super::following) those that the user is in, then those that are
//! opened or joined.
//!
//! The order of steps is the promise: subscribe first, then read, then pass on what came in between. So the
//! conversation's live events continue exactly where the view that the client got ends.

use std::rc::Rc;
use std::time::Duration;

use actix::Context;
use bytes::Bytes;
use futures::StreamExt;
use protocol::answer::Conv;
use protocol::event::{Activity, Event};
use protocol::{Answer, Cid, ConvId};

use super::actor::{Phase, Session};
use super::feed::{Feed, LATEST};
use super::following::{AGAIN, follow_all, retrying};
use super::introduce;
use super::worker::Worker;
use crate::conversation::timeline::Published;
use crate::conversation::timeline::read::{Logged, Membership};
use crate::conversation::{Done, Refusal};
use crate::relay::Subscriber;

/// Conversations that are carried on at once, per session.
const AT_ONCE: usize = 64;
/// Events behind a `conv` that are pushed at once; more are passed on as fast as the client reads.
const FOLLOWERS: usize = 64;
/// Conversations brought in at once because something was sent there, per session.
const COMING: usize = 16;
/// How often it is looked whether a client has read enough to get more.
const CROWDED: Duration = Duration::from_millis(20);

/// How long the `ack` of the command that brought the user in waits for the subscription. The command is done: an owner
/// that dies just now must not make it look as if it weren't.
const ACK_WAITS: Duration = Duration::from_secs(2);

/// How the client gets to see a conversation.
pub(super) enum Deliver {
    /// As the answer to this question.
    Answer(Option<i64>),
    /// As the answer to the command that made it: with everything that happened in it.
    Made(Option<i64>),
    /// As an event.
    Event,
    /// As an event, behind the `ack` of the command that brought the user in: who has that hears everything from there on.
    EventAndAck(Option<i64>, Cid, Done),
    /// As an event that says how far it is, and nothing else.
    Activity,
}

// === impl Session: subscribe ===

impl Session {
    /// Shows a conversation to the client and follows it from there.
    pub(super) fn show(
        &mut self,
        ctx: &mut Context<Session>,
        conv: ConvId,
        have: Option<u64>,
        deliver: Deliver,
    ) {
        let Phase::Open(open) = &self.phase else { return };
        let feed = open.feed.clone();
        let fresh = feed.begin(&conv);
        let (worker, name) = (self.worker.clone(), conv.clone());
        let waits = matches!(deliver, Deliver::EventAndAck(..));
        let whole = !matches!(deliver, Deliver::Answer(_) | Deliver::Activity);
        let view = async move {
            if fresh {
                worker.hub.subscribe(&name, feed.clone()).await?;
            }
            if whole {
                introduce::view(&worker.conversations, feed.user_id(), &name).await
            } else {
                worker.conversations.open(feed.user_id(), &name, have).await
            }
        };
        let view = async move {
            if waits {
                let late = |_| Err(Refusal::unavailable());
                tokio::time::timeout(ACK_WAITS, view).await.unwrap_or_else(late)
            } else {
                view.await
            }
        };
        let activity = matches!(deliver, Deliver::Activity);
        if !activity {
            self.window.question();
        }
        self.wait(ctx, view, move |session, ctx, view| {
            if !activity {
                session.window.answered();
            }
            let deliver = match deliver {
                Deliver::EventAndAck(id, cid, done) => {
                    session.acknowledge(id, cid, done);
                    Deliver::Event
                }
                deliver => deliver,
            };
            let Phase::Open(open) = &mut session.phase else {
                return;
            };
            open.coming = open.coming.saturating_sub(usize::from(activity));
            let feed = open.feed.clone();
            match view {
                Ok(view) => {
                    let last = view.last.s;
                    match deliver {
                        Deliver::Answer(id) | Deliver::Made(id) => {
                            session.answer(id, &Answer::Conv(view));
                            if fresh {
                                feed.go_live(&conv, last);
                            }
                        }
                        Deliver::Activity => {
                            let event = Event::Activity(Activity {
                                c: conv.clone(),
                                last: view.last,
                            });
                            feed.push(Bytes::from(event.tail()), None);
                            if fresh {
                                feed.go_live(&conv, last);
                            }
                        }
                        Deliver::Event | Deliver::EventAndAck(..) => session.introduce(&conv, view, fresh),
                    }
                    if fresh {
                        feed.touch(&conv);
                        session.make_room(&feed);
                    }
                }
                Err(refusal) => {
                    if fresh {
                        feed.end(&conv);
                        session.worker.hub.unsubscribe(&conv, session.tag);
                    }
                    match deliver {
                        Deliver::Answer(id) | Deliver::Made(id) => session.refuse(id, refusal),
                        Deliver::Activity if refusal.code.temporary() => session.bring_in_later(ctx, conv),
                        Deliver::Activity => {}
                        _ if refusal.code.temporary() => session.follow_later(ctx, conv),
                        _ => {}
                    }
                }
            }
            session.pump_soon();
        });
    }

    /// Shows a conversation as an event, and what happened since as the events it was. Where that is much, it goes as fast
    /// as the client reads.
    fn introduce(&self, conv: &ConvId, view: Conv, fresh: bool) {
        let Phase::Open(open) = &self.phase else { return };
        let feed = &open.feed;
        let last = view.last.s;
        let (view, followers) = introduce::introduce(view, feed.user_id());
        let shown = view.last.s;
        feed.push(Bytes::from(Event::Conv(view).tail()), Some((conv, shown)));
        if fresh && followers.len() > FOLLOWERS {
            feed.known_up_to(conv, shown);
            let (worker, feed, conv) = (self.worker.clone(), feed.clone(), conv.clone());
            return self.work(async move { carry(&worker, &feed, &conv, shown).await });
        }
        for (s, tail) in followers {
            feed.follower(&Published::replay(conv.clone(), Logged { s, tail }));
        }
        if fresh {
            feed.go_live(conv, last);
        }
    }

    /// Shows a conversation that the user came into by a command of this session, and then acknowledges the command.
    pub(super) fn follow_and_acknowledge(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        cid: Cid,
        done: Done,
    ) {
        let conv = done.conv.clone();
        let known = matches!(&self.phase, Phase::Open(open) if open.feed.follows(&conv));
        if known {
            self.acknowledge(id, cid, done);
        } else {
            self.show(ctx, conv, Some(0), Deliver::EventAndAck(id, cid, done));
        }
    }

    /// Shows a conversation that is new to the session, with everything since the user is a member.
    pub(super) fn follow(&mut self, ctx: &mut Context<Session>, conv: ConvId) {
        let known = matches!(&self.phase, Phase::Open(open) if open.feed.follows(&conv));
        if !known {
            self.show(ctx, conv, Some(0), Deliver::Event);
        }
    }

    /// Follows the conversations that the user was made a member of.
    pub(super) fn follow_joined(&mut self, ctx: &mut Context<Session>) {
        let joined = match &self.phase {
            Phase::Open(open) => open.feed.take_joined(),
            Phase::Greeting | Phase::Resuming(_) => return,
        };
        for conv in joined {
            self.show(ctx, conv, Some(0), Deliver::Event);
        }
        self.follow_active(ctx);
    }

    /// Follows the conversations in which something was sent, in the place of the quietest: so a session follows those in
    /// which most happens, and is told of the others.
    fn follow_active(&mut self, ctx: &mut Context<Session>) {
        let Phase::Open(open) = &mut self.phase else {
            return;
        };
        let active = open.feed.take_active(COMING.saturating_sub(open.coming));
        open.coming += active.len();
        let missed = open.feed.take_unread().map(|from| (open.feed.clone(), from));
        for (conv, _) in active {
            self.show(ctx, conv, None, Deliver::Activity);
        }
        if let Some((feed, from)) = missed {
            self.work(read_on(self.worker.clone(), feed, from));
        }
    }

    /// Ends the subscriptions to the quietest conversations while there are too many.
    fn make_room(&self, feed: &Feed) {
        while let Some(conv) = feed.make_room(self.worker.config.limits.subscriptions) {
            self.worker.hub.unsubscribe(&conv, self.tag);
        }
    }

    fn bring_in_later(&mut self, ctx: &mut Context<Session>, conv: ConvId) {
        self.wait(ctx, tokio::time::sleep(AGAIN), |session, ctx, ()| {
            session.bring_in(ctx, conv);
        });
    }

    /// Follows a conversation that the client knows and that was not among those that the session follows.
    pub(super) fn bring_in(&mut self, ctx: &mut Context<Session>, conv: ConvId) {
        if let Phase::Open(open) = &mut self.phase
            && open.feed.is_settled()
            && !open.feed.follows(&conv)
        {
            open.coming += 1;
            self.show(ctx, conv, None, Deliver::Activity);
        }
    }

    fn follow_later(&mut self, ctx: &mut Context<Session>, conv: ConvId) {
        self.wait(ctx, tokio::time::sleep(AGAIN), |session, ctx, ()| {
            session.follow(ctx, conv)
        });
    }
}

/// Reads on in the list of the user's conversations for what the session was not told of.
async fn read_on(worker: Rc<Worker>, feed: Rc<Feed>, from: (u64, ConvId)) {
    let found = retrying(&worker, &feed, Some(from), LATEST).await;
    feed.latest(&found);
}

/// Follows the conversations of a session that this one goes on with, each from where that one was, and introduces those
/// that it has not come to.
pub(super) async fn carry_on(
    worker: Rc<Worker>,
    feed: Rc<Feed>,
    convs: Vec<(ConvId, u64)>,
    coming: Vec<ConvId>,
    settled: bool,
) {
    for (conv, from) in &convs {
        feed.begin_at(conv, Some(*from));
    }
    // So long ago at most, the session that this one goes on with lost its client.
    feed.began_before(worker.config.session.resume_ttl_ms.0);
    if !settled {
        feed.begins(worker.sessions.begins(feed.user_id()));
    } else {
        feed.settle();
        coming.iter().for_each(|conv| feed.joined(conv));
    }
    let carrying = futures::stream::iter(convs).for_each_concurrent(AT_ONCE, |(conv, from)| {
        let (worker, feed) = (worker.clone(), feed.clone());
        async move { carry(&worker, &feed, &conv, from).await }
    });
    let rest = async {
        if settled {
            introduce_missing(&worker, &feed).await;
        } else {
            follow_all(worker.clone(), feed.clone()).await;
        }
    };
    futures::join!(carrying, rest);
}

/// Follows a conversation of which the client has the events up to `from`: what came since is asked of the owner, who
/// answers as far as the user's membership goes. It ends with the event that removes the user, if one does. What is gone
/// can't be passed on: the client is told to sync, and goes on where the subscription was proved.
async fn carry(worker: &Rc<Worker>, feed: &Rc<Feed>, conv: &ConvId, from: u64) {
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
                tracing::debug!(%conv, %refusal, "what a session missed can't be read yet");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            Err(_) => return end(worker, feed, conv, false),
        };
        let again = missed.membership == Membership::Renewed;
        if missed.gap {
            return match subscribed {
                Some(as_of) if missed.membership == Membership::Same => feed.carry_over(conv, as_of),
                _ => {
                    feed.ended(conv);
                    end(worker, feed, conv, again);
                }
            };
        }
        for event in missed.events {
            at = event.s;
            if !feed.carry(&Published::replay(conv.clone(), event)) {
                // Put out, and perhaps brought in again.
                return end(worker, feed, conv, subscribed.is_some());
            }
        }
        while feed.is_crowded() {
            tokio::time::sleep(CROWDED).await;
        }
        if at < missed.last {
            continue;
        }
        if missed.membership != Membership::Same || subscribed.is_none() {
            return end(worker, feed, conv, missed.membership == Membership::Same);
        }
        if feed.carried(conv, at) {
            return;
        }
    }
}

/// Follows the conversation no more. `again`: the user is in it, so it is new to the session.
fn end(worker: &Rc<Worker>, feed: &Rc<Feed>, conv: &ConvId, again: bool) {
    feed.end(conv);
    worker.hub.unsubscribe(conv, feed.tag());
    if again {
        feed.joined(conv);
    }
}

/// Has the session look for what it was not told of while it was on its way.
async fn introduce_missing(worker: &Rc<Worker>, feed: &Rc<Feed>) {
    let found = retrying(worker, feed, None, LATEST).await;
    feed.latest(&found);
}
