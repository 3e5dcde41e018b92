//! Step 1, first half: looks at the header of a frame before its payload is waited for.
//!
//! The frame parser of the library checks the length after it has buffered the payload, and knows nothing of
//! fragments. The guard refuses by what the header declares, so a client cannot make the server hold more than one
//! message of the largest size. Pure: bytes in, verdict out. The second half is the [reader](super::reader).

use protocol::CloseCode;

/// Longest payload of a control frame (RFC 6455 §5.5).
const CONTROL_MAX: u64 = 125;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More of the message that has begun.
    Continuation,
    /// A text message begins.
    Text,
    /// Close, with code and reason.
    Close,
    /// A ping to be answered.
    Ping,
    /// A pong.
    Pong,
}

/// A frame that may be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// Whether the message ends with it.
    pub last: bool,
    /// Bytes of the whole frame.
    pub total: usize,
}

/// Why the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Broken framing.
    Framing(&'static str),
    /// Binary frames are not spoken.
    Binary,
    /// The message is over the limit.
    TooLarge,
    /// The text is not UTF-8.
    Utf8,
    /// Frames that ask for nothing, without end.
    Flood,
}

/// The guard of one connection. Knows how much of a fragmented message has come.
#[derive(Debug)]
pub struct FrameGuard {
    max: usize,
    /// Bytes of the message that has begun and not ended.
    begun: Option<usize>,
}

// === impl FrameGuard ===

impl FrameGuard {
    /// A guard for messages of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> FrameGuard {
        FrameGuard { max, begun: None }
    }

    /// From the next frame on, messages may have so many bytes.
    pub fn allow(&mut self, max: usize) {
        self.max = max;
    }

    /// Looks at the frame that starts at `bytes`. `None`: too few bytes to say anything against it yet.
    ///
    /// # Errors
    /// [`Violation`]: the connection cannot go on.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::Framing("reserved bits are set"));
        }
        let last = first & 0x80 != 0;
        let kind = match first & 0x0f {
            0x0 if self.begun.is_none() => return Err(Violation::Framing("nothing to continue")),
            0x0 => Kind::Continuation,
            0x1 | 0x2 if self.begun.is_some() => {
                return Err(Violation::Framing("the last message has not ended"));
            }
            0x1 => Kind::Text,
            0x2 => return Err(Violation::Binary),
            0x8 => Kind::Close,
            0x9 => Kind::Ping,
            0xa => Kind::Pong,
            _ => return Err(Violation::Framing("unknown opcode")),
        };
        let control = matches!(kind, Kind::Close | Kind::Ping | Kind::Pong);
        if control && !last {
            return Err(Violation::Framing("a control frame is fragmented"));
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(Violation::Framing("the frame is not masked"));
        }
        let (length, extended) = match second & 0x7f {
            126 => (bytes.get(2..4).map(be), 2),
            127 => (bytes.get(2..10).map(be), 8),
            short => (Some(u64::from(short)), 0),
        };
        if control && extended != 0 {
            return Err(Violation::Framing("a control frame is too long"));
        }
        let Some(length) = length else { return Ok(None) };
        if control && length > CONTROL_MAX {
            return Err(Violation::Framing("a control frame is too long"));
        }
        if length > i64::MAX as u64 {
            return Err(Violation::Framing("the length has its highest bit set"));
        }
        let before = if control { 0 } else { self.begun.unwrap_or(0) };
        match usize::try_from(length) {
            Ok(length) if before + length.min(self.max + 1) <= self.max => Ok(Some(Header {
                kind,
                last,
                total: 2 + extended + 4 + length,
            })),
            _ => Err(Violation::TooLarge),
        }
    }

    /// Notes a frame that was inspected and has come in full.
    pub fn passed(&mut self, header: &Header, payload: usize) {
        self.begun = match header.kind {
            Kind::Close | Kind::Ping | Kind::Pong => self.begun,
            Kind::Text | Kind::Continuation if header.last => None,
            Kind::Text | Kind::Continuation => Some(self.begun.unwrap_or(0) + payload),
        };
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

// === impl Violation ===

impl Violation {
    /// The close code that tells the client.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::Framing(_) => CloseCode::Framing,
            Violation::Binary => CloseCode::Binary,
            Violation::TooLarge => CloseCode::TooLarge,
            Violation::Utf8 => CloseCode::Utf8,
            Violation::Flood => CloseCode::RateAbuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: [u8; 2] = [0x81, 0x85];

    fn verdict(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        FrameGuard::new(1000).inspect(bytes)
    }

    #[test]
    fn a_masked_text_frame_passes_as_soon_as_its_length_is_known() {
        let header = Header {
            kind: Kind::Text,
            last: true,
            total: 11,
        };
        assert_eq!(verdict(&TEXT[..1]), Ok(None));
        assert_eq!(verdict(&TEXT), Ok(Some(header)));
    }

    #[test]
    fn the_declared_length_is_refused_before_the_payload() {
        assert_eq!(verdict(&[0x81, 0xfe, 0x03, 0xe9]), Err(Violation::TooLarge));
        assert_eq!(verdict(&[0x81, 0xfe, 0x03, 0xe8]).unwrap().unwrap().total, 1008);
        assert_eq!(
            verdict(&[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]),
            Err(Violation::TooLarge)
        );
        assert!(matches!(
            verdict(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Err(Violation::Framing(_))
        ));
    }

    #[test]
    fn fragments_count_together() {
        let mut guard = FrameGuard::new(1000);
        let first = guard.inspect(&[0x01, 0xfe, 0x02, 0x58]).unwrap().unwrap();
        guard.passed(&first, 600);
        assert_eq!(guard.inspect(&[0x00, 0xfe, 0x01, 0x91]), Err(Violation::TooLarge));
        assert!(
            matches!(guard.inspect(&[0x81, 0x80]), Err(Violation::Framing(_))),
            "a text inside a text"
        );
        let ping = guard.inspect(&[0x89, 0xfd]).unwrap().unwrap();
        assert_eq!(ping.kind, Kind::Ping);
        guard.passed(&ping, 125);
        let rest = guard.inspect(&[0x80, 0xfe, 0x01, 0x90]).unwrap().unwrap();
        guard.passed(&rest, 400);
        assert!(
            matches!(guard.inspect(&[0x80, 0x80]), Err(Violation::Framing(_))),
            "nothing to continue"
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
            assert!(matches!(verdict(bytes), Err(Violation::Framing(_))), "{why}");
        }
        assert_eq!(verdict(&[0x82, 0x80]), Err(Violation::Binary));
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
