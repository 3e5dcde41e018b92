//! Frame guard: checks the header of a frame before its payload is buffered.
//!
//! The library's frame parser checks the length after buffering the payload, and does not track fragments. The guard
//! refuses by the declared length, so a client cannot make the server buffer more than one message of the maximum size.
//!
//! Pure: it maps bytes to a verdict. The [reader](super::reader) assembles the frames.

use protocol::CloseCode;

/// Maximum payload of a control frame in bytes (RFC 6455, section 5.5).
const CONTROL_MAX: u64 = 125;

/// Opcode of an accepted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketOpcode {
    Continuation,
    /// First or only frame of a text message.
    Text,
    /// First or only frame of a binary message.
    Binary,
    Close,
    Ping,
    Pong,
}

/// Header of a frame that may be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub kind: WebSocketOpcode,
    /// Set if the frame ends its message.
    pub last: bool,
    /// Bytes of the whole frame, header and mask included.
    pub total: usize,
}

/// Kinds of messages that a protocol has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKinds {
    Text,
    Binary,
    Any,
}

/// Reason for closing the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameViolation {
    Framing(&'static str),
    /// Messages of this kind are not part of the protocol.
    Kind,
    /// The message exceeds the maximum size.
    TooLarge,
    /// The text is not valid UTF-8.
    Utf8,
    /// Too many control frames, small fragments or ignored messages.
    Flood,
}

/// Frame guard of one connection. Tracks the size of a fragmented message.
#[derive(Debug)]
pub struct FrameGuard {
    max: usize,
    kinds: MessageKinds,
    /// Payload bytes of the incomplete message; `None` between messages.
    begun: Option<usize>,
}

// === impl FrameGuard ===

impl FrameGuard {
    /// Creates a guard for messages of these kinds, with at most `max` bytes each.
    #[must_use]
    pub fn new(max: usize, kinds: MessageKinds) -> FrameGuard {
        FrameGuard {
            max,
            kinds,
            begun: None,
        }
    }

    /// Sets the maximum message size from the next frame on.
    pub fn allow(&mut self, max: usize) {
        self.max = max;
    }

    /// Checks the frame that starts at `bytes`. Returns `None` if more header bytes are needed.
    ///
    /// # Errors
    /// A [`FrameViolation`], after which the connection must be closed.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Option<FrameHeader>, FrameViolation> {
        // Checks run byte by byte as they arrive: a violation closes the connection before the client sends the rest.
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        // No extension is negotiated, so the reserved bits have no meaning.
        if first & 0x70 != 0 {
            return Err(FrameViolation::Framing("reserved bits are set"));
        }
        let last = first & 0x80 != 0;
        let kind = match first & 0x0f {
            0x0 if self.begun.is_none() => {
                return Err(FrameViolation::Framing("a continuation frame without a message"));
            }
            0x0 => WebSocketOpcode::Continuation,
            0x1 | 0x2 if self.begun.is_some() => {
                return Err(FrameViolation::Framing(
                    "a new message before the end of the previous one",
                ));
            }
            0x1 if self.kinds != MessageKinds::Binary => WebSocketOpcode::Text,
            0x2 if self.kinds != MessageKinds::Text => WebSocketOpcode::Binary,
            0x1 | 0x2 => return Err(FrameViolation::Kind),
            0x8 => WebSocketOpcode::Close,
            0x9 => WebSocketOpcode::Ping,
            0xa => WebSocketOpcode::Pong,
            _ => return Err(FrameViolation::Framing("unknown opcode")),
        };
        let control = matches!(
            kind,
            WebSocketOpcode::Close | WebSocketOpcode::Ping | WebSocketOpcode::Pong
        );
        if control && !last {
            return Err(FrameViolation::Framing("a control frame is fragmented"));
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        // RFC 6455 requires masking from clients; it protects proxies from crafted payloads.
        if second & 0x80 == 0 {
            return Err(FrameViolation::Framing("the frame is not masked"));
        }
        let (length, extended) = match second & 0x7f {
            126 => (bytes.get(2..4).map(be), 2),
            127 => (bytes.get(2..10).map(be), 8),
            short => (Some(u64::from(short)), 0),
        };
        if control && extended != 0 {
            return Err(FrameViolation::Framing("a control frame is too long"));
        }
        let Some(length) = length else { return Ok(None) };
        if control && length > CONTROL_MAX {
            return Err(FrameViolation::Framing("a control frame is too long"));
        }
        if length > i64::MAX as u64 {
            return Err(FrameViolation::Framing("the length has its highest bit set"));
        }
        // Control frames may stand between fragments and do not count towards the message.
        let before = if control { 0 } else { self.begun.unwrap_or(0) };
        match usize::try_from(length) {
            // `min` avoids an overflow of the sum for a declared length near the maximum of `usize`.
            Ok(length) if before + length.min(self.max + 1) <= self.max => Ok(Some(FrameHeader {
                kind,
                last,
                // 4 bytes for the mask, which every client frame has.
                total: 2 + extended + 4 + length,
            })),
            _ => Err(FrameViolation::TooLarge),
        }
    }

