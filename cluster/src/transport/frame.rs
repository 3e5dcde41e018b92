//! Encoding of frames.
//!
//! ```text
//!   0       4       8      9           17       19
//!   ┌───────┬───────┬──────┬───────────┬────────┬──────────────┐
//!   │len u32│crc u32│kind  │id u64     │method  │body          │   big-endian
//!   └───────┴───────┴──────┴───────────┴────────┴──────────────┘
//!           len = bytes after crc = 11 + body;  crc = CRC32C of len and of all after crc
//! ```
//!
//! The length is checked against the limit before anything is allocated for it. A frame with a wrong checksum ends the
//! connection, because the start of the next frame is unknown. The layout of this header and of the hello is common to
//! all protocol versions, so any two versions can at least refuse each other.
//!
//! Previous: [`outgoing_queue`](super::outgoing_queue). Next: [`listener`](super::listener) at the other node.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Length of the header in bytes.
pub(crate) const HEADER: usize = 19;

/// Bytes that `len` counts beside the body: kind, id and method.
const COUNTED: usize = 11;

/// Maximum size of a body that is copied behind its header, so that many small frames share one buffer. A larger body
/// is written from its own memory.
const INLINE: usize = 8 << 10;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TransportFrame {
    pub(crate) kind: FrameKind,
    /// Matches a response to its call. Counted by the dialling side; 0 in frames without a response.
    pub(crate) id: u64,
    /// Method number, defined by the handler.
    pub(crate) method: u16,
    pub(crate) body: Bytes,
}

/// Kind of a frame. The numbers are part of the wire protocol: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum FrameKind {
    Call = 1,
    Cast = 2,
    /// Response `Ok` of the handler.
    Response = 3,
    /// Response `Err` of the handler.
    Refusal = 4,
    /// The handler dropped its responder.
    NoResponse = 5,
    Ping = 6,
    Pong = 7,
    Hello = 16,
    Challenge = 17,
    Proof = 18,
    Welcome = 19,
    /// The handshake failed; the body contains the reason.
    Refused = 20,
}

/// Reason for which bytes are not a frame. Any of them closes the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("declared length {declared} exceeds the limit of {cap} bytes")]
    TooLong { declared: usize, cap: usize },
    #[error("declared length {0} is shorter than a header")]
    TooShort(usize),
    #[error("checksum mismatch")]
    Checksum,
    #[error("unknown frame kind {0}")]
    Kind(u8),
}

/// Frames encoded for one write.
#[derive(Debug, Default)]
pub(crate) struct FrameBatch {
    /// Headers and small bodies not yet in `chunks`.
    tail: BytesMut,
    chunks: Vec<Bytes>,
    pub(crate) frames: u64,
}

// === impl TransportFrame ===

impl TransportFrame {
    /// Creates a frame without id, method and body.
    pub(crate) fn bare(kind: FrameKind) -> TransportFrame {
        TransportFrame {
            kind,
            id: 0,
            method: 0,
            body: Bytes::new(),
        }
    }

    /// Returns the size on the wire in bytes.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.body.len()
    }

    /// Removes the frame at the front of `buf`; `None` until it is complete. The body shares `buf`'s memory.
    ///
    /// # Errors
    /// If the bytes are not a frame, or not one with a body of at most `max_body` bytes.
    pub(crate) fn decode(buf: &mut BytesMut, max_body: usize) -> Result<Option<TransportFrame>, FrameError> {
        let Some(total) = TransportFrame::extent(buf, max_body)? else {
            return Ok(None);
        };
        if buf.len() < total {
            return Ok(None);
        }
        // The checksum covers the length, too: a wrong length would shift all later frames.
        let declared_crc = u32::from_be_bytes([buf[4], buf[5], buf[6], buf[7]]);
        if crc32c::crc32c_append(crc32c::crc32c(&buf[..4]), &buf[8..total]) != declared_crc {
            return Err(FrameError::Checksum);
        }
        let kind = FrameKind::from_wire(buf[8]).ok_or(FrameError::Kind(buf[8]))?;
        buf.advance(9);
        let id = buf.get_u64();
        let method = buf.get_u16();
        // An empty slice would keep the whole buffer allocated for nothing.
        let body = if total == HEADER {
            Bytes::new()
        } else {
            buf.split_to(total - HEADER).freeze()
        };
        Ok(Some(TransportFrame {
            kind,
            id,
            method,
            body,
        }))
    }

    /// Returns the size of the frame at the front of `buf`; `None` until its length field is complete.
    pub(crate) fn extent(buf: &[u8], max_body: usize) -> Result<Option<usize>, FrameError> {
        let Some(len) = buf.first_chunk::<4>() else {
            return Ok(None);
        };
        let declared = u32::from_be_bytes(*len) as usize;
        if declared < COUNTED {
            return Err(FrameError::TooShort(declared));
        }
        if declared - COUNTED > max_body {
            return Err(FrameError::TooLong {
                declared,
                cap: max_body + COUNTED,
            });
        }
        Ok(Some(8 + declared))
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&((COUNTED + self.body.len()) as u32).to_be_bytes());
        header[8] = self.kind as u8;
        header[9..17].copy_from_slice(&self.id.to_be_bytes());
        header[17..].copy_from_slice(&self.method.to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..4]), &header[8..]);
        let crc = crc32c::crc32c_append(crc, &self.body);
        header[4..8].copy_from_slice(&crc.to_be_bytes());
        header
    }
}

