//! Session actor: runs in a plain `Context` and never waits for a socket.
//!
//! It receives batches of commands from the [reader](crate::gateway::websocket::reader). It polls all pending responses
//! through one stream and leaves its output in the `outbound_queue`. The clock of the `worker_context` wakes it for its
//! timers.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture, StreamHandler};
use bytes::Bytes;
use futures::FutureExt;
use protocol::answer::{ErrorResponse as Error, HelloResponse, NotResumed};
use protocol::{ClientMessageId, CloseCode, CommandCost, Response, UserId};
use tokio::sync::oneshot;

use super::authenticate::AuthenticatedClient;
use super::connection_handle::ConnectionHandle;
use super::in_flight_limit::InFlightLimit;
use super::messages::{CommandBatch, Disconnect, ReceivedCommand};
use super::pending_futures::{FutureEvent, PendingFutures};
use super::rates::Account;
use super::send_order_guard::SendOrderGuard;
use super::sid::SessionId;
use super::subscriber::EventSubscriber;
use super::timers::PendingClose;
use super::worker_context::WorkerContext;
use crate::conversation::{CommandError, state_machine};
use crate::telemetry::metrics::{CodeLabels, ErrorLabel};
use crate::user::{Device, PresenceGuard};

pub struct Session {
    pub(super) tag: u64,
    pub(super) worker: Rc<WorkerContext>,
    pub(super) link: Rc<ConnectionHandle>,
    pub(super) transport: ClientTransport,
    pub(super) inflight: PendingFutures<Session, Context<Session>>,
    pub(super) phase: SessionState,
    /// Commands delayed by the in-flight limit or by a pause.
    pub(super) backlog: VecDeque<ReceivedCommand>,
    /// Resolved once the backlog is empty; the reader reads no further before that.
    pub(super) taken_up: Option<oneshot::Sender<()>>,
    pub(super) window: InFlightLimit,
    /// `None` until the client is authenticated.
    pub(super) account: Option<Arc<Account>>,
    /// Commands received before authentication.
    pub(super) unknown_asked: u32,
    /// Cost of the command being dispatched.
    pub(super) cost: CommandCost,
    pub(super) order: SendOrderGuard,
    pub(super) opened: Instant,
    pub(super) pinged: Instant,
    /// Time of the next report of delivered cursors; `None`: nothing to report.
    pub(super) report_at: Option<Instant>,
    pub(super) pending_close: Option<PendingClose>,
    /// True while a future has to complete before the next command is dispatched.
    pub(super) held: bool,
    /// `None` while the client is offline.
    pub(super) guard: Option<PresenceGuard>,
    /// Time of the detachment; `None` while attached.
    pub(super) detached: Option<Instant>,
    /// Reason for resume attempts after the session is closed.
    pub(super) over: NotResumed,
    /// Number of the current or last long poll.
    pub(super) fetch: u64,
}

/// Kind of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientTransport {
    WebSocket,
    /// Server-sent events, one direction only.
    EventStream,
    Poll,
}

/// Progress of the session's authentication.
pub(super) enum SessionState {
    /// No valid token yet.
    Greeting,
    /// Authenticated; the snapshot of the resumed session is being fetched.
    Resuming(Rc<EventSubscriber>),
    /// Authenticated, with an open session.
    Open(Box<EstablishedState>),
}

/// State of an authenticated session.
pub(super) struct EstablishedState {
    pub(super) sid: SessionId,
    pub(super) feed: Rc<EventSubscriber>,
    /// Expiry of the token by the cluster's clock; `None`: it does not expire.
    pub(super) expires: Option<SystemTime>,
    /// Subscriptions under way that were caused by activity.
    pub(super) coming: usize,
    /// Session that this one resumed; `None` once the client has used this one's id.
    pub(super) parent: Option<SessionId>,
    /// Session that resumed this one last, if one did.
    pub(super) exported_to: Option<SessionId>,
    /// `None` for a token without a login.
    pub(super) login: Option<ClientMessageId>,
    /// `None`: the client named no device.
    pub(super) device: Option<Device>,
    /// Users that the client watched, saved while it is detached.
    pub(super) watching: Vec<UserId>,
}

// === impl Session ===

impl Session {
    /// Starts a session on this thread. A client that is authenticated already sends no `auth` frame.
    #[must_use]
    pub fn open(
        worker: Rc<WorkerContext>,
        link: Rc<ConnectionHandle>,
        transport: ClientTransport,
        client: Option<AuthenticatedClient>,
    ) -> actix::Addr<Session> {
        let now = Instant::now();
        let config = worker.config.clone();
        Session::create(|ctx| {
            let inflight = PendingFutures::new(link.clone());
            // One stream for all futures: the context polls each of its streams at every wake-up.
            ctx.add_stream(inflight.clone());
            let mut session = Session {
                // Never 0, which stands for "no session" in events.
                tag: rand::random::<u64>().max(1),
                inflight,
                phase: SessionState::Greeting,
                backlog: VecDeque::new(),
                taken_up: None,
                window: InFlightLimit::default(),
                account: None,
                unknown_asked: 0,
                cost: CommandCost::CHANGE,
                order: SendOrderGuard::new(config.session.refusal_ms.duration()),
                opened: now,
                pinged: now,
                report_at: None,
                pending_close: None,
                held: false,
                guard: None,
                detached: None,
                over: NotResumed::Unknown,
                fetch: 0,
                transport,
                worker,
                link,
            };
            session.worker.add(session.tag, session.link.clone());
            if transport == ClientTransport::WebSocket {
                session.hello();
            }
            if let Some(client) = client {
                session.arrive(ctx, None, client);
            }
            session
        })
    }

