//! Writes queued frames to the socket, all available ones in one chunk.
//!
//! Spine: step 13 of 13. Previous: `node: session/delivery/outbound_queue`. Next: none.
//!
//! The writer is the response body of the upgrade request. The server polls it when the connection accepts more bytes.
//! Otherwise frames stay in the [outbound queue](crate::session::OutboundQueue), where the slow-consumer
//! policy applies.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use super::frame_writer::{MessageFraming, WebSocketFraming};
use crate::session::ConnectionHandle;
use crate::telemetry::metrics::ServerMetrics;

/// Writing half of a connection.
pub(super) struct SocketWriter<F> {
    link: Rc<ConnectionHandle>,
    framing: WebSocketFraming<F>,
    metrics: ServerMetrics,
}

// === impl SocketWriter ===

impl<F> SocketWriter<F> {
    pub(super) fn new(link: Rc<ConnectionHandle>, framing: F, metrics: ServerMetrics) -> SocketWriter<F> {
        SocketWriter {
            link,
            framing: WebSocketFraming(framing),
            metrics,
        }
    }
}

/// Releases a session that waits for its client to read: the server drops the body when the connection is closed.
impl<F> Drop for SocketWriter<F> {
    fn drop(&mut self) {
        self.link.on_unread();
    }
}

impl<F: MessageFraming + Unpin> Stream for SocketWriter<F> {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.link.poll_piece(cx, &self.framing).map(|piece| {
            piece.map(|piece| {
                self.metrics.writes.inc();
                self.metrics.frames_out.inc_by(piece.frames);
                self.metrics.bytes_out.inc_by(piece.bytes.len() as u64);
                Ok(piece.bytes)
            })
        })
    }
}
