//! Changes of conversations: a `send` passes the session's checks of rate, size and order, and is submitted to its
//! conversation; the other changes pass the check of the rate. The results are handled here too.
//!
//! Spine: step 3 of 13. Previous: `protocol: command`. Next: `node: shard_client/command_queue`.
//!
//! Queue: the session's backlog (`intake`) in front of this step. Bound: the commands of one read of the socket. While
//! it holds a command the reader does not read, so TCP slows the client down. Metric: `session_backlog`.

use std::rc::Rc;
use std::time::Instant;

use actix::Context;
use protocol::command::SendMessage;
use protocol::response::OkResponse;
use protocol::{ClientCommand, ClientMessageId, ConversationId, ErrorCode, Response};

use super::Session;
use super::pending_change::{ChangeEffect, PendingChange};
use super::pending_send::{EchoUpdate, PendingSend, SendEffect};
use crate::commands::ConversationChange;
use crate::session::delivery::EventSubscriber;
use crate::session::retry_budget::{RetryBudget, retry_delay, with_retries};
use crate::shard_client::{CommandAck, CommandError};

/// Send without a result.
struct UnansweredSend {
    id: Option<i64>,
    /// Position in the order of dispatch.
    number: u64,
    pending: PendingSend,
}

/// Copy of a send for its repetitions.
struct SendRepetition {
    change: ConversationChange,
    budget: RetryBudget,
}

/// Send that the session repeats after a temporary refusal.
pub(super) struct RefusedSend {
    send: UnansweredSend,
    repetition: SendRepetition,
}

/// Origin of an attempt at a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendAttempt {
    First,
    /// By the retry queue, which waits for the result.
    Repeated,
}

// === impl Session: send ===

impl Session {
    pub(super) fn publish(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        send: SendMessage,
        bytes: usize,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let (user, now) = (feed.user_id().clone(), Instant::now());
        let Some(mut pending) = PendingSend::of(&user, &send, bytes, now) else {
            return;
        };
        if let Err(refusal) = self.limits.admit_send(pending.conversation(), pending.cid(), now) {
            return self.refuse(id, refusal);
        }
        let change =
            match ConversationChange::send(&user, send, self.worker.config.limits.max_body_size.as_usize()) {
                Ok(change) => change,
                Err(refusal) => return self.refuse(id, refusal),
            };
        pending.set_followed(feed.follows(pending.conversation()));
        if !pending.has_echo() {
            // Before the submit: the event may arrive earlier than the result.
            feed.hush(pending.conversation(), pending.cid());
        }
        self.limits.begin_change(bytes);
        let send = UnansweredSend {
            id,
            number: self.retries.number(),
            pending,
        };
        // Only what may be repeated is copied.
        let repetition = RetryBudget::of(self.policy.reader.temporary).map(|budget| SendRepetition {
            change: change.clone(),
            budget,
        });
        self.submit_send(ctx, feed, change, (send, repetition), SendAttempt::First);
    }

    /// Submits a send, or repeats a refused one under the same `cid`.
    fn submit_send(
        &mut self,
        ctx: &mut Context<Session>,
        feed: Rc<EventSubscriber>,
        change: ConversationChange,
        (send, repetition): (UnansweredSend, Option<SendRepetition>),
        attempt: SendAttempt,
    ) {
        let (user, tag) = (feed.user_id().clone(), send.pending.excluded_tag(self.tag));
        let done = change.submit(&self.worker.conversations, user, tag);
        self.wait(ctx, done, move |session, ctx, result| {
            session.on_sent(ctx, &feed, (send, repetition), result, attempt);
            session.schedule_backlog();
        });
    }

    /// Handles the result of a send: repeats it later, or completes it.
    fn on_sent(
        &mut self,
        ctx: &mut Context<Session>,
        feed: &Rc<EventSubscriber>,
        (send, repetition): (UnansweredSend, Option<SendRepetition>),
        result: Result<CommandAck, CommandError>,
        attempt: SendAttempt,
    ) {
        let conv = send.pending.conversation().clone();
        if let Err(refusal) = &result
            && let Some(mut repetition) = repetition
            && repetition.budget.permits(refusal.code, Instant::now())
        {
            // No later command overtakes the refused send, and the reader holds the client back.
            if self.retries.is_empty() {
                self.intake.pause();
            }
            let number = send.number;
            let starts = self.retries.add(&conv, number, RefusedSend { send, repetition });
            if starts || attempt == SendAttempt::Repeated {
                self.repeat_later(ctx, feed.clone(), conv);
            }
            return;
        }
        let is_abandoned = result.as_ref().is_err_and(|refusal| refusal.code.temporary());
        let number = send.number;
        self.complete_send(ctx, feed, send.id, send.pending, result);
        if is_abandoned {
            // The client repeats the abandoned send first. Those behind it must not overtake it either.
            for later in self.retries.take_behind(&conv, number) {
                let refusal = CommandError::new(ErrorCode::Busy, "an earlier message was refused");
                self.complete_send(ctx, feed, later.send.id, later.send.pending, Err(refusal));
            }
        }
        if attempt == SendAttempt::Repeated {
            self.repeat_next(ctx, feed.clone(), &conv);
        }
    }

