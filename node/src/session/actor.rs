//! The session: an actor in a plain `Context`, which never waits for a socket.
//!
//! It takes batches of commands from the [reader](crate::gateway::websocket::reader), waits for what the conversations
//! answer through one stream, and leaves the output in the [outbox](super::outbox). Timers come as
//! nudges from the [worker's clock](super::worker).

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture, StreamHandler};
use bytes::Bytes;
use futures::FutureExt;
use protocol::answer::{Err as Error, Hello, NotResumed};
use protocol::{Answer, Cid, CloseCode, Cost, UserId};
use tokio::sync::oneshot;

use super::authenticate::Newcomer;
use super::feed::Feed;
use super::inflight::{Inflight, Progress};
use super::link::Link;
use super::messages::{Batch, Hangup, Item};
use super::order::Order;
use super::rates::Account;
use super::sid::Sid;
use super::timers::Leaving;
use super::window::Window;
use super::worker::Worker;
use crate::conversation::{Refusal, timeline};
use crate::telemetry::metrics::{Code, CodeLabels};
use crate::user::{Device, Seat};

/// A client's session.
pub struct Session {
    pub(super) tag: u64,
    pub(super) worker: Rc<Worker>,
    pub(super) link: Rc<Link>,
    pub(super) transport: Transport,
    pub(super) inflight: Inflight<Session, Context<Session>>,
    pub(super) phase: Phase,
    /// Commands that were read and not taken up, because too many are unanswered.
    pub(super) backlog: VecDeque<Item>,
    /// Tells the reader that the backlog is empty.
    pub(super) taken_up: Option<oneshot::Sender<()>>,
    pub(super) window: Window,
    /// What the client may ask, once it is known who it is.
    pub(super) account: Option<Arc<Account>>,
    /// Messages before that.
    pub(super) unknown_asked: u32,
    /// What the command that is being handled costs.
    pub(super) cost: Cost,
    pub(super) order: Order,
    pub(super) opened: Instant,
    pub(super) pinged: Instant,
    /// When delivered cursors are to be reported.
    pub(super) report_at: Option<Instant>,
    pub(super) leaving: Option<Leaving>,
    /// Something has to come before the next command is taken up.
    pub(super) held: bool,
    /// The place in the user's directory, while the client is connected.
    pub(super) seat: Option<Seat>,
    /// Since when nobody is connected. The session collects events and waits for its client.
    pub(super) away: Option<Instant>,
    /// What one is told who asks for the session when it is over.
    pub(super) over: NotResumed,
    /// The fetch that is being answered, or was the last one.
    pub(super) fetch: u64,
}

/// How the client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Both ways.
    WebSocket,
    /// The client only listens.
    EventStream,
    /// The client fetches.
    Poll,
}

/// How far the session has come.
pub(super) enum Phase {
    /// No valid token yet.
    Greeting,
    /// The client is known, and what it had is being fetched.
    Resuming(Rc<Feed>),
    /// The client is known.
    Open(Box<Open>),
}

/// What is known of an authenticated client.
pub(super) struct Open {
    pub(super) sid: Sid,
    pub(super) feed: Rc<Feed>,
    /// When the token ends, by the clock that told whether it is valid.
    pub(super) expires: Option<SystemTime>,
    /// Conversations that are being brought in because something was sent there.
    pub(super) coming: usize,
    /// The session that this one goes on with, until the client has shown that it knows this one.
    pub(super) parent: Option<Sid>,
    /// The session that goes on with this one, perhaps.
    pub(super) lent: Option<Sid>,
    /// The login that the client's token came from.
    pub(super) login: Option<Cid>,
    /// The device that has the seat.
    pub(super) device: Option<Device>,
    /// Whom the client watches, while it is away.
    pub(super) watching: Vec<UserId>,
}

// === impl Session ===

impl Session {
    /// Starts a session on this thread. For a client that is known already no `auth` frame is needed.
    #[must_use]
    pub fn open(
        worker: Rc<Worker>,
        link: Rc<Link>,
        transport: Transport,
        newcomer: Option<Newcomer>,
    ) -> actix::Addr<Session> {
        let now = Instant::now();
        let config = worker.config.clone();
        Session::create(|ctx| {
            let inflight = Inflight::new(link.clone());
            ctx.add_stream(inflight.clone());
            let mut session = Session {
                // 0 means nobody.
                tag: rand::random::<u64>().max(1),
                inflight,
                phase: Phase::Greeting,
                backlog: VecDeque::new(),
                taken_up: None,
                window: Window::default(),
                account: None,
                unknown_asked: 0,
                cost: Cost::CHANGE,
                order: Order::new(config.session.refusal_ms.duration()),
                opened: now,
                pinged: now,
                report_at: None,
                leaving: None,
                held: false,
                seat: None,
                away: None,
                over: NotResumed::Unknown,
                fetch: 0,
                transport,
                worker,
                link,
            };
            session.worker.add(session.tag, session.link.clone());
            if transport == Transport::WebSocket {
                session.hello();
            }
            if let Some(newcomer) = newcomer {
                session.arrive(ctx, None, newcomer);
            }
            session
        })
    }

    pub(super) fn user(&self) -> Option<&UserId> {
        match &self.phase {
            Phase::Greeting => None,
            Phase::Resuming(feed) => Some(feed.user_id()),
            Phase::Open(open) => Some(open.feed.user_id()),
        }
    }

