//! Protocols over byte streams: on a TCP listener of their own, or in the binary messages of a WebSocket.
//!
//! A protocol implements [`StreamHandler`] for the bytes from the client, and [`Framing`] for those to it.
//! [`TcpProtocol`] makes both for each connection. `connection` serves one on a raw socket, with the permits, limits
//! and socket options of an HTTP connection. `BinaryStream` makes a handler speak over a WebSocket.

mod binary_stream;
mod connection;
#[cfg(feature = "conformance")]
mod line_echo;

use std::rc::Rc;

use protocol::CloseCode;

use super::websocket::{Meter, SessionOver};
use crate::session::messages::Disconnect;
use crate::session::{ConnectionHandle, Framing, WorkerContext};

pub(super) use binary_stream::{BinaryFraming, BinaryStream};
pub(super) use connection::serve_connection;
#[cfg(feature = "conformance")]
pub(super) use line_echo::{LineEcho, routes as conformance_routes};

/// Protocol with a TCP listener of its own.
pub(super) trait TcpProtocol: Clone + Send + 'static {
    type Handler: StreamHandler;
    type Framing: Framing + 'static;

    /// Creates handler and framing of a connection that has sent its first bytes.
    fn accept(
        &self,
        worker: &Rc<WorkerContext>,
        link: &Rc<ConnectionHandle>,
    ) -> (Self::Handler, Self::Framing);
}

/// Protocol spoken over a byte stream: receives the bytes of one client.
///
/// The reader calls [`receive`](Self::receive) for each read, then [`flush`](Self::flush), and reads on only after it.
pub(super) trait StreamHandler: 'static {
    /// Handles bytes, and charges them to the meter. It must not wait: work that does belongs to `flush`.
    ///
    /// An incomplete packet is kept. Its length is checked before anything is allocated for it.
    ///
    /// # Errors
    /// Code with which the connection is closed.
    fn receive(&mut self, bytes: &[u8], meter: &mut Meter) -> Result<(), CloseCode>;

    /// Returns true if packets wait for `flush`.
    fn is_pending(&self) -> bool;

    /// Waits until the packets so far are accepted. This is the backpressure on the client.
    ///
    /// # Errors
    /// [`SessionOver`] if nothing more is to be read.
    async fn flush(&mut self) -> Result<(), SessionOver>;

    /// Resolves once packets wait for `flush` that no bytes of the client caused. By default there are none.
    async fn requested(&self) {
        std::future::pending().await
    }

    /// Ends the connection from the client's side. A handler without a session closes its handle.
    async fn end(self, disconnect: Disconnect);
}
