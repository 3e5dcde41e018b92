//! WebSocket frames from server to client. They are unmasked, so the bytes after the header are the same for every
//! receiver.
//!
//! A protocol's [`MessageFraming`] makes the messages, and the frame layer puts the headers in front of them.

use bytes::{BufMut, BytesMut};

use crate::session::Framing;

/// Messages of a protocol spoken over a WebSocket. A method that appends nothing writes nothing.
pub trait MessageFraming {
    /// Returns true if the next event may be written, see [`Framing::takes_event`].
    fn takes_event(&self) -> bool {
        true
    }

    /// Appends a response, a whole JSON object.
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]);

    /// Appends an event, given as everything after its number.
    fn event(&self, out: &mut MessageWriter<'_>, n: u64, tail: &[u8]);

    /// Appends a keepalive behind the event with number `sent`. By default it is a WebSocket ping that contains the
    /// number, so that its pong confirms the events.
    fn ping(&self, out: &mut MessageWriter<'_>, sent: u64) {
        out.ping(&sent.to_be_bytes());
    }

    /// Returns true if the pong of a ping confirms the events before it.
    fn confirms_by_pong(&self) -> bool {
        true
    }

    /// Appends the last messages in front of the close frame; by default none.
    fn end(&self, _out: &mut MessageWriter<'_>, _code: Option<u16>, _reason: &str) {}
}

/// Appends whole messages as frames.
pub struct MessageWriter<'a> {
    out: &'a mut BytesMut,
}

/// Framing of queued frames for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct WebSocketFraming<F>(pub F);

/// Messages of the native protocol, in JSON.
#[derive(Clone, Copy, Debug)]
pub struct JsonMessages;

/// First byte of a ping: opcode and FIN.
const PING: u8 = 0x89;
/// First byte of a pong: opcode and FIN.
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
/// Maximum payload of a control frame in bytes (RFC 6455, section 5.5).
const CONTROL_MAX: usize = 125;
/// Bytes of an empty message.
const EMPTY: usize = 2;
/// Bytes reserved for the header of a message: that of 126 to 65,535 bytes, the most frequent length.
const HEADER: usize = 4;

// === impl MessageWriter ===

impl MessageWriter<'_> {
    /// Appends the text message that `write` appends to the output, empty or not.
    pub fn text(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.message(TEXT, write);
    }

    /// Appends the binary message that `write` appends to the output, empty or not.
    pub fn binary(&mut self, write: impl FnOnce(&mut BytesMut)) {
        self.message(BINARY, write);
    }

    /// Appends a part of a byte stream as one binary message, unless `write` appends nothing.
    pub fn stream(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let start = self.out.len();
        self.binary(write);
        if self.out.len() == start + EMPTY {
            self.out.truncate(start);
        }
    }

    /// Appends a ping. A payload beyond 125 bytes is truncated.
    pub fn ping(&mut self, payload: &[u8]) {
        self.control(PING, payload);
    }

    fn message(&mut self, first: u8, write: impl FnOnce(&mut BytesMut)) {
        let start = self.out.len();
        // The length is known only behind the payload. Space for the usual header avoids moving most payloads.
        self.out.put_bytes(0, HEADER);
        write(self.out);
        let length = self.out.len() - start - HEADER;
        let mut header = [first, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let size = match length {
            0..=125 => {
                header[1] = length as u8;
                2
            }
            126..=0xffff => {
                header[1] = 126;
                header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            _ => {
                header[1] = 127;
                header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        let payload = start + HEADER..start + HEADER + length;
        if size > HEADER {
            self.out.put_bytes(0, size - HEADER);
        }
        if size != HEADER {
            self.out.copy_within(payload, start + size);
        }
        self.out.truncate(start + size + length);
        self.out[start..start + size].copy_from_slice(&header[..size]);
    }

    /// Appends a control frame. A payload beyond 125 bytes is truncated.
    fn control(&mut self, opcode: u8, payload: &[u8]) {
        // A longer payload is no valid control frame; the client would close the connection.
        let payload = &payload[..payload.len().min(CONTROL_MAX)];
        self.out.put_u8(opcode);
        self.out.put_u8(payload.len() as u8);
        self.out.put_slice(payload);
    }
}

// === impl WebSocketFraming ===

impl<F: MessageFraming> Framing for WebSocketFraming<F> {
    fn takes_event(&self) -> bool {
        self.0.takes_event()
    }

    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        self.0.answer(&mut MessageWriter { out }, body);
    }

    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]) {
        self.0.event(&mut MessageWriter { out }, n, tail);
    }

    fn ping(&self, out: &mut BytesMut, sent: u64) {
        self.0.ping(&mut MessageWriter { out }, sent);
    }

    fn confirms_by_pong(&self) -> bool {
        self.0.confirms_by_pong()
    }

    fn pong(&self, out: &mut BytesMut, payload: &[u8]) {
        MessageWriter { out }.control(PONG, payload);
    }

    /// Writes a close frame; without a code it is empty.
    fn close(&self, out: &mut BytesMut, code: Option<u16>, reason: &str) {
        let mut out = MessageWriter { out };
        self.0.end(&mut out, code, reason);
        let mut payload = BytesMut::with_capacity(2 + reason.len());
        if let Some(code) = code {
            payload.put_u16(code);
            payload.put_slice(reason.as_bytes());
        }
        out.control(CLOSE, &payload);
    }
}