    fn repeat_later(&mut self, ctx: &mut Context<Session>, feed: Rc<EventSubscriber>, conv: ConversationId) {
        self.wait(ctx, tokio::time::sleep(retry_delay()), move |session, ctx, ()| {
            session.repeat_next(ctx, feed, &conv);
        });
    }

    /// Repeats the earliest refused send of the conversation. Without one, the intake continues.
    fn repeat_next(&mut self, ctx: &mut Context<Session>, feed: Rc<EventSubscriber>, conv: &ConversationId) {
        match self.retries.next(conv) {
            Some(RefusedSend { send, repetition }) => {
                let change = repetition.change.clone();
                self.submit_send(ctx, feed, change, (send, Some(repetition)), SendAttempt::Repeated);
            }
            None if self.retries.is_empty() => {
                self.intake.resume();
                self.schedule_backlog();
            }
            None => {}
        }
    }

    /// Handles the final result of a send.
    fn complete_send(
        &mut self,
        ctx: &mut Context<Session>,
        feed: &EventSubscriber,
        id: Option<i64>,
        pending: PendingSend,
        result: Result<CommandAck, CommandError>,
    ) {
        let now = Instant::now();
        self.limits.end_change(pending.bytes());
        self.worker.metrics.send_answered(pending.elapsed(now));
        let (conv, cid) = (pending.conversation().clone(), pending.cid().clone());
        // Before the subscription to a new conversation, whose first event is the message itself.
        match pending.echo_update(&result) {
            EchoUpdate::Withhold(s) => feed.hushed(&conv, &cid, s, pending.opens_conversation()),
            EchoUpdate::Discard => feed.unhush(&conv, &cid),
            EchoUpdate::Keep => {}
        }
        match pending.effect(result) {
            SendEffect::FollowAndAcknowledge(done) => self.follow_and_acknowledge(ctx, id, cid, done),
            SendEffect::Acknowledge(done) => self.acknowledge(id, cid, done),
            SendEffect::AcknowledgeAndFollow(done) => {
                self.acknowledge(id, cid, done);
                self.bring_in(ctx, conv);
            }
            SendEffect::Refuse { refusal, holds } => {
                if holds {
                    self.limits.hold_sends(&conv, &cid, now);
                }
                self.refuse(id, refusal);
            }
        }
    }

    /// Submits a change and responds with `ack`, or with `ok` if the command has no `cid`.
    pub(super) fn change(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        command: ClientCommand,
        bytes: usize,
    ) {
        let Some(feed) = self.subscriber() else {
            return;
        };
        let user = feed.user_id().clone();
        let change = match command {
            ClientCommand::Edit(edit) => {
                ConversationChange::edit(edit, self.worker.config.limits.max_body_size.as_usize())
            }
            ClientCommand::Block(block) => Ok(ConversationChange::block(&user, block.user, true)),
            ClientCommand::Unblock(block) => Ok(ConversationChange::block(&user, block.user, false)),
            command => match ConversationChange::of(command) {
                Some(change) => Ok(change),
                None => return,
            },
        };
        let change = match change {
            Ok(change) => change,
            Err(refusal) => return self.refuse(id, refusal),
        };
        if !self.may(id) {
            return;
        }
        let pending = PendingChange::of(&change, bytes);
        let (conversations, tag) = (self.worker.conversations.clone(), pending.excluded_tag(self.tag));
        let command = (change, user);
        let done = with_retries(self.policy.reader.temporary, command, move |(change, user)| {
            change.submit(&conversations, user, tag)
        });
        self.limits.begin_change(bytes);
        self.wait(ctx, done, move |session, ctx, result| {
            session.limits.end_change(pending.bytes());
            match pending.effect(result) {
                ChangeEffect::FollowAndAcknowledge(cid, done) => {
                    session.follow_and_acknowledge(ctx, id, cid, done);
                }
                ChangeEffect::Acknowledge(cid, done) => session.acknowledge(id, cid, done),
                ChangeEffect::Confirm => session.answer(id, &Response::Ok(OkResponse {})),
                ChangeEffect::Refuse(refusal) => session.refuse(id, refusal),
            }
            session.schedule_backlog();
        });
    }

    pub(super) fn acknowledge(&self, id: Option<i64>, cid: ClientMessageId, done: CommandAck) {
        self.answer(id, &Response::Ack(done.ack(cid)));
    }

    /// Schedules another pass over the backlog.
    pub(super) fn schedule_backlog(&self) {
        self.link.request_check();
    }
}
