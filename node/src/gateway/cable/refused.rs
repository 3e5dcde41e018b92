//! Connection of a client that is not admitted. A browser shows its page no status of HTTP, so the upgrade is accepted
//! and the reason follows as the first frame.

use bytes::BufMut;
use protocol::{CloseCode, ErrorCode};

use crate::gateway::websocket::{
    MessageFraming, MessageHandler, MessageKinds, MessageWriter, Meter, ReadProgress, SessionOver,
    WebSocketMessage,
};
use crate::session::messages::Disconnect;

/// Framing that passes complete frames on.
pub(super) struct RefusalMessages;

/// Handler that reads nothing.
pub(super) struct RefusedClient;

/// Returns the close code of a refused client. `None`: the refusal is an HTTP response, cheaper than a connection.
pub(super) fn close_code(refusal: ErrorCode) -> Option<CloseCode> {
    match refusal {
        ErrorCode::TokenExpired => Some(CloseCode::TokenExpired),
        ErrorCode::Unauthenticated => Some(CloseCode::AuthFailed),
        // The token may be valid: the client tries again.
        ErrorCode::Unavailable => Some(CloseCode::Overloaded),
        _ => None,
    }
}

impl MessageFraming for RefusalMessages {
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        out.text(|out| out.put_slice(body));
    }

    fn event(&self, _out: &mut MessageWriter<'_>, _n: u64, _tail: &[u8]) {}
}

impl MessageHandler for RefusedClient {
    const KINDS: MessageKinds = MessageKinds::Text;

    fn max_message(&self) -> usize {
        // A subscription is sent before the refusal arrives.
        4_096
    }

    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        let bytes = match message {
            WebSocketMessage::Text(text) => text.len(),
            WebSocketMessage::Binary(bytes) => bytes.len(),
        };
        let ignored = meter.ignored(bytes, std::time::Instant::now());
        ignored.map_err(|violation| violation.close_code())?;
        Ok(ReadProgress::Continue)
    }

    fn is_pending(&self) -> bool {
        false
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        Ok(())
    }

    async fn end(self, _disconnect: Disconnect) {}
}
