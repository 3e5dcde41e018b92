//! Frame reader of RFC 6455: assembles whole messages and control frames from the bytes of a client.
//!
//! The [frame guard](super::frame_guard) has checked the header of each frame before its payload is buffered. Fragments
//! are joined here. Their text is checked as it arrives, so that a message is refused at its first bad fragment.
//!
//! Pure: it maps bytes to frames. The [reader](super::reader) gets the bytes from the socket.

use actix_http::ws::Parser;
use bytes::BytesMut;

use super::frame_guard::{FrameGuard, FrameHeader, FrameViolation, MessageKinds, WebSocketOpcode};

/// Reader of the frames of one connection.
#[derive(Debug)]
pub struct FrameReader {
    guard: FrameGuard,
    /// Bytes of an incomplete frame. Without capacity while the client is idle.
    buffer: BytesMut,
    message: FragmentedMessage,
}

/// Message of which some fragments have arrived.
#[derive(Debug, Default)]
struct FragmentedMessage {
    bytes: BytesMut,
    is_text: bool,
    /// Length of the prefix that is valid UTF-8.
    valid: usize,
}

/// Complete frame of the client.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    pub header: FrameHeader,
    /// Bytes of the frame's payload.
    pub length: usize,
    pub content: FrameContent,
}

/// Content of a complete frame.
#[derive(Debug, PartialEq, Eq)]
pub enum FrameContent {
    /// Part of a message that is still incomplete.
    Fragment,
    /// Complete text message. Its encoding is unchecked: [`text_of`] checks it.
    Text(BytesMut),
    Binary(BytesMut),
    Ping(BytesMut),
    Pong(BytesMut),
    /// Close frame with this code, or without one.
    Close(Option<u16>),
}

// === impl FrameReader ===

impl FrameReader {
    /// Creates a reader of messages of these kinds, with at most `max` bytes each.
    #[must_use]
    pub fn new(max: usize, kinds: MessageKinds) -> FrameReader {
        FrameReader {
            guard: FrameGuard::new(max, kinds),
            buffer: BytesMut::new(),
            message: FragmentedMessage::default(),
        }
    }

    /// Sets the maximum message size from the next frame on.
    pub fn allow(&mut self, max: usize) {
        self.guard.allow(max);
    }

    /// Appends bytes of the client.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete frame, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// A [`FrameViolation`], after which the connection must be closed.
    pub fn next_frame(&mut self) -> Result<Option<ReceivedFrame>, FrameViolation> {
        let header = match self.guard.inspect(&self.buffer)? {
            Some(header) if header.total <= self.buffer.len() => header,
            _ => {
                // Returns the memory: most connections are idle, and each would keep its largest read allocated.
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                return Ok(None);
            }
        };
        // The guard has checked the frame. If the parser disagrees, the rest of the stream cannot be trusted.
        let Ok(Some((_, _, payload))) = Parser::parse(&mut self.buffer, true, header.total) else {
            return Err(FrameViolation::Framing("the frame cannot be parsed"));
        };
        let payload = payload.unwrap_or_default();
        let length = payload.len();
        self.guard.passed(&header, length);
        let content = match header.kind {
            WebSocketOpcode::Text | WebSocketOpcode::Binary | WebSocketOpcode::Continuation => {
                self.message(&header, payload)?
            }
            WebSocketOpcode::Ping => FrameContent::Ping(payload),
            WebSocketOpcode::Pong => FrameContent::Pong(payload),
            WebSocketOpcode::Close => FrameContent::Close(close_code(&payload)?),
        };
        Ok(Some(ReceivedFrame {
            header,
            length,
            content,
        }))
    }

    /// Adds a frame to its message.
    fn message(&mut self, header: &FrameHeader, payload: BytesMut) -> Result<FrameContent, FrameViolation> {
        match header.kind {
            // Common case: an unfragmented message is not copied into the fragment buffer.
            WebSocketOpcode::Text if header.last => return Ok(FrameContent::Text(payload)),
            WebSocketOpcode::Binary if header.last => return Ok(FrameContent::Binary(payload)),
            kind => self.message.is_text |= kind == WebSocketOpcode::Text,
        }
        self.message.push(&payload)?;
        if !header.last {
            return Ok(FrameContent::Fragment);
        }
        let FragmentedMessage { bytes, is_text, .. } = std::mem::take(&mut self.message);
        Ok(if is_text {
            FrameContent::Text(bytes)
        } else {
            FrameContent::Binary(bytes)
        })
    }
}

// === impl FragmentedMessage ===

impl FragmentedMessage {
    /// Appends a fragment. A text must be valid UTF-8 up to an incomplete character at its end.
    fn push(&mut self, fragment: &[u8]) -> Result<(), FrameViolation> {
        self.bytes.extend_from_slice(fragment);
        if !self.is_text {
            return Ok(());
        }
        // From the last checked character on: a fragment may end inside of a character.
        match std::str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(FrameViolation::Utf8),
        }
        Ok(())
    }
}

