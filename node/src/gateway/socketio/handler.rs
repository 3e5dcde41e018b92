//! Messages of a WebSocket: each is one packet.

use protocol::CloseCode;

use super::engine_packet::EnginePacket;
use super::engine_reader::{EngineInput, EngineReader};
use crate::gateway::websocket::{
    MessageHandler, MessageKinds, Meter, ReadProgress, SessionOver, WebSocketMessage,
};
use crate::session::messages::Disconnect;

/// Reader of an engine connection that began over a WebSocket.
pub(super) struct WebSocketReader<I>(pub(super) EngineReader<I>);

// === impl WebSocketReader ===

impl<I: EngineInput> MessageHandler for WebSocketReader<I> {
    const KINDS: MessageKinds = MessageKinds::Any;

    fn max_message(&self) -> usize {
        self.0.max_message()
    }

    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        let packet = match message {
            WebSocketMessage::Text(text) => packet_of(text)?,
            WebSocketMessage::Binary(bytes) => EnginePacket::Binary(bytes.into()),
        };
        self.0.packet(&packet, meter)
    }

    fn is_pending(&self) -> bool {
        self.0.is_pending()
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        self.0.flush().await
    }

    async fn end(mut self, disconnect: Disconnect) {
        self.0.disconnect(disconnect).await;
    }
}

/// Reads a text message. Binary data has a message of its own there.
fn packet_of(text: &str) -> Result<EnginePacket<'_>, CloseCode> {
    match EnginePacket::parse(text) {
        Ok(EnginePacket::Binary(_)) | Err(_) => Err(CloseCode::Protocol),
        Ok(packet) => Ok(packet),
    }
}
