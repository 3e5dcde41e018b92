//! Session actor: runs in a plain `Context` and never waits for a socket.
//!
//! Path of a message: step 3 of 13.
//!
//! | file | commands and messages |
//! |---|---|
//! | `open` | `auth`, admission by presence |
//! | `resume`, `device_resume` | resume of another session, by its id or by the device |
//! | `device_cursors` | durable cursors of a device, from which a lost session is rebuilt |
//! | `dispatch` | rate limit and handler of each command |
//! | `send` (step 3) | `send` and the other changes |
//! | `queries` | commands with a response of their own |
//! | `subscribe` | conversations that are opened, joined or active |
//! | `connection` | deadlines, long polls, delivered cursors, close |
//! | `transfer` | detached session, export, end |
//!
//! `pending_send`, `pending_change` and `pending_snapshot` are pure: they decide on the consequence of a result.
//!
//! It receives batches of commands from the reader (`gateway::websocket::reader`). It polls all pending responses
//! through one stream and leaves its output in the `outbound_queue`. The clock of the `worker_context` wakes it for its
//! timers.

mod connection;
mod device_cursors;
mod device_resume;
mod dispatch;
mod open;
mod pending_change;
mod pending_send;
mod pending_snapshot;
mod queries;
mod resume;
mod send;
mod subscribe;
mod transfer;

use send::RefusedSend;

pub(crate) use connection::CLOSE_TIMEOUT;

use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture, StreamHandler};
use futures::FutureExt;
use protocol::response::{ErrorResponse as Error, HelloResponse};
use protocol::{CloseCode, Response, UserId};

use super::authenticated_client::AuthenticatedClient;
use super::connection_handle::ConnectionHandle;
use super::cursor_schedule::CursorSchedule;
use super::delivery::{Delivery, EventSubscriber};
use super::intake::CommandIntake;
use super::lifecycle::Lifecycle;
use super::limits::CommandLimits;
use super::long_poll::LongPoll;
use super::messages::{CommandBatch, DetachedCommand, Disconnect, SetSessionExpiry};
use super::pending_futures::{Continuation, FutureEvent, PendingFutures};
use super::presence::SessionPresence;
use super::retry_queue::RetryQueue;
use super::transport_policy::{RatePolicy, SessionExpiry, TransportPolicy};
use super::worker_context::WorkerContext;
use crate::shard_client::CommandError;
use crate::state_machine::{CommandOrigin, ConversationOp};
use crate::telemetry::metrics::{CodeLabels, ErrorLabel};

pub struct Session {
    tag: u64,
    worker: Rc<WorkerContext>,
    link: Rc<ConnectionHandle>,
    policy: TransportPolicy,
    inflight: PendingFutures<Session, Context<Session>>,
    lifecycle: Lifecycle,
    delivery: Delivery,
    limits: CommandLimits,
    intake: CommandIntake,
    retries: RetryQueue<RefusedSend>,
    presence: SessionPresence,
    long_poll: LongPoll,
    cursors: CursorSchedule,
    /// Number of sessions that this one has continued, one after the other.
    resumes: u32,
}

// === impl Session ===

impl Session {
    /// Starts a session on this thread. A client that is authenticated already sends no `auth` frame.
    #[must_use]
    pub fn open(
        worker: Rc<WorkerContext>,
        link: Rc<ConnectionHandle>,
        policy: TransportPolicy,
        client: Option<AuthenticatedClient>,
    ) -> actix::Addr<Session> {
        let config = worker.config.clone();
        Session::create(|ctx| {
            let inflight = PendingFutures::new(link.clone());
            // One stream for all futures: the context polls each of its streams at every wake-up.
            ctx.add_stream(inflight.clone());
            let mut session = Session {
                // Never 0, which stands for "no session" in events.
                tag: rand::random::<u64>().max(1),
                inflight,
                lifecycle: Lifecycle::new(Instant::now()),
                delivery: Delivery::new(link.clone(), config.tuning.delivered_interval.0),
                limits: CommandLimits::new(config.tuning.refused_send_timeout.0),
                intake: CommandIntake::new(worker.metrics.session_backlog.clone()),
                retries: RetryQueue::default(),
                presence: SessionPresence::default(),
                long_poll: LongPoll::new(link.clone()),
                cursors: CursorSchedule::default(),
                resumes: 0,
                policy,
                worker,
                link,
            };
            session.worker.add(session.tag, session.link.clone());
            if policy.has_hello {
                session.hello();
            }
            if let Some(client) = client {
                session.arrive(ctx, None, client);
            }
            session
        })
    }

