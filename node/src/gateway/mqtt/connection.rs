//! State of one connection, shared by its reader and its writer, both on one thread.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use bytes::BytesMut;
use protocol::ConversationId;
use tokio::sync::Notify;

use super::translator::{ChangedState, MqttTranslator};
use crate::session::{ConnectionHandle, ConversationSelection};

/// Connection with the translator of its client.
pub(super) struct MqttConnection {
    /// `None` until the client is authenticated.
    translator: RefCell<Option<MqttTranslator>>,
    link: RefCell<Weak<ConnectionHandle>>,
    connected: Notify,
    /// Notified when an answer of the session causes another request.
    requested: Notify,
}

// === impl MqttConnection ===

impl MqttConnection {
    pub(super) fn new() -> Rc<MqttConnection> {
        Rc::new(MqttConnection {
            translator: RefCell::new(None),
            link: RefCell::default(),
            connected: Notify::new(),
            requested: Notify::new(),
        })
    }

    /// Sets the translator of the authenticated client, before its session opens.
    pub(super) fn begin(self: &Rc<Self>, translator: MqttTranslator, link: &Rc<ConnectionHandle>) {
        *self.translator.borrow_mut() = Some(translator);
        *self.link.borrow_mut() = Rc::downgrade(link);
        link.select(self.clone());
    }

    /// Runs `work` on the translator, and then what follows from its change. `None`: there is no translator yet.
    pub(super) fn translate<R>(&self, work: impl FnOnce(&mut MqttTranslator) -> R) -> Option<R> {
        let mut translator = self.translator.borrow_mut();
        let translator = translator.as_mut()?;
        self.restore(translator);
        let (was_connected, was_failed) = (translator.is_connected(), translator.is_failed());
        let result = work(translator);
        let link = self.link.borrow().upgrade()?;
        if let Some(ChangedState { state, is_lasting }) = translator.take_state() {
            // The number changes with the events, and a rebuilt session ignores it: alone it is no reason to write.
            let set = if is_lasting {
                link.set_gateway_state(state)
            } else {
                link.set_gateway_progress(state)
            };
            // The bounds of the filters keep the state below the limit.
            if let Err(error) = set {
                tracing::warn!(%error, "the subscriptions of an MQTT client are not kept");
            }
        }
        if translator.is_connected() && !was_connected {
            self.connected.notify_one();
        }
        if translator.is_failed() && !was_failed {
            // Not by the reader, which may be waiting for the client. The session stays resumable.
            link.lose();
        }
        Some(result)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.translator
            .borrow()
            .as_ref()
            .is_some_and(MqttTranslator::is_connected)
    }

    /// Waits until CONNACK is written.
    pub(super) async fn connected(&self) {
        while !self.is_connected() {
            self.connected.notified().await;
        }
    }

    pub(super) fn takes_event(&self) -> bool {
        self.translator
            .borrow()
            .as_ref()
            .is_none_or(MqttTranslator::takes_event)
    }

    pub(super) fn has_requests(&self) -> bool {
        self.translator
            .borrow()
            .as_ref()
            .is_some_and(MqttTranslator::has_requests)
    }

    /// Translates an answer of the session. The reader passes on a request that it causes.
    pub(super) fn answer(&self, body: &[u8], out: &mut BytesMut) {
        self.translate(|translator| translator.on_answer(body, out));
        if self.has_requests() {
            self.requested.notify_one();
        }
    }

    /// Waits until an answer of the session has caused another request.
    pub(super) async fn requested(&self) {
        self.requested.notified().await;
    }

    /// Appends the last packet of the connection.
    pub(super) fn close(&self, code: Option<u16>, out: &mut BytesMut) {
        self.translate(|translator| {
            translator.close(code, out);
            translator.on_end();
        });
    }

    /// Hands the state of the resumed session to the translator, which is there before the events that it selects.
    fn restore(&self, translator: &mut MqttTranslator) {
        if !translator.is_opening() {
            return;
        }
        if let Some(link) = self.link.borrow().upgrade() {
            translator.restore(&link.gateway_state(), link.is_rebuilt());
        }
    }
}

impl ConversationSelection for MqttConnection {
    fn includes(&self, conversation: &ConversationId) -> bool {
        let covers = |translator: &mut MqttTranslator| translator.covers(conversation.as_str());
        self.translate(covers).unwrap_or(false)
    }
}
