//! What the two halves of a session share: the actor on one side, the reader and the writer of its connection on the
//! other, all on one thread.
//!
//! The actor never waits for the socket and the socket half never decides: they meet in the outbox, in a few cells,
//! and in two wake-ups.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::close::Reason;
use tokio::sync::Notify;

use super::outbox::{Framing, Outbox, Piece};

/// A connection as both halves see it.
pub struct Link {
    outbox: RefCell<Outbox>,
    /// When the client was heard last.
    heard: Cell<Instant>,
    /// The reader waits for the session: the client's silence is ours.
    held: Cell<bool>,
    /// When the session wants to look at its timers next.
    due: Cell<Instant>,
    nudged: Cell<bool>,
    session: RefCell<Option<Waker>>,
    /// The session waits for the client to read.
    wants_room: Cell<bool>,
    closed: Cell<bool>,
    /// The transport noticed that nobody is at the other end.
    lost: Cell<bool>,
    /// It is known who the client is.
    identified: Cell<bool>,
    /// The fetch that is answered.
    fetch: Cell<u64>,
    closing: Notify,
    socket: Weak<dyn Cut>,
}

/// Ends a connection from outside, whatever it is doing.
pub trait Cut {
    /// Ends it now, in both directions.
    fn cut(&self);

    /// It is known who is at the other end.
    fn identified(&self) {}
}

// === impl Link ===

impl Link {
    /// A new connection.
    #[must_use]
    pub fn new(outbox: Outbox, socket: Weak<dyn Cut>) -> Rc<Link> {
        let now = Instant::now();
        Rc::new(Link {
            outbox: RefCell::new(outbox),
            heard: Cell::new(now),
            held: Cell::new(false),
            due: Cell::new(now),
            nudged: Cell::new(false),
            session: RefCell::new(None),
            wants_room: Cell::new(false),
            closed: Cell::new(false),
            lost: Cell::new(false),
            identified: Cell::new(false),
            fetch: Cell::new(0),
            closing: Notify::new(),
            socket,
        })
    }

    /// Works on the outbox.
    pub fn outbox<R>(&self, work: impl FnOnce(&mut Outbox) -> R) -> R {
        work(&mut self.outbox.borrow_mut())
    }

    // --- the socket half ---

    /// Bytes came in.
    pub fn heard(&self) {
        self.heard.set(Instant::now());
    }

    /// The reader stops reading until the session has room, or goes on.
    pub fn hold(&self, held: bool) {
        self.held.set(held);
        self.heard();
    }

    /// The next piece to write; `None` after the close frame.
    pub fn poll_piece(&self, cx: &mut Context<'_>, framing: &dyn Framing) -> Poll<Option<Piece>> {
        let (piece, behind) = self.outbox(|outbox| (outbox.poll_piece(cx, framing), outbox.behind()));
        if self.wants_room.get() && !behind {
            self.wants_room.set(false);
            self.nudge();
        }
        piece
    }

    /// Whether it is known who the client is.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.identified.get()
    }

    /// Nobody is at the other end any more.
    pub fn lose(&self) {
        self.lost.set(true);
        self.nudge();
    }

    /// Resolves with what follows event `n`, once there is something; with nothing when another fetch begins or the
    /// session ends.
    pub(super) async fn fetch(&self, n: u64, this: u64) -> Vec<(u64, Bytes)> {
        std::future::poll_fn(|cx| {
            if self.fetch.get() != this || self.is_closed() {
                return Poll::Ready(Vec::new());
            }
            self.outbox(|outbox| {
                let events = outbox.piece_after(n);
                if events.is_empty() {
                    outbox.watch(cx);
                    Poll::Pending
                } else {
                    Poll::Ready(events)
                }
            })
        })
        .await
    }

    /// Resolves when the session has ended.
    pub async fn closing(&self) {
        if !self.closed.get() {
            self.closing.notified().await;
        }
    }

    // --- the session ---

    /// It is known who the client is.
    pub(super) fn identify(&self) {
        self.identified.set(true);
        if let Some(socket) = self.socket.upgrade() {
            socket.identified();
        }
    }

    /// Whether the transport noticed that nobody is at the other end.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Another fetch begins: the one before brings nothing.
    pub(super) fn next_fetch(&self, this: u64) {
        self.fetch.set(this);
        self.outbox(|outbox| outbox.rouse());
    }

    /// How long the client has been silent.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        if self.held.get() {
            Duration::ZERO
        } else {
            now.saturating_duration_since(self.heard.get())
        }
    }

    /// Whether the client leaves too much unread. If so, the session is nudged when that changes.
    #[must_use]
    pub fn behind(&self) -> bool {
        let behind = self.outbox(|outbox| outbox.behind());
        self.wants_room.set(behind);
        behind
    }

    /// The session wants to look at its timers at this time.
    pub fn set_due(&self, at: Instant) {
        self.due.set(at);
    }

    /// Ends the connection: a close frame behind what waits, and the end of the socket after `patience`.
    pub fn close(&self, code: Option<u16>, retry: Option<Duration>, drop_waiting: bool, patience: Duration) {
        if self.closed.replace(true) {
            return;
        }
        let reason = retry.map_or_else(String::new, |retry| {
            Reason {
                retry_ms: u64::try_from(retry.as_millis()).unwrap_or(u64::MAX),
            }
            .encode()
        });
        self.outbox(|outbox| {
            outbox.close(code, &reason, drop_waiting);
            outbox.rouse();
        });
        self.closing.notify_one();
        // A client that never reads never lets the close frame out. Owned by nobody and bounded by the patience.
        let socket = self.socket.clone();
        actix_web::rt::spawn(async move {
            tokio::time::sleep(patience).await;
            if let Some(socket) = socket.upgrade() {
                socket.cut();
            }
        });
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    // --- the wake-up of the session ---

    /// Nudges the session if its time has come.
    pub fn tick(&self, now: Instant) {
        if self.due.get() <= now {
            self.nudge();
        }
    }

    /// Makes the session look at everything once.
    pub fn nudge(&self) {
        self.nudged.set(true);
        self.wake();
    }

    /// Makes the session's task run.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.session.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the session was nudged since the last call; if not, `cx` is woken when it is.
    pub(super) fn poll_nudge(&self, cx: &mut Context<'_>) -> bool {
        let mut waker = self.session.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.nudged.replace(false)
    }
}