    fn user(&self) -> Option<&UserId> {
        self.delivery.subscriber().map(|subscriber| subscriber.user_id())
    }

    /// Returns the subscriber of an open session.
    fn subscriber(&self) -> Option<Rc<EventSubscriber>> {
        let subscriber = self.delivery.subscriber()?;
        self.lifecycle.is_open().then(|| subscriber.clone())
    }

    fn answer(&self, id: Option<i64>, answer: &Response) {
        self.delivery.respond(id, answer);
    }

    fn refuse(&self, id: Option<i64>, refusal: CommandError) {
        let CommandError { code, msg, retry_ms } = refusal;
        self.worker
            .metrics
            .refused
            .get_or_create(&CodeLabels {
                code: ErrorLabel(code.as_str()),
            })
            .inc();
        self.answer(id, &Response::Err(Error::new(code, msg, retry_ms)));
    }

    /// Polls `future` and then runs `then` in the session. A future that is ready is handled at once, so that the next
    /// command sees its effect.
    fn wait<T: 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Session, &mut Context<Session>, T) + 'static,
    ) {
        let mut future = future.boxed_local();
        // No wake-up is lost with the no-op waker: a pending future is polled again by the stream.
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(value) => then(self, ctx, value),
            std::task::Poll::Pending => self.inflight.push(Box::pin(async move {
                let value = future.await;
                let effect: Continuation<_, _> =
                    Box::new(move |session: &mut Session, ctx: &mut Context<Session>| {
                        then(session, ctx, value)
                    });
                effect
            })),
        }
    }

    /// Runs a future beside the commands, for as long as the session lives.
    fn work(&self, work: impl Future<Output = ()> + 'static) {
        self.inflight.push(Box::pin(async move {
            work.await;
            let nothing: Continuation<_, _> = Box::new(|_, _| ());
            nothing
        }));
    }

    fn hello(&self) {
        let settings = &self.worker.config;
        let hello = Response::Hello(HelloResponse {
            protocol_version: protocol::PROTO,
            server: self.worker.name.clone(),
            heartbeat_interval_ms: settings.heartbeat_interval().as_millis(),
            auth_timeout_ms: settings.tuning.auth_timeout.as_millis(),
            max_frame_bytes: settings.max_frame() as u64,
            timestamp_ms: self.now_ms(),
        });
        self.answer(None, &hello);
    }

    /// Dispatches queued commands while the in-flight limit allows.
    fn process_backlog(&mut self, ctx: &mut Context<Session>) {
        // The first command of the client shows that it has received this session's id: the resumed session can end.
        if self.intake.confirms_resume() {
            self.confirm(ctx);
        }
        while !self.intake.is_paused()
            && !self.lifecycle.is_closing()
            && !self.link.is_closed()
            && self.has_room()
            && self.rate_permits(ctx)
            && let Some(item) = self.intake.next()
        {
            self.dispatch(ctx, item);
        }
    }

    /// Charges the next command if the transport waits for the rate. Above the rate, pauses the intake until the rate
    /// permits the command, and returns false.
    fn rate_permits(&mut self, ctx: &mut Context<Session>) -> bool {
        if self.policy.reader.rates == RatePolicy::Refuse {
            return true;
        }
        let Some(item) = self.intake.peek() else {
            return true;
        };
        match self.limits.charge_ahead(item.cost(), Instant::now()) {
            Ok(()) => true,
            Err(wait) => {
                self.intake.pause();
                self.wait(ctx, tokio::time::sleep(wait), |session, _ctx, ()| {
                    session.intake.resume();
                    session.schedule_backlog();
                });
                false
            }
        }
    }

    /// Removes the session from the registries of the node and reports its delivered cursors.
    fn release(&mut self) {
        if let Some((n, at)) = self.link.take_confirmation() {
            self.delivery.confirm(n, at);
        }
        self.worker.remove(self.tag);
        self.worker.presence.end(self.tag);
        self.presence.end();
        let Some(feed) = self.delivery.subscriber().cloned() else {
            return;
        };
        // A resuming session is attached to the hub but has no subscriptions yet.
        let Some((sid, why, successor)) = self.lifecycle.end_record() else {
            return self.worker.hub.detach(feed.user_id(), self.tag);
        };
        self.worker.sessions.ended(sid, why, successor);
        self.worker.hub.detach(feed.user_id(), self.tag);
        for conv in feed.end_all() {
            self.worker.hub.unsubscribe(&conv, self.tag);
        }
        let cursors = self.delivery.take_cursors();
        for (conv, s) in cursors {
            let op = ConversationOp::Delivered { s };
            let origin = CommandOrigin {
                user: feed.user_id().clone(),
                cid: None,
                exclude_session: 0,
            };
            let done = self.worker.conversations.submit(conv, origin, op);
            // Not awaited: the deadline of the shard client bounds it, and the next session reports a lost cursor
            // again.
            actix_web::rt::spawn(done.map(drop));
        }
    }

    fn has_room(&self) -> bool {
        self.limits.has_room(self.worker.config.unacked_sends()) && !self.link.behind()
    }
}