// === impl JsonMessages ===

impl MessageFraming for JsonMessages {
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        out.text(|out| out.put_slice(body));
    }

    /// Appends an event as `{"n":413,` and the encoded payload.
    fn event(&self, out: &mut MessageWriter<'_>, n: u64, tail: &[u8]) {
        // A buffer avoids an allocation per event and session.
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(n).as_bytes();
        out.text(|out| {
            out.reserve(tail.len() + digits.len() + 6);
            out.put_slice(b"{\"n\":");
            out.put_slice(digits);
            out.put_u8(b',');
            out.put_slice(tail);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_number_and_its_tail() {
        for n in [1, 9, 10, 413, u64::MAX] {
            let mut out = BytesMut::new();
            WebSocketFraming(JsonMessages).event(&mut out, n, br#""t":"x"}"#);
            assert_eq!(
                &out[2..],
                protocol::event::event_frame(n, r#""t":"x"}"#).as_bytes()
            );
            assert_eq!(usize::from(out[1]), out.len() - 2);
        }
    }

    #[test]
    fn lengths_take_one_three_or_nine_bytes() {
        for (length, start) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload: Vec<u8> = (0..length).map(|i: u32| i as u8).collect();
            // Behind another frame, which stays as it is.
            let mut out = BytesMut::new();
            MessageWriter { out: &mut out }.ping(b"x");
            MessageWriter { out: &mut out }.text(|out| out.put_slice(&payload));
            let expected = [&[0x89, 1, b'x'][..], &start, &payload].concat();
            assert!(out == expected, "{length} bytes");
        }
    }

    #[test]
    fn ping_contains_the_number_of_the_last_event() {
        let mut out = BytesMut::new();
        WebSocketFraming(JsonMessages).ping(&mut out, 0x1_02);
        assert_eq!(out[..], [0x89, 8, 0, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn binary_messages_have_their_own_opcode() {
        let mut out = BytesMut::new();
        MessageWriter { out: &mut out }.binary(|out| out.put_u8(0xff));
        assert_eq!(out[..], [0x82, 1, 0xff]);
        MessageWriter { out: &mut out }.stream(|_| ());
        MessageWriter { out: &mut out }.stream(|out| out.put_u8(1));
        assert_eq!(out[..], [0x82, 1, 0xff, 0x82, 1, 1]);
    }
}
