//! State shared by the session actor and the reader and writer of its connection, all on one thread.
//!
//! The actor never waits for the socket, and the socket half makes no decisions. They communicate through the outbound
//! queue, a few cells and three wake-ups: that of the session, of the writer, and of a reader that waits for its client.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::ConversationId;
use protocol::close::CloseReason;
use tokio::sync::Notify;

use super::delivery::{Framing, OutboundQueue, WriteChunk};
use super::gateway_link::{ConfirmationEffect, ConversationSelection, GatewayLink, GatewayStateTooLarge};
use super::wake_up::WakeUp;

/// Time without an event after which a ping asks the client to confirm the last one.
pub(super) const CONFIRM_AFTER: Duration = Duration::from_secs(1);

/// Connection as seen by the session actor and by the socket half.
pub struct ConnectionHandle {
    outbox: RefCell<OutboundQueue>,
    /// Time of the last event that was written and that no ping or confirmation followed.
    unconfirmed_at: Cell<Option<Instant>>,
    /// Number of the last event that a pong confirmed.
    ponged: Cell<u64>,
    /// Time of the last received bytes, or of the last pause of the reader.
    last_received: Cell<Instant>,
    /// True while the session pauses the reader; the client's silence does not count then.
    held: Cell<bool>,
    session: WakeUp,
    /// Set while the session waits for the client to read; a drained queue then wakes the session.
    wants_room: Cell<bool>,
    /// Reader that waits for the client to read.
    reader: RefCell<Option<Waker>>,
    closed: Cell<bool>,
    /// Set by the transport when it detects a dead connection.
    lost: Cell<bool>,
    /// True once the client is authenticated.
    identified: Cell<bool>,
    closing: Notify,
    gateway: GatewayLink,
    socket: Weak<dyn CloseSocket>,
}

/// Handle that closes a connection in whatever state it is.
pub trait CloseSocket {
    /// Closes the connection at once, in both directions.
    fn cut(&self);

    /// Called once the client is authenticated.
    fn identified(&self) {}
}

// === impl ConnectionHandle ===

impl ConnectionHandle {
    /// Maximum size of the gateway state in bytes.
    #[cfg(test)]
    pub const GATEWAY_STATE_BYTES: usize = GatewayLink::STATE_BYTES;

    #[must_use]
    pub fn new(outbox: OutboundQueue, socket: Weak<dyn CloseSocket>) -> Rc<ConnectionHandle> {
        let now = Instant::now();
        Rc::new(ConnectionHandle {
            outbox: RefCell::new(outbox),
            unconfirmed_at: Cell::new(None),
            ponged: Cell::new(0),
            last_received: Cell::new(now),
            held: Cell::new(false),
            session: WakeUp::at(now),
            wants_room: Cell::new(false),
            reader: RefCell::default(),
            closed: Cell::new(false),
            lost: Cell::new(false),
            identified: Cell::new(false),
            closing: Notify::new(),
            gateway: GatewayLink::default(),
            socket,
        })
    }

    /// Runs `work` on the outbound queue. A nested call panics.
    pub fn outbox<R>(&self, work: impl FnOnce(&mut OutboundQueue) -> R) -> R {
        work(&mut self.outbox.borrow_mut())
    }

    // --- the socket half ---

    pub fn on_received(&self) {
        self.last_received.set(Instant::now());
    }

    /// Pauses or resumes the reader. Restarts the idle timer, because the silence during a pause is not the client's.
    pub fn hold(&self, held: bool) {
        self.held.set(held);
        self.on_received();
    }

    /// Returns true while the reader is paused.
    pub(super) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// Returns the next chunk to write; `None` after the close frame.
    pub fn poll_piece(&self, cx: &mut Context<'_>, framing: &dyn Framing) -> Poll<Option<WriteChunk>> {
        let sent = self.outbox(|outbox| outbox.sent());
        let (piece, is_behind) = self.outbox(|outbox| (outbox.poll_piece(cx, framing), outbox.behind()));
        if framing.confirms_by_pong() && self.outbox(|outbox| outbox.sent()) > sent {
            let now = Instant::now();
            self.unconfirmed_at.set(Some(now));
            // The session's deadline was set before this event.
            self.session.not_after(now + CONFIRM_AFTER);
        }
        // Only for a session that paused because of this queue: others need no wake-up per chunk.
        if self.wants_room.get() && !is_behind {
            self.wants_room.set(false);
            self.request_check();
        }
        if !is_behind {
            self.wake_reader();
        }
        piece
    }

