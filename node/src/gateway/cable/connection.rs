//! State of one connection, shared by its reader, its writer and the ping wheel, all on one thread.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bytes::{Bytes, BytesMut};
use protocol::ConversationId;
use tokio::sync::Notify;

use super::translator::{CableTranslator, FrameSink};
use crate::session::messages::ReceivedCommand;
use crate::session::{ConnectionHandle, ConversationSelection};

/// Pings without a request for history after which a continued subscription goes on without one.
const PATIENCE_PINGS: u8 = 3;

/// Connection of a client that is authenticated.
pub(super) struct CableConnection {
    translator: RefCell<CableTranslator>,
    link: RefCell<Weak<ConnectionHandle>>,
    /// True while a ping waits in the outbound queue; another one would say nothing new.
    has_ping: Cell<bool>,
    pings: Cell<u8>,
    /// True once the client has sent a close frame: it reads no further messages.
    is_closed_by_client: Cell<bool>,
    changed: Notify,
}

/// Sink of frames that are queued behind those of the session.
pub(super) struct QueueSink<'a>(&'a ConnectionHandle);

// === impl CableConnection ===

impl CableConnection {
    pub(super) fn new(translator: CableTranslator) -> Rc<CableConnection> {
        Rc::new(CableConnection {
            translator: RefCell::new(translator),
            link: RefCell::default(),
            has_ping: Cell::new(false),
            pings: Cell::new(0),
            is_closed_by_client: Cell::new(false),
            changed: Notify::new(),
        })
    }

    /// Sets the connection's handle, once.
    pub(super) fn attach(self: &Rc<Self>, link: &Rc<ConnectionHandle>) {
        *self.link.borrow_mut() = Rc::downgrade(link);
        link.select(self.clone());
    }

    /// Runs `work` on the translator, and wakes the reader if there are requests for the session.
    pub(super) fn translate<R>(&self, work: impl FnOnce(&mut CableTranslator) -> R) -> R {
        let mut translator = self.translator.borrow_mut();
        let was_welcomed = translator.is_welcomed();
        let result = work(&mut translator);
        if let Some(state) = translator.take_changed_state() {
            self.keep(state);
        }
        if translator.has_requests() || translator.is_welcomed() != was_welcomed {
            self.changed.notify_one();
        }
        result
    }

    /// Runs `work` on the translator. Its frames are queued behind those of the session.
    pub(super) fn translate_queued<R>(
        &self,
        work: impl FnOnce(&mut CableTranslator, &mut QueueSink<'_>) -> R,
    ) -> Option<R> {
        let link = self.link.borrow().upgrade()?;
        Some(self.translate(|translator| work(translator, &mut QueueSink(&link))))
    }

    /// Continues the subscriptions of the session that this one resumed.
    pub(super) fn restore(&self) {
        if let Some(link) = self.link.borrow().upgrade() {
            self.translator.borrow_mut().restore(&link.gateway_state());
        }
    }

    /// Keeps the state for the session that continues this one.
    fn keep(&self, state: Bytes) {
        let Some(link) = self.link.borrow().upgrade() else {
            return;
        };
        if link.set_gateway_state(state).is_err() {
            // An older state would continue subscriptions that have ended. Without one the client subscribes anew.
            let _cleared = link.set_gateway_state(Bytes::new());
        }
    }

    /// Drains the requests for the session.
    pub(super) fn take_requests(&self) -> Vec<ReceivedCommand> {
        self.translator.borrow_mut().take_requests()
    }

    pub(super) fn has_requests(&self) -> bool {
        self.translator.borrow().has_requests()
    }

    pub(super) fn is_welcomed(&self) -> bool {
        self.translator.borrow().is_welcomed()
    }

    /// Waits until there are requests, or the client is welcomed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Queues a ping, unless the previous one is still queued.
    pub(super) fn ping(&self, frame: &Bytes) {
        if !self.is_welcomed() {
            return;
        }
        let Some(link) = self.link.borrow().upgrade() else {
            return;
        };
        // One at most: a client that reads nothing must not fill the queue.
        if !self.has_ping.replace(true) {
            link.outbox(|outbox| outbox.answer(frame.clone()));
        }
        if self.translator.borrow().awaits_ping() {
            self.translate_queued(|translator, sink| translator.on_ping(sink));
        }
        let pings = self.pings.get();
        if pings <= PATIENCE_PINGS {
            self.pings.set(pings + 1);
            if pings == PATIENCE_PINGS {
                self.translate_queued(|translator, sink| translator.on_patience_over(sink));
            }
        }
    }

    /// Records that the queued ping is written.
    pub(super) fn on_ping_written(&self) {
        self.has_ping.set(false);
    }

    pub(super) fn is_closed_by_client(&self) -> bool {
        self.is_closed_by_client.get()
    }

    pub(super) fn on_close_frame(&self) {
        self.is_closed_by_client.set(true);
    }
}

impl ConversationSelection for CableConnection {
    fn includes(&self, conversation: &ConversationId) -> bool {
        self.translator.borrow().covers(conversation.as_str())
    }
}

// === impl QueueSink ===

impl FrameSink for QueueSink<'_> {
    fn frame(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut frame = BytesMut::new();
        write(&mut frame);
        self.0.outbox(|outbox| outbox.answer(frame.freeze()));
    }
}