    pub(super) fn user(&self) -> Option<&UserId> {
        match &self.phase {
            SessionState::Greeting => None,
            SessionState::Resuming(feed) => Some(feed.user_id()),
            SessionState::Open(open) => Some(open.feed.user_id()),
        }
    }

    pub(super) fn answer(&self, id: Option<i64>, answer: &Response) {
        self.link
            .outbox(|outbox| outbox.answer(Bytes::from(answer.encode(id))));
    }

    pub(super) fn refuse(&self, id: Option<i64>, refusal: CommandError) {
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
    pub(super) fn wait<T: 'static>(
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
                let effect: super::pending_futures::Continuation<_, _> =
                    Box::new(move |session: &mut Session, ctx: &mut Context<Session>| {
                        then(session, ctx, value)
                    });
                effect
            })),
        }
    }

    /// Runs a future beside the commands, for as long as the session lives.
    pub(super) fn work(&self, work: impl Future<Output = ()> + 'static) {
        self.inflight.push(Box::pin(async move {
            work.await;
            let nothing: super::pending_futures::Continuation<_, _> = Box::new(|_, _| ());
            nothing
        }));
    }

    fn hello(&self) {
        let settings = &self.worker.config;
        let hello = Response::Hello(HelloResponse {
            proto: protocol::PROTO,
            server: self.worker.name.clone(),
            hb_ms: settings.session.hb_ms.0,
            auth_ms: settings.session.auth_ms.0,
            max_frame: settings.limits.max_frame_bytes as u64,
            time: self.now_ms(),
        });
        self.answer(None, &hello);
    }

    /// Dispatches queued commands while the in-flight limit allows.
    pub(super) fn process_backlog(&mut self, ctx: &mut Context<Session>) {
        // The first command shows that the client has received this session's id: the resumed session can end.
        if !self.backlog.is_empty() {
            self.confirm(ctx);
        }
        while !self.held && self.pending_close.is_none() && !self.link.is_closed() && self.has_room() {
            match self.backlog.pop_front() {
                Some(item) => self.dispatch(ctx, item),
                None => {
                    // Only now: while commands are queued, the reader must not read on, so that TCP slows the client
                    // down.
                    if let Some(taken_up) = self.taken_up.take() {
                        // The reader may have ended with its connection.
                        let _gone = taken_up.send(());
                    }
                    return;
                }
            }
        }
    }

    /// Removes the session from the registries of the node and reports its delivered cursors.
    fn release(&mut self) {
        self.worker.remove(self.tag);
        self.worker.presence.end(self.tag);
        self.guard = None;
        let open = match &self.phase {
            SessionState::Greeting => return,
            // A resuming session is attached to the hub but has no subscriptions yet.
            SessionState::Resuming(feed) => return self.worker.hub.detach(feed.user_id(), self.tag),
            SessionState::Open(open) => open,
        };
        self.worker.sessions.ended(open.sid, self.over, open.exported_to);
        self.worker.hub.detach(open.feed.user_id(), self.tag);
        for conv in open.feed.end_all() {
            self.worker.hub.unsubscribe(&conv, self.tag);
        }
        let cursors = open.feed.tracker.borrow_mut().take();
        for (conv, s) in cursors {
            let op = state_machine::ShardOp::Delivered { s };
            let command = state_machine::ShardCommand {
                conv,
                user: open.feed.user_id().clone(),
                cid: None,
                skip: 0,
                op,
            };
            let done = self.worker.conversations.submit(command);
            // Not awaited: the deadline of the shard client bounds it, and the next session reports a lost cursor
            // again.
            actix_web::rt::spawn(done.map(drop));
        }
    }

    fn has_room(&self) -> bool {
        self.window.has_room(&self.worker.config.limits) && !self.link.behind()
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
            let patience = self.worker.config.session.close_ms.duration();
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

    fn handle(&mut self, CommandBatch(items): CommandBatch, ctx: &mut Context<Session>) -> Self::Result {
        let (taken_up, waiting) = oneshot::channel();
        if !self.link.is_closed() {
            self.backlog.extend(items);
            self.taken_up = Some(taken_up);
            self.process_backlog(ctx);
        }
        // For a closed session the sender is dropped, which resolves this at once: the reader must not block on it.
        Box::pin(waiting.map(drop))
    }
}

impl Handler<Disconnect> for Session {
    type Result = ();

    fn handle(&mut self, disconnect: Disconnect, ctx: &mut Context<Session>) {
        // A lost or closed connection leaves the session resumable; a protocol error closes it by its code.
        match disconnect {
            Disconnect::Broken(code) => self.close(ctx, code),
            Disconnect::Lost => self.detach(ctx, None, None, true),
            Disconnect::CloseFrame(code) => self.detach(ctx, code, None, false),
        }
    }
}
