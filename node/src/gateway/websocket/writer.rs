//! Step 13, the last: frames leave for the socket, as many as wait in one piece.
//!
//! The response body of the upgrade request. The server polls it when the connection takes more bytes; when it doesn't,
//! frames stay in the [outbox](crate::session::outbox), step 12, which is where a slow client is dealt with.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;

use super::frame::WebSocketFraming;
use crate::session::Link;
use crate::telemetry::metrics::Metrics;

/// The writing half of a connection.
pub(super) struct Writer {
    link: Rc<Link>,
    metrics: Metrics,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(link: Rc<Link>, metrics: Metrics) -> Writer {
        Writer { link, metrics }
    }
}

impl Stream for Writer {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.link.poll_piece(cx, &WebSocketFraming).map(|piece| {
            piece.map(|piece| {
                self.metrics.writes.inc();
                self.metrics.frames_out.inc_by(piece.frames);
                self.metrics.bytes_out.inc_by(piece.bytes.len() as u64);
                Ok(piece.bytes)
            })
        })
    }
}
