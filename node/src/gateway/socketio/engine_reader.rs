//! Packets of the client of one engine connection, common to both transports.

use std::rc::Rc;
use std::time::Instant;

use protocol::CloseCode;

use super::engine_packet::EnginePacket;
use crate::gateway::websocket::{Meter, ReadProgress, SessionOver};
use crate::session::ConnectionHandle;
use crate::session::messages::Disconnect;
use crate::telemetry::metrics::{GatewayLabels, ServerMetrics};

/// Name of this gateway in the metrics.
pub(super) const LABELS: GatewayLabels = GatewayLabels { gateway: "socketio" };

/// Message of a client, without the packet type of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EngineMessage<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// Application on an engine connection, as seen by its input.
pub(super) trait EngineInput: 'static {
    /// Returns the maximum size of the next message in bytes.
    fn max_message(&self) -> usize;

    /// Handles a message, and charges it to the meter. It must not wait: work that does belongs to `flush`.
    ///
    /// # Errors
    /// Code with which the connection is closed.
    fn message(&mut self, message: EngineMessage<'_>, meter: &mut Meter) -> Result<(), CloseCode>;

    /// Handles the pong to a ping of the server.
    fn pong(&mut self);

    /// Returns true if messages wait for `flush`.
    fn is_pending(&self) -> bool;

    /// Waits until the messages so far are accepted.
    ///
    /// # Errors
    /// [`SessionOver`] if nothing more is to be read.
    async fn flush(&mut self) -> Result<(), SessionOver>;

    /// Ends the connection from the client's side.
    async fn disconnect(&mut self, disconnect: Disconnect);
}

/// Reader of one engine connection.
pub(super) struct EngineReader<I> {
    input: I,
    link: Rc<ConnectionHandle>,
    metrics: ServerMetrics,
    /// True once the client has closed the engine by a packet.
    is_closed: bool,
}

// === impl EngineReader ===

impl<I: EngineInput> EngineReader<I> {
    pub(super) fn new(input: I, link: Rc<ConnectionHandle>, metrics: ServerMetrics) -> EngineReader<I> {
        metrics.gateway_connections.get_or_create(&LABELS).inc();
        EngineReader {
            input,
            link,
            metrics,
            is_closed: false,
        }
    }

    pub(super) fn max_message(&self) -> usize {
        self.input.max_message()
    }

    /// Handles a packet.
    ///
    /// # Errors
    /// Code with which the connection is closed.
    pub(super) fn packet(
        &mut self,
        packet: &EnginePacket<'_>,
        meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        match packet {
            EnginePacket::Message(text) => self.input.message(EngineMessage::Text(text), meter)?,
            EnginePacket::Binary(bytes) => self.input.message(EngineMessage::Binary(bytes), meter)?,
            EnginePacket::Pong(_) => {
                ignored(meter, 1)?;
                self.input.pong();
            }
            EnginePacket::Noop => {
                ignored(meter, 1)?;
                self.metrics.gateway_frames_ignored.get_or_create(&LABELS).inc();
            }
            EnginePacket::Close => {
                self.is_closed = true;
                return Ok(ReadProgress::Flush);
            }
            // The server pings, and an upgrade begins on a WebSocket of its own.
            EnginePacket::Open(_) | EnginePacket::Ping(_) | EnginePacket::Upgrade => {
                return Err(CloseCode::Protocol);
            }
        }
        Ok(ReadProgress::Continue)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.is_closed || self.input.is_pending() || self.is_behind()
    }

    /// Waits until the packets so far are accepted, and the client reads what they caused.
    ///
    /// # Errors
    /// [`SessionOver`] if nothing more is to be read.
    pub(super) async fn flush(&mut self) -> Result<(), SessionOver> {
        self.input.flush().await?;
        if self.is_closed {
            self.input.disconnect(Disconnect::CloseFrame(None)).await;
            return Err(SessionOver);
        }
        // Packets without a request have no other limit: their answers wait until the client reads.
        tokio::select! {
            () = self.link.room() => Ok(()),
            () = self.link.closing() => Err(SessionOver),
        }
    }

    /// Ends the connection from the client's side.
    pub(super) async fn disconnect(&mut self, disconnect: Disconnect) {
        self.input.disconnect(disconnect).await;
    }

    fn is_behind(&self) -> bool {
        self.link.outbox(|outbox| outbox.behind())
    }
}

impl<I> Drop for EngineReader<I> {
    fn drop(&mut self) {
        self.metrics.gateway_connections.get_or_create(&LABELS).dec();
    }
}

/// Charges a packet without a request.
///
/// # Errors
/// Code with which a client is closed that sends too many.
pub(super) fn ignored(meter: &mut Meter, bytes: usize) -> Result<(), CloseCode> {
    let counted = meter.ignored(bytes, Instant::now());
    counted.map_err(|violation| violation.close_code())
}