// === impl FrameKind ===

impl FrameKind {
    fn from_wire(byte: u8) -> Option<FrameKind> {
        Some(match byte {
            1 => FrameKind::Call,
            2 => FrameKind::Cast,
            3 => FrameKind::Response,
            4 => FrameKind::Refusal,
            5 => FrameKind::NoResponse,
            6 => FrameKind::Ping,
            7 => FrameKind::Pong,
            16 => FrameKind::Hello,
            17 => FrameKind::Challenge,
            18 => FrameKind::Proof,
            19 => FrameKind::Welcome,
            20 => FrameKind::Refused,
            _ => return None,
        })
    }
}

// === impl FrameBatch ===

impl FrameBatch {
    pub(crate) fn push(&mut self, frame: TransportFrame) {
        self.frames += 1;
        self.tail.put_slice(&frame.header());
        if frame.body.len() <= INLINE {
            self.tail.put_slice(&frame.body);
        } else {
            // The small frames collected so far come first on the wire.
            self.chunks.push(self.tail.split().freeze());
            self.chunks.push(frame.body);
        }
    }

    /// Returns the encoded bytes in the order of writing and empties the batch.
    pub(crate) fn finish(&mut self) -> impl Iterator<Item = Bytes> {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.split().freeze());
        }
        self.frames = 0;
        self.chunks.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(frames: impl IntoIterator<Item = TransportFrame>) -> BytesMut {
        let mut batch = FrameBatch::default();
        frames.into_iter().for_each(|frame| batch.push(frame));
        let mut bytes = BytesMut::new();
        batch.finish().for_each(|chunk| bytes.extend_from_slice(&chunk));
        bytes
    }

    #[test]
    fn frame_layout_is_frozen() {
        let frame = TransportFrame {
            kind: FrameKind::Call,
            id: 0x0102,
            method: 7,
            body: Bytes::from_static(b"hello"),
        };
        let golden: [u8; 24] = [
            0, 0, 0, 16, // len
            0x9d, 0xd5, 0x2e, 0xd7, // crc
            1,    // kind
            0, 0, 0, 0, 0, 0, 1, 2, // id
            0, 7, // method
            b'h', b'e', b'l', b'l', b'o',
        ];
        assert_eq!(bytes_of([frame.clone()])[..], golden);
        assert_eq!(
            TransportFrame::decode(&mut BytesMut::from(&golden[..]), 5),
            Ok(Some(frame))
        );
    }

    #[test]
    fn huge_length_is_refused_before_anything_is_allocated() {
        let mut buf = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        let before = buf.capacity();
        assert!(matches!(
            TransportFrame::decode(&mut buf, 1 << 20),
            Err(FrameError::TooLong { .. })
        ));
        assert_eq!(buf.capacity(), before);
    }

    #[test]
    fn length_shorter_than_a_header_is_refused() {
        let mut buf = BytesMut::from(&10_u32.to_be_bytes()[..]);
        assert_eq!(
            TransportFrame::decode(&mut buf, 64),
            Err(FrameError::TooShort(10))
        );
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let whole = bytes_of([TransportFrame {
            kind: FrameKind::Cast,
            id: 9,
            method: 1,
            body: Bytes::from_static(b"body"),
        }]);
        for bit in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            // A longer length makes the frame incomplete; in any other case the result must be an error.
            assert!(
                !matches!(TransportFrame::decode(&mut bent, 64), Ok(Some(_))),
                "bit {bit}"
            );
        }
    }

    fn any_frame() -> impl Strategy<Value = TransportFrame> {
        let kind = prop::sample::select(vec![
            FrameKind::Call,
            FrameKind::Cast,
            FrameKind::Response,
            FrameKind::Ping,
            FrameKind::Hello,
        ]);
        let body = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            Just(vec![5; INLINE]),
            Just(vec![6; INLINE + 1])
        ];
        (kind, any::<u64>(), any::<u16>(), body).prop_map(|(kind, id, method, body)| TransportFrame {
            kind,
            id,
            method,
            body: body.into(),
        })
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            frames in prop::collection::vec(any_frame(), 1..8),
            cuts in prop::collection::vec(1..9000_usize, 1..16),
        ) {
            let mut wire = bytes_of(frames.clone());
            let mut buf = BytesMut::new();
            let mut out = Vec::new();
            let mut cuts = cuts.iter().cycle();
            while !wire.is_empty() {
                let cut = wire.len().min(*cuts.next().unwrap());
                buf.extend_from_slice(&wire.split_to(cut));
                while let Some(frame) = TransportFrame::decode(&mut buf, 1 << 20).unwrap() {
                    out.push(frame);
                }
            }
            prop_assert_eq!(out, frames);
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..256)) {
            let mut buf = BytesMut::from(&garbage[..]);
            while let Ok(Some(_)) = TransportFrame::decode(&mut buf, 128) {}
        }
    }
}