    /// Discards the responses, now and later: nothing writes them any more.
    pub fn on_unread(&self) {
        // Unread responses would pause the session forever, and with it the reader, which reports the lost connection.
        self.outbox(|outbox| outbox.discard_answers());
        self.request_check();
        self.wake_reader();
    }

    /// Resolves once the client leaves few enough responses unread. For the reader of the connection, which is the only
    /// caller at a time.
    pub async fn room(&self) {
        std::future::poll_fn(|cx| {
            if self.outbox(|outbox| outbox.behind()) {
                self.reader.replace(Some(cx.waker().clone()));
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    /// Returns true once the client is authenticated.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.identified.get()
    }

    /// Records the pong to the ping behind the event with number `n`, and wakes the session. Other numbers are ignored.
    pub fn on_pong(&self, n: u64) {
        if n > self.ponged.get() && n <= self.outbox(|outbox| outbox.sent()) {
            self.ponged.set(n);
            self.request_check();
        }
    }

    /// Records that the client has applied the events up to `n`, which leave the replay buffer at once. The first
    /// confirmation wakes the session: it shows that the client uses this one. The session reads later ones together, at
    /// most `patience` after the first of them: a client that acknowledges every event would wake it as often.
    pub(super) fn on_confirmed(&self, n: u64, patience: Duration) {
        self.confirm(n);
        match self.gateway.confirm(n) {
            ConfirmationEffect::None => {}
            ConfirmationEffect::First => self.request_check(),
            ConfirmationEffect::Unread(since) => self.session.not_after(since + patience),
        }
    }

    /// Records a dead connection and wakes the session.
    pub fn lose(&self) {
        self.lost.set(true);
        self.request_check();
    }

    /// Resolves when the session has ended.
    pub async fn closing(&self) {
        if !self.closed.get() {
            self.closing.notified().await;
        }
    }

    /// Wakes the writer after [`Framing::takes_event`] became true again.
    pub fn wake_writer(&self) {
        self.outbox(OutboundQueue::wake);
    }

    // --- the gateway state ---

    /// Replaces the state that is carried with the session. A resume copies the last one that was set, also while this
    /// connection is still open: a gateway sets it after every change that its next connection must know.
    ///
    /// # Errors
    /// [`GatewayStateTooLarge`]; the previous state stays.
    pub fn set_gateway_state(&self, state: Bytes) -> Result<(), GatewayStateTooLarge> {
        self.gateway.set_state(state)?;
        // The session writes the state of a device soon, so that it survives the node.
        self.request_check();
        Ok(())
    }

    /// Replaces the state after a change that the events cause, and that means nothing once the session is lost. It is
    /// carried with the session as any other, and written with the next cursors of the device.
    ///
    /// # Errors
    /// [`GatewayStateTooLarge`]; the previous state stays.
    pub fn set_gateway_progress(&self, state: Bytes) -> Result<(), GatewayStateTooLarge> {
        self.gateway.set_progress(state)
    }

    /// Number of the changes by [`set_gateway_state`](Self::set_gateway_state).
    pub(super) fn gateway_revision(&self) -> u64 {
        self.gateway.revision()
    }

    /// Returns the state set last, or that of the resumed session. It is restored before `ready` is queued.
    #[must_use]
    pub fn gateway_state(&self) -> Bytes {
        self.gateway.state()
    }

    /// Returns true if the session was rebuilt from the cursors of its device: its events begin again at number 1, and
    /// numbers in the restored state have no meaning.
    #[must_use]
    pub fn is_rebuilt(&self) -> bool {
        self.gateway.is_rebuilt()
    }

    pub(super) fn restore_gateway_state(&self, state: Bytes) {
        self.gateway.restore_state(state);
    }

    pub(super) fn rebuild_gateway_state(&self, state: Bytes) {
        self.gateway.rebuild_state(state);
    }

    /// Bytes that a detached session holds; `None` while a connection drains the queue.
    pub(super) fn detached_bytes(&self) -> Option<usize> {
        let events = self.outbox(|outbox| outbox.waits_alone())?;
        Some(events + self.gateway.state().len())
    }

    /// Restricts the events to those of selected conversations. The selection stays in use while the session is
    /// detached.
    pub fn select(&self, selection: Rc<dyn ConversationSelection>) {
        self.gateway.select(selection);
    }

    /// Returns true if the client receives the events of this conversation.
    pub(super) fn includes(&self, conversation: &ConversationId) -> bool {
        self.gateway.includes(conversation)
    }

    // --- the session ---

    /// Marks the client as authenticated and notifies the socket.
    pub(crate) fn identify(&self) {
        self.identified.set(true);
        if let Some(socket) = self.socket.upgrade() {
            socket.identified();
        }
    }

    /// Number of the last event that a pong confirmed; 0 without one.
    #[must_use]
    pub fn ponged(&self) -> u64 {
        self.ponged.get()
    }

    /// Returns the number up to which the client has confirmed events, and the time of the first confirmation since the
    /// last call; `None` without one.
    pub(super) fn take_confirmation(&self) -> Option<(u64, Instant)> {
        self.gateway.take_confirmation()
    }

    /// Time since the last written event that no ping or confirmation followed; `None` without one.
    #[must_use]
    pub fn unconfirmed_for(&self, now: Instant) -> Option<Duration> {
        let at = self.unconfirmed_at.get();
        at.map(|at| now.saturating_duration_since(at))
    }

    /// Queues a ping, whose pong confirms the events before it.
    pub fn ping(&self) {
        self.unconfirmed_at.set(None);
        self.outbox(|outbox| outbox.ping());
    }

    /// Removes the events up to `n`, which the client has applied.
    pub fn confirm(&self, n: u64) {
        let is_last = self.outbox(|outbox| {
            outbox.confirm(n);
            outbox.sent() <= n
        });
        if is_last {
            self.unconfirmed_at.set(None);
        }
    }

    /// Returns true if the transport detected a dead connection.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.get()
    }

    /// Time since the last received bytes; zero while the reader is paused.
    #[must_use]
    pub fn idle_time(&self, now: Instant) -> Duration {
        if self.held.get() {
            Duration::ZERO
        } else {
            now.saturating_duration_since(self.last_received.get())
        }
    }

    /// Returns true if the client leaves too many responses unread. The session is woken once that changes.
    #[must_use]
    pub fn behind(&self) -> bool {
        let behind = self.outbox(|outbox| outbox.behind());
        self.wants_room.set(behind);
        behind
    }

    /// Sets the deadline of the session's next timer.
    pub fn set_due(&self, at: Instant) {
        self.session.set_due(at);
    }

    /// Closes the connection: a close frame behind the queued output, and the end of the socket after `patience`.
    pub fn close(&self, code: Option<u16>, retry: Option<Duration>, drop_waiting: bool, patience: Duration) {
        // The first close decides: a later one must not replace its code.
        if self.closed.replace(true) {
            return;
        }
        let reason = retry.map_or_else(String::new, |retry| {
            CloseReason {
                retry_ms: u64::try_from(retry.as_millis()).unwrap_or(u64::MAX),
            }
            .encode()
        });
        self.outbox(|outbox| {
            outbox.close(code, &reason, drop_waiting);
            outbox.wake();
        });
        self.closing.notify_one();
        // A client that never reads blocks the close frame. The task holds only a weak handle and ends after
        // `patience`.
        let socket = self.socket.clone();
        actix_web::rt::spawn(async move {
            tokio::time::sleep(patience).await;
            if let Some(socket) = socket.upgrade() {
                socket.cut();
            }
        });
    }

    /// Returns true if the session has closed the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    // --- the wake-up of the session ---

    /// Wakes the session if its deadline has passed.
    pub fn tick(&self, now: Instant) {
        self.session.tick(now);
    }

    /// Makes the session check its timers, flags and backlog once.
    pub fn request_check(&self) {
        self.session.request_check();
    }

    fn wake_reader(&self) {
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.wake();
        }
    }

    /// Wakes the session's task.
    pub(super) fn wake(&self) {
        self.session.wake();
    }

    /// Returns true if a check was requested since the last call. Otherwise `cx` is woken at the next request.
    pub(super) fn poll_wake(&self, cx: &mut Context<'_>) -> bool {
        self.session.poll(cx)
    }
}

#[cfg(test)]
mod tests;