    /// Records a complete frame that passed [`inspect`](Self::inspect).
    pub fn passed(&mut self, header: &FrameHeader, payload: usize) {
        self.begun = match header.kind {
            WebSocketOpcode::Close | WebSocketOpcode::Ping | WebSocketOpcode::Pong => self.begun,
            _ if header.last => None,
            WebSocketOpcode::Text | WebSocketOpcode::Binary | WebSocketOpcode::Continuation => {
                Some(self.begun.unwrap_or(0) + payload)
            }
        };
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

// === impl FrameViolation ===

impl FrameViolation {
    /// Returns the close code of the violation.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            FrameViolation::Framing(_) => CloseCode::Framing,
            FrameViolation::Kind => CloseCode::Binary,
            FrameViolation::TooLarge => CloseCode::TooLarge,
            FrameViolation::Utf8 => CloseCode::Utf8,
            FrameViolation::Flood => CloseCode::RateAbuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: [u8; 2] = [0x81, 0x85];

    fn verdict(bytes: &[u8]) -> Result<Option<FrameHeader>, FrameViolation> {
        FrameGuard::new(1000, MessageKinds::Text).inspect(bytes)
    }

    #[test]
    fn a_masked_text_frame_passes_as_soon_as_its_length_is_known() {
        let header = FrameHeader {
            kind: WebSocketOpcode::Text,
            last: true,
            total: 11,
        };
        assert_eq!(verdict(&TEXT[..1]), Ok(None));
        assert_eq!(verdict(&TEXT), Ok(Some(header)));
    }

    #[test]
    fn the_declared_length_is_refused_before_the_payload() {
        assert_eq!(verdict(&[0x81, 0xfe, 0x03, 0xe9]), Err(FrameViolation::TooLarge));
        assert_eq!(verdict(&[0x81, 0xfe, 0x03, 0xe8]).unwrap().unwrap().total, 1008);
        assert_eq!(
            verdict(&[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]),
            Err(FrameViolation::TooLarge)
        );
        assert!(matches!(
            verdict(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Err(FrameViolation::Framing(_))
        ));
    }

    #[test]
    fn fragments_count_together() {
        let mut guard = FrameGuard::new(1000, MessageKinds::Text);
        let first = guard.inspect(&[0x01, 0xfe, 0x02, 0x58]).unwrap().unwrap();
        guard.passed(&first, 600);
        assert_eq!(
            guard.inspect(&[0x00, 0xfe, 0x01, 0x91]),
            Err(FrameViolation::TooLarge)
        );
        assert!(
            matches!(guard.inspect(&[0x81, 0x80]), Err(FrameViolation::Framing(_))),
            "a text inside a text"
        );
        let ping = guard.inspect(&[0x89, 0xfd]).unwrap().unwrap();
        assert_eq!(ping.kind, WebSocketOpcode::Ping);
        guard.passed(&ping, 125);
        let rest = guard.inspect(&[0x80, 0xfe, 0x01, 0x90]).unwrap().unwrap();
        guard.passed(&rest, 400);
        assert!(
            matches!(guard.inspect(&[0x80, 0x80]), Err(FrameViolation::Framing(_))),
            "a continuation frame without a message"
        );
    }

    #[test]
    fn what_the_rfc_forbids_is_broken_framing() {
        for (bytes, why) in [
            (&[0xc1, 0x80][..], "rsv1"),
            (&[0xa1, 0x80], "rsv2"),
            (&[0x91, 0x80], "rsv3"),
            (&[0x81, 0x05], "unmasked"),
            (&[0x83, 0x80], "opcode 3"),
            (&[0x8b, 0x80], "opcode 11"),
            (&[0x09, 0x80], "fragmented ping"),
            (&[0x89, 0xfe], "long ping"),
            (&[0x80, 0x80], "continuation of nothing"),
        ] {
            assert!(matches!(verdict(bytes), Err(FrameViolation::Framing(_))), "{why}");
        }
        assert_eq!(verdict(&[0x82, 0x80]), Err(FrameViolation::Kind));
        let binary = FrameGuard::new(1000, MessageKinds::Binary);
        assert_eq!(binary.inspect(&[0x81, 0x80]), Err(FrameViolation::Kind));
        assert!(binary.inspect(&[0x82, 0x80]).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_buffer_more_than_the_limit(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(Some(header)) = verdict(&bytes) {
                prop_assert!(header.total <= 1000 + 14);
            }
        }
    }
}