impl Actor for Session {
    type Context = Context<Session>;

    fn started(&mut self, _ctx: &mut Self::Context) {
        self.link.request_check();
    }

    fn stopped(&mut self, _ctx: &mut Self::Context) {
        self.release();
    }
}

/// Cleans up after a panic, which drops the actor without `stopped`. Other sessions of the thread continue.
impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(user = self.user().map(UserId::as_str), "session panicked");
            let patience = CLOSE_TIMEOUT;
            self.link.close(
                Some(CloseCode::Internal.code()),
                Some(Duration::from_secs(1)),
                true,
                patience,
            );
            self.release();
        }
    }
}

impl StreamHandler<FutureEvent<Session, Context<Session>>> for Session {
    fn handle(&mut self, progress: FutureEvent<Session, Context<Session>>, ctx: &mut Context<Session>) {
        match progress {
            FutureEvent::Nudged => self.look(ctx),
            FutureEvent::Effect(effect) => effect(self, ctx),
        }
    }
}

impl Handler<CommandBatch> for Session {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, batch: CommandBatch, ctx: &mut Context<Session>) -> Self::Result {
        // A closed session discards the commands, and the reader must not block on it.
        if self.link.is_closed() {
            return Box::pin(std::future::ready(()));
        }
        let dispatched = self.intake.accept(batch);
        self.process_backlog(ctx);
        Box::pin(dispatched.map(drop))
    }
}

impl Handler<DetachedCommand> for Session {
    type Result = bool;

    fn handle(&mut self, DetachedCommand(command): DetachedCommand, ctx: &mut Context<Session>) -> bool {
        // The client has come back, to another session.
        if !self.lifecycle.is_open() || self.lifecycle.is_exported() {
            return false;
        }
        self.dispatch(ctx, command);
        true
    }
}

impl Handler<SetSessionExpiry> for Session {
    type Result = ();

    fn handle(&mut self, SetSessionExpiry(expiry): SetSessionExpiry, _ctx: &mut Context<Session>) {
        self.policy.detached.expiry = SessionExpiry::AtMost(expiry);
        self.cursors.schedule_soon(Instant::now());
        // A detached session has a new deadline.
        self.link.request_check();
    }
}

impl Handler<Disconnect> for Session {
    type Result = ();

    fn handle(&mut self, disconnect: Disconnect, ctx: &mut Context<Session>) {
        // They may have arrived just before: their check would find the session detached.
        self.read_confirmation(ctx);
        self.delivery.deliver(self.link.ponged(), Instant::now());
        // A lost or closed connection leaves the session resumable; a protocol error closes it by its code.
        match disconnect {
            Disconnect::Broken(code) => self.close(ctx, code),
            Disconnect::Lost => self.detach(ctx, None, None, true),
            Disconnect::CloseFrame(code) => self.detach(ctx, code, None, false),
        }
    }
}
