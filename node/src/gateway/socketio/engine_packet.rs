//! Packets of Engine.IO 4, and payloads of several packets for long polling. Pure.
//!
//! A packet is a type digit and its data. Over a WebSocket each message is one packet, and a binary message is a message
//! packet as it is. Under polling a payload joins packets with `\x1e`, and a binary one is `b` and base64.

use std::borrow::Cow;

#[cfg(any(test, feature = "conformance", feature = "testkit"))]
use bytes::{BufMut, BytesMut};
use data_encoding::BASE64;

/// Separator of the packets of a payload.
pub(super) const SEPARATOR: u8 = 0x1e;

/// Packet of one engine connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EnginePacket<'a> {
    /// Handshake of the server, as JSON.
    Open(&'a str),
    Close,
    Ping(&'a str),
    Pong(&'a str),
    Message(&'a str),
    Binary(Cow<'a, [u8]>),
    Upgrade,
    Noop,
}

/// Text that is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnginePacketError {
    #[error("the packet is empty")]
    Empty,
    #[error("the packet has an unknown type")]
    Type,
    #[error("the packet has data that its type does not have")]
    Data,
    #[error("the binary packet is no base64")]
    Base64,
}

// === impl EnginePacket ===

impl<'a> EnginePacket<'a> {
    /// Reads a packet of a payload, or a text message of a WebSocket.
    ///
    /// # Errors
    /// Text that is no packet.
    pub(super) fn parse(text: &'a str) -> Result<EnginePacket<'a>, EnginePacketError> {
        let first = *text.as_bytes().first().ok_or(EnginePacketError::Empty)?;
        // Every type is one ASCII character, so the rest begins at a character.
        let data = text.get(1..).ok_or(EnginePacketError::Type)?;
        let bare = |packet| {
            if data.is_empty() {
                Ok(packet)
            } else {
                Err(EnginePacketError::Data)
            }
        };
        match first {
            b'0' => Ok(EnginePacket::Open(data)),
            b'1' => bare(EnginePacket::Close),
            b'2' => Ok(EnginePacket::Ping(data)),
            b'3' => Ok(EnginePacket::Pong(data)),
            b'4' => Ok(EnginePacket::Message(data)),
            b'5' => bare(EnginePacket::Upgrade),
            b'6' => bare(EnginePacket::Noop),
            b'b' => {
                let bytes = BASE64.decode(data.as_bytes());
                Ok(EnginePacket::Binary(Cow::Owned(
                    bytes.map_err(|_| EnginePacketError::Base64)?,
                )))
            }
            _ => Err(EnginePacketError::Type),
        }
    }

    /// Appends the packet as text, the form of a payload.
    #[cfg(any(test, feature = "conformance", feature = "testkit"))]
    pub(super) fn write(&self, out: &mut BytesMut) {
        let (digit, data) = match self {
            EnginePacket::Open(data) => (b'0', *data),
            EnginePacket::Close => (b'1', ""),
            EnginePacket::Ping(data) => (b'2', *data),
            EnginePacket::Pong(data) => (b'3', *data),
            EnginePacket::Message(data) => (b'4', *data),
            EnginePacket::Upgrade => (b'5', ""),
            EnginePacket::Noop => (b'6', ""),
            EnginePacket::Binary(bytes) => return write_binary(bytes, out),
        };
        out.put_u8(digit);
        out.put_slice(data.as_bytes());
    }
}

/// Appends a binary message in the form of a payload.
#[cfg(any(test, feature = "conformance", feature = "testkit"))]
pub(super) fn write_binary(bytes: &[u8], out: &mut BytesMut) {
    out.put_u8(b'b');
    let start = out.len();
    out.put_bytes(0, BASE64.encode_len(bytes.len()));
    BASE64.encode_mut(bytes, &mut out[start..]);
}

/// Returns the packets of a payload in their order.
pub(super) fn packets(payload: &str) -> impl Iterator<Item = Result<EnginePacket<'_>, EnginePacketError>> {
    payload.split(char::from(SEPARATOR)).map(EnginePacket::parse)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(packet: &EnginePacket<'_>) -> String {
        let mut out = BytesMut::new();
        packet.write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Golden text: the examples of the protocol.
    #[test]
    fn packets_are_frozen() {
        for (packet, written) in [
            (EnginePacket::Open("{}"), "0{}"),
            (EnginePacket::Close, "1"),
            (EnginePacket::Ping(""), "2"),
            (EnginePacket::Ping("probe"), "2probe"),
            (EnginePacket::Pong("probe"), "3probe"),
            (EnginePacket::Message("hello"), "4hello"),
            (EnginePacket::Message("€"), "4€"),
            (EnginePacket::Upgrade, "5"),
            (EnginePacket::Noop, "6"),
            (EnginePacket::Binary(vec![1, 2, 3, 4].into()), "bAQIDBA=="),
            (EnginePacket::Binary(vec![].into()), "b"),
        ] {
            assert_eq!(text(&packet), written);
            assert_eq!(EnginePacket::parse(written), Ok(packet));
        }
    }

    #[test]
    fn payload_has_text_and_binary_packets() {
        let read: Vec<_> = packets("4hello\x1e2\x1e4€\x1ebAQID").collect();
        let expected = [
            EnginePacket::Message("hello"),
            EnginePacket::Ping(""),
            EnginePacket::Message("€"),
            EnginePacket::Binary(vec![1, 2, 3].into()),
        ];
        assert_eq!(read, expected.map(Ok));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for (written, error) in [
            ("", EnginePacketError::Empty),
            ("abc", EnginePacketError::Type),
            ("7", EnginePacketError::Type),
            ("€", EnginePacketError::Type),
            ("1x", EnginePacketError::Data),
            ("5probe", EnginePacketError::Data),
            ("b***", EnginePacketError::Base64),
            ("bAQI", EnginePacketError::Base64),
        ] {
            assert_eq!(EnginePacket::parse(written), Err(error), "{written}");
        }
        assert_eq!(packets("4a\x1e").last(), Some(Err(EnginePacketError::Empty)));
    }

    proptest! {
        #[test]
        fn payloads_come_back_unchanged(
            texts in prop::collection::vec("[^\\x1e]{0,20}", 1..6),
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut expected: Vec<_> = texts.iter().map(|text| EnginePacket::Message(text)).collect();
            expected.push(EnginePacket::Binary(bytes.into()));
            let mut payload = BytesMut::new();
            for (at, packet) in expected.iter().enumerate() {
                if at > 0 {
                    payload.put_u8(SEPARATOR);
                }
                packet.write(&mut payload);
            }
            let payload = String::from_utf8(payload.to_vec()).unwrap();
            let read: Result<Vec<_>, _> = packets(&payload).collect();
            prop_assert_eq!(read, Ok(expected));
        }

        #[test]
        fn no_text_makes_it_panic(payload in any::<String>()) {
            for packet in packets(&payload).flatten() {
                prop_assert!(text(&packet).len() <= payload.len());
            }
        }
    }
}
