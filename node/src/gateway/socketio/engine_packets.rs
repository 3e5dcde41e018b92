//! Output of an engine connection as packets, over a WebSocket or for a poll.

use std::rc::Rc;

use bytes::{BufMut, BytesMut};

use super::engine_packet::SEPARATOR;
#[cfg(any(test, feature = "conformance"))]
use super::engine_packet::write_binary;
use crate::gateway::websocket::{MessageFraming, MessageWriter};
use crate::session::Framing;

/// Receiver of the packets of one write.
pub(super) trait PacketSink {
    /// Appends the packet that `write` appends to the buffer, its type digit included.
    fn packet(&mut self, write: impl FnOnce(&mut BytesMut));

    /// Appends a binary message.
    #[cfg(any(test, feature = "conformance"))]
    fn binary(&mut self, bytes: &[u8]);
}

/// Application on an engine connection, as seen by its output.
pub(super) trait EngineOutput: 'static {
    /// Writes an entry of the outbound queue that is no event.
    fn queued(&self, body: &[u8], sink: &mut impl PacketSink);

    /// Writes event `n`, given as everything behind its number.
    fn event(&self, n: u64, tail: &[u8], sink: &mut impl PacketSink);

    /// Writes a ping behind event `sent`.
    fn ping(&self, sent: u64, sink: &mut impl PacketSink);

    /// Writes the last packets.
    fn close(&self, code: Option<u16>, reason: &str, sink: &mut impl PacketSink);

    /// Returns true once the client has ended the connection.
    fn is_closed_by_client(&self) -> bool;
}

/// Output over a WebSocket: each packet is a message.
pub(super) struct WebSocketPackets<O>(pub(super) Rc<O>);

/// Output for polls: the packets of one write are a payload.
pub(super) struct PolledPackets<O>(pub(super) Rc<O>);

/// Sink of the packets of a payload.
struct PayloadSink<'a> {
    payload: &'a mut BytesMut,
}

// === impl WebSocketPackets ===

impl PacketSink for MessageWriter<'_> {
    fn packet(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.text(write);
    }

    #[cfg(any(test, feature = "conformance"))]
    fn binary(&mut self, bytes: &[u8]) {
        MessageWriter::binary(self, |out| out.put_slice(bytes));
    }
}

impl<O: EngineOutput> MessageFraming for WebSocketPackets<O> {
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        self.0.queued(body, out);
    }

    fn event(&self, out: &mut MessageWriter<'_>, n: u64, tail: &[u8]) {
        self.0.event(n, tail, out);
    }

    /// Writes a ping of the engine, which is a message of its own kind.
    fn ping(&self, out: &mut MessageWriter<'_>, sent: u64) {
        self.0.ping(sent, out);
    }

    fn end(&self, out: &mut MessageWriter<'_>, code: Option<u16>, reason: &str) {
        self.0.close(code, reason, out);
    }
}

// === impl PolledPackets ===

impl PacketSink for PayloadSink<'_> {
    fn packet(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if !self.payload.is_empty() {
            self.payload.put_u8(SEPARATOR);
        }
        write(self.payload);
    }

    #[cfg(any(test, feature = "conformance"))]
    fn binary(&mut self, bytes: &[u8]) {
        self.packet(|out| write_binary(bytes, out));
    }
}

impl<O: EngineOutput> Framing for PolledPackets<O> {
    fn answer(&self, payload: &mut BytesMut, body: &[u8]) {
        self.0.queued(body, &mut PayloadSink { payload });
    }

    fn event(&self, payload: &mut BytesMut, n: u64, tail: &[u8]) {
        self.0.event(n, tail, &mut PayloadSink { payload });
    }

    fn ping(&self, payload: &mut BytesMut, sent: u64) {
        self.0.ping(sent, &mut PayloadSink { payload });
    }

    fn confirms_by_pong(&self) -> bool {
        true
    }

    /// Writes nothing: the client sends no pings.
    fn pong(&self, _payload: &mut BytesMut, _data: &[u8]) {}

    /// Writes the last packets and the close packet, which ends the transport. A client that has ended the connection
    /// itself waits only for the end of its poll.
    fn close(&self, payload: &mut BytesMut, code: Option<u16>, reason: &str) {
        let mut sink = PayloadSink { payload };
        self.0.close(code, reason, &mut sink);
        let last = if self.0.is_closed_by_client() { b'6' } else { b'1' };
        sink.packet(|out| out.put_u8(last));
    }
}