    /// Answers a command.
    pub(super) fn answer(&self, id: Option<i64>, answer: &Answer) {
        self.link
            .outbox(|outbox| outbox.answer(Bytes::from(answer.encode(id))));
    }

    /// Refuses a command.
    pub(super) fn refuse(&self, id: Option<i64>, refusal: Refusal) {
        let Refusal { code, msg, retry_ms } = refusal;
        self.worker
            .metrics
            .refused
            .get_or_create(&CodeLabels {
                code: Code(code.as_str()),
            })
            .inc();
        self.answer(id, &Answer::Err(Error::new(code, msg, retry_ms)));
    }

    /// Waits for `future` and then does `then` in the session. What is there already is done at once, so that the
    /// next command sees it.
    pub(super) fn wait<T: 'static>(
        &mut self,
        ctx: &mut Context<Session>,
        future: impl Future<Output = T> + 'static,
        then: impl FnOnce(&mut Session, &mut Context<Session>, T) + 'static,
    ) {
        let mut future = future.boxed_local();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(value) => then(self, ctx, value),
            std::task::Poll::Pending => self.inflight.push(Box::pin(async move {
                let value = future.await;
                let effect: super::inflight::Effect<_, _> =
                    Box::new(move |session: &mut Session, ctx: &mut Context<Session>| {
                        then(session, ctx, value)
                    });
                effect
            })),
        }
    }

    /// Has something done beside the commands, for as long as the session lives.
    pub(super) fn work(&self, work: impl Future<Output = ()> + 'static) {
        self.inflight.push(Box::pin(async move {
            work.await;
            let nothing: super::inflight::Effect<_, _> = Box::new(|_, _| ());
            nothing
        }));
    }

    fn hello(&self) {
        let settings = &self.worker.config;
        let hello = Answer::Hello(Hello {
            proto: protocol::PROTO,
            server: self.worker.name.clone(),
            hb_ms: settings.session.hb_ms.0,
            auth_ms: settings.session.auth_ms.0,
            max_frame: settings.limits.max_frame_bytes as u64,
            time: self.now_ms(),
        });
        self.answer(None, &hello);
    }

    /// Takes up commands while there is room for their answers.
    pub(super) fn pump(&mut self, ctx: &mut Context<Session>) {
        if !self.backlog.is_empty() {
            self.settle(ctx);
        }
        while !self.held && self.leaving.is_none() && !self.link.is_closed() && self.has_room() {
            match self.backlog.pop_front() {
                Some(item) => self.dispatch(ctx, item),
                None => {
                    if let Some(taken_up) = self.taken_up.take() {
                        // Without a reader there is nobody to tell.
                        let _gone = taken_up.send(());
                    }
                    return;
                }
            }
        }
    }

    /// Leaves everything that the session was part of, and reports what has arrived.
    fn release(&mut self) {
        self.worker.remove(self.tag);
        self.worker.desk.end(self.tag);
        self.seat = None;
        let open = match &self.phase {
            Phase::Greeting => return,
            Phase::Resuming(feed) => return self.worker.hub.detach(feed.user_id(), self.tag),
            Phase::Open(open) => open,
        };
        self.worker.sessions.ended(open.sid, self.over, open.lent);
        self.worker.hub.detach(open.feed.user_id(), self.tag);
        for conv in open.feed.end_all() {
            self.worker.hub.unsubscribe(&conv, self.tag);
        }
        let cursors = open.feed.arrivals.borrow_mut().take();
        for (conv, s) in cursors {
            let op = timeline::Op::Delivered { s };
            let command = timeline::Command {
                conv,
                user: open.feed.user_id().clone(),
                cid: None,
                skip: 0,
                op,
            };
            let done = self.worker.conversations.submit(command);
            // Bounded by the budget of the conversations; a lost cursor is said again by the next session.
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
        self.link.nudge();
    }

    fn stopped(&mut self, _ctx: &mut Self::Context) {
        self.release();
    }
}

/// A panic ends its session, and nothing else: the actor is dropped without having stopped.
impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(user = self.user().map(UserId::as_str), "a session panicked");
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

impl StreamHandler<Progress<Session, Context<Session>>> for Session {
    fn handle(&mut self, progress: Progress<Session, Context<Session>>, ctx: &mut Context<Session>) {
        match progress {
            Progress::Nudged => self.look(ctx),
            Progress::Effect(effect) => effect(self, ctx),
        }
    }
}

impl Handler<Batch> for Session {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Batch(items): Batch, ctx: &mut Context<Session>) -> Self::Result {
        let (taken_up, waiting) = oneshot::channel();
        if !self.link.is_closed() {
            self.backlog.extend(items);
            self.taken_up = Some(taken_up);
            self.pump(ctx);
        }
        // A session that ends takes nothing up any more; the reader notices by itself.
        Box::pin(waiting.map(drop))
    }
}

impl Handler<Hangup> for Session {
    type Result = ();

    fn handle(&mut self, hangup: Hangup, ctx: &mut Context<Session>) {
        match hangup {
            Hangup::Broken(code) => self.close(ctx, code),
            Hangup::Lost => self.detach(ctx, None, None, true),
            Hangup::Goodbye(code) => self.detach(ctx, code, None, false),
        }
    }
}
