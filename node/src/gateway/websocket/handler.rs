//! Interface between the frame layer and a protocol spoken over a WebSocket.

use protocol::CloseCode;

use super::frame_guard::MessageKinds;
use super::meter::Meter;
use crate::session::messages::Disconnect;

/// Message of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum WebSocketMessage<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// Continuation after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum ReadProgress {
    /// The next message follows at once.
    Continue,
    /// The messages so far are flushed before the next one, whose limits may depend on them.
    Flush,
}

/// The session has ended, and nothing more is read.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct SessionOver;

/// Protocol spoken over a WebSocket: receives the messages of one client.
///
/// The reader calls [`message`](Self::message) for each message of one read, then [`flush`](Self::flush), and reads on
/// only after it. Pings and the close handshake are handled by the frame layer.
pub(in crate::gateway) trait MessageHandler: 'static {
    /// Accepted kinds of messages. Others close the connection with 1003.
    const KINDS: MessageKinds;

    /// Returns the maximum size of the next message in bytes.
    fn max_message(&self) -> usize;

    /// Handles a message, and charges it to the meter. It must not wait: work that does belongs to `flush`.
    ///
    /// # Errors
    /// Code with which the connection is closed.
    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode>;

    /// Returns true if messages wait for `flush`.
    fn is_pending(&self) -> bool;

    /// Waits until the messages so far are accepted. This is the backpressure on the client.
    ///
    /// # Errors
    /// [`SessionOver`] if nothing more is to be read.
    async fn flush(&mut self) -> Result<(), SessionOver>;

    /// Resolves once messages wait for `flush` that no message of the client caused. By default there are none.
    async fn requested(&self) {
        std::future::pending().await
    }

    /// Ends the connection from the client's side.
    async fn end(self, disconnect: Disconnect);
}