/// Returns a complete text message.
///
/// # Errors
/// [`FrameViolation::Utf8`] if it is not valid UTF-8.
pub fn text_of(bytes: &[u8]) -> Result<&str, FrameViolation> {
    std::str::from_utf8(bytes).map_err(|_| FrameViolation::Utf8)
}

/// Returns the code in the payload of a close frame, or `None` without one.
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameViolation> {
    match *payload {
        [] => Ok(None),
        [_] => Err(FrameViolation::Framing("the close code is incomplete")),
        [high, low, ref reason @ ..] => {
            let code = u16::from_be_bytes([high, low]);
            // Section 7.4: the codes that an endpoint may send. 1004 to 1006 and 1015 have a meaning only locally.
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(FrameViolation::Framing("the close code is not permitted"));
            }
            text_of(reason).map(|_| Some(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000;

    /// Masked frame of a client; the mask is zero.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
    }

    /// Contents of the frames up to the violation, if there is one.
    fn read(kinds: MessageKinds, bytes: &[u8], step: usize) -> (Vec<FrameContent>, Option<FrameViolation>) {
        let mut reader = FrameReader::new(MAX, kinds);
        let mut contents = Vec::new();
        for chunk in bytes.chunks(step) {
            reader.push(chunk);
            loop {
                match reader.next_frame() {
                    Ok(Some(frame)) => contents.push(frame.content),
                    Ok(None) => break,
                    Err(violation) => return (contents, Some(violation)),
                }
            }
        }
        assert!(reader.buffer.is_empty() && reader.buffer.capacity() == 0);
        (contents, None)
    }

    #[test]
    fn messages_are_joined_with_control_frames_in_between() {
        let bytes = [
            frame(0x01, "gr\u{fc}".as_bytes().split_at(3).0),
            frame(0x89, b"ping"),
            frame(0x00, "gr\u{fc}".as_bytes().split_at(3).1),
            frame(0x8a, b"pong"),
            frame(0x80, b"n"),
            frame(0x82, &[0xff]),
            frame(0x02, &[0xfe]),
            frame(0x80, &[0xff]),
            frame(0x81, b""),
            frame(0x88, &[0x0f, 0xa0]),
        ]
        .concat();
        for step in [1, 7, bytes.len()] {
            let (contents, violation) = read(MessageKinds::Any, &bytes, step);
            assert_eq!(violation, None);
            let expected = [
                FrameContent::Fragment,
                FrameContent::Ping(b"ping"[..].into()),
                FrameContent::Fragment,
                FrameContent::Pong(b"pong"[..].into()),
                FrameContent::Text("gr\u{fc}n".as_bytes().into()),
                FrameContent::Binary([0xff_u8][..].into()),
                FrameContent::Fragment,
                FrameContent::Binary([0xfe_u8, 0xff][..].into()),
                FrameContent::Text(BytesMut::new()),
                FrameContent::Close(Some(4000)),
            ];
            assert_eq!(contents, expected, "{step} bytes at once");
        }
    }

    #[test]
    fn text_is_refused_at_its_first_bad_fragment() {
        let bytes = [frame(0x01, b"good"), frame(0x00, &[0xc3]), frame(0x00, b"(")].concat();
        let (contents, violation) = read(MessageKinds::Text, &bytes, bytes.len());
        assert_eq!(contents, [FrameContent::Fragment, FrameContent::Fragment]);
        assert_eq!(violation, Some(FrameViolation::Utf8));
        // A character that is cut off at the end of the message is found by the check of the whole.
        let bytes = [frame(0x01, b"good"), frame(0x80, &[0xc3])].concat();
        let (contents, _) = read(MessageKinds::Text, &bytes, bytes.len());
        let Some(FrameContent::Text(text)) = contents.last() else {
            panic!("{contents:?}");
        };
        assert_eq!(text_of(text), Err(FrameViolation::Utf8));
    }

    #[test]
    fn close_codes_are_those_that_an_endpoint_may_send() {
        for code in [1000, 1003, 1007, 1014, 3000, 4999] {
            assert_eq!(close_code(&u16::to_be_bytes(code)), Ok(Some(code)));
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
            let closed = close_code(&u16::to_be_bytes(code));
            assert!(matches!(closed, Err(FrameViolation::Framing(_))), "{code}");
        }
        assert_eq!(close_code(&[]), Ok(None));
        assert!(matches!(close_code(&[3]), Err(FrameViolation::Framing(_))));
        assert_eq!(close_code(&[3, 0xe8, 0xff]), Err(FrameViolation::Utf8));
    }
}
