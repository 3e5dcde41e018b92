//! WebSocket frames from server to client. They are unmasked, so the bytes after the header are the same for every
//! receiver.

use bytes::{BufMut, BytesMut};

use crate::session::Framing;

/// Framing of queued frames for a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct WebSocketFraming;

/// First byte of a ping: opcode and FIN.
const PING: u8 = 0x89;
/// First byte of a pong: opcode and FIN.
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
/// Maximum payload of a control frame in bytes (RFC 6455, section 5.5).
const CONTROL_MAX: usize = 125;

// === impl WebSocketFraming ===

impl Framing for WebSocketFraming {
    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        text(out, body);
    }

    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]) {
        event(out, n, tail);
    }

    fn ping(&self, out: &mut BytesMut) {
        control(out, PING, b"");
    }

    fn pong(&self, out: &mut BytesMut, payload: &[u8]) {
        control(out, PONG, payload);
    }

    /// Writes a close frame; without a code it is empty.
    fn close(&self, out: &mut BytesMut, code: Option<u16>, reason: &str) {
        let mut payload = BytesMut::with_capacity(2 + reason.len());
        if let Some(code) = code {
            payload.put_u16(code);
            payload.put_slice(reason.as_bytes());
        }
        control(out, CLOSE, &payload);
    }
}

/// Appends a text frame.
fn text(out: &mut BytesMut, body: &[u8]) {
    header(out, body.len());
    out.put_slice(body);
}

/// Appends an event as one text frame: `{"n":413,` and the encoded payload.
fn event(out: &mut BytesMut, n: u64, tail: &[u8]) {
    // The frame header needs the number of digits first. A buffer avoids an allocation per event and session.
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(n).as_bytes();
    header(out, 5 + digits.len() + 1 + tail.len());
    out.put_slice(b"{\"n\":");
    out.put_slice(digits);
    out.put_u8(b',');
    out.put_slice(tail);
}

/// Appends a control frame. A payload beyond 125 bytes is truncated.
fn control(out: &mut BytesMut, opcode: u8, payload: &[u8]) {
    // A longer payload is no valid control frame; the client would close the connection.
    let payload = &payload[..payload.len().min(CONTROL_MAX)];
    out.put_u8(opcode);
    out.put_u8(payload.len() as u8);
    out.put_slice(payload);
}

fn header(out: &mut BytesMut, length: usize) {
    // 10 bytes: the longest header of an unmasked frame.
    out.reserve(length + 10);
    out.put_u8(TEXT);
    match length {
        0..=125 => out.put_u8(length as u8),
        126..=0xffff => {
            out.put_u8(126);
            out.put_u16(length as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(length as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_number_and_its_tail() {
        for n in [1, 9, 10, 413, u64::MAX] {
            let mut out = BytesMut::new();
            event(&mut out, n, br#""t":"x"}"#);
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
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = BytesMut::new();
            text(&mut out, &vec![b'x'; length]);
            assert_eq!(&out[..start.len()], start);
            assert_eq!(out.len(), start.len() + length);
        }
    }
}
