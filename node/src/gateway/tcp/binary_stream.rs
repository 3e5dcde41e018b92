//! Byte stream in the binary messages of a WebSocket: a packet may span messages, and a message may contain many
//! packets.

use protocol::CloseCode;

use super::StreamHandler;
use crate::gateway::websocket::{
    MessageFraming, MessageHandler, MessageKinds, MessageWriter, Meter, ReadProgress, SessionOver,
    WebSocketMessage,
};
use crate::session::Framing;
use crate::session::messages::Disconnect;

/// Handler of a byte stream over a WebSocket.
pub(in crate::gateway) struct BinaryStream<H> {
    pub(in crate::gateway) handler: H,
    /// Maximum size of a message in bytes.
    pub(in crate::gateway) max_message: usize,
}

/// Framing of a byte stream over a WebSocket. Pings have no payload: the protocol confirms events by itself.
pub(in crate::gateway) struct BinaryFraming<F>(pub(in crate::gateway) F);

// === impl BinaryStream ===

impl<H: StreamHandler> MessageHandler for BinaryStream<H> {
    const KINDS: MessageKinds = MessageKinds::Binary;

    fn max_message(&self) -> usize {
        self.max_message
    }

    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        match message {
            WebSocketMessage::Binary(bytes) => self.handler.receive(bytes, meter)?,
            // Refused by the frame guard.
            WebSocketMessage::Text(_) => return Err(CloseCode::Binary),
        }
        // Each message at once: the handler bounds its memory by what it gets between two flushes.
        Ok(ReadProgress::Flush)
    }

    fn is_pending(&self) -> bool {
        self.handler.is_pending()
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        self.handler.flush().await
    }

    async fn requested(&self) {
        self.handler.requested().await;
    }

    async fn end(self, disconnect: Disconnect) {
        self.handler.end(disconnect).await;
    }
}

// === impl BinaryFraming ===

impl<F: Framing> MessageFraming for BinaryFraming<F> {
    fn takes_event(&self) -> bool {
        self.0.takes_event()
    }

    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        out.stream(|out| self.0.answer(out, body));
    }

    fn event(&self, out: &mut MessageWriter<'_>, n: u64, tail: &[u8]) {
        out.stream(|out| self.0.event(out, n, tail));
    }

    fn ping(&self, out: &mut MessageWriter<'_>, _sent: u64) {
        out.ping(b"");
    }

    fn confirms_by_pong(&self) -> bool {
        false
    }

    fn end(&self, out: &mut MessageWriter<'_>, code: Option<u16>, reason: &str) {
        out.stream(|out| self.0.close(out, code, reason));
    }
}
