//! Step 8, on the wire: one frame, and how a stream of bytes becomes frames.
//!
//! ```text
//!   0       4       8      9           17       19
//!   ┌───────┬───────┬──────┬───────────┬────────┬──────────────┐
//!   │len u32│crc u32│kind  │id u64     │method  │body          │   big-endian
//!   └───────┴───────┴──────┴───────────┴────────┴──────────────┘
//!           len = bytes after crc = 11 + body;  crc = CRC32C of len and of all after crc
//! ```
//!
//! The length is checked against the cap before anything is allocated for it. A frame that fails its checksum ends the
//! connection: after it, nothing says where the next frame begins. The layout of this header and of the hello is
//! common to all protocol versions, so that any two versions can at least refuse each other.
//!
//! Before: [`lane`](super::lane) queues it. After: [`listener`](super::listener) hands it to the other node.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before the body.
pub(crate) const HEADER: usize = 19;

/// Bytes that `len` counts beside the body: kind, id and method.
const COUNTED: usize = 11;

/// A body up to this size is copied behind its header, so that many small frames are one buffer; a larger one is
/// written from where it is.
const INLINE: usize = 8 << 10;

/// One message between nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Ties an answer to its call; counted up by the side that dialled, 0 where nothing is answered.
    pub(crate) id: u64,
    /// What is asked for; the handler's business.
    pub(crate) method: u16,
    pub(crate) body: Bytes,
}

/// What a frame is for. The numbers are the wire's: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Call = 1,
    Cast = 2,
    /// The handler's `Ok`.
    Answer = 3,
    /// The handler's `Err`.
    Refusal = 4,
    /// The handler dropped its reply.
    NoAnswer = 5,
    Ping = 6,
    Pong = 7,
    Hello = 16,
    Challenge = 17,
    Proof = 18,
    Welcome = 19,
    /// The handshake failed; the body says why.
    Refused = 20,
}

/// Why bytes are not a frame. Whichever it is, the connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("declared length {declared} is over the cap of {cap} bytes")]
    TooLong { declared: usize, cap: usize },
    #[error("declared length {0} is shorter than a header")]
    TooShort(usize),
    #[error("checksum mismatch")]
    Checksum,
    #[error("unknown frame kind {0}")]
    Kind(u8),
}

/// Frames on their way into one write.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Headers and small bodies not yet in `chunks`.
    tail: BytesMut,
    chunks: Vec<Bytes>,
    pub(crate) frames: u64,
}

// === impl Frame ===

impl Frame {
    /// A frame that carries nothing but its kind.
    pub(crate) fn bare(kind: Kind) -> Frame {
        Frame {
            kind,
            id: 0,
            method: 0,
            body: Bytes::new(),
        }
    }

    /// Bytes on the wire.
    pub(crate) fn size(&self) -> usize {
        HEADER + self.body.len()
    }

    /// The frame at the front of `buf`, once all of it is there. The body shares `buf`'s memory.
    ///
    /// # Errors
    /// The bytes cannot be a frame, or not one with a body of at most `max_body` bytes.
    pub(crate) fn decode(buf: &mut BytesMut, max_body: usize) -> Result<Option<Frame>, FrameError> {
        let Some(total) = Frame::extent(buf, max_body)? else {
            return Ok(None);
        };
        if buf.len() < total {
            return Ok(None);
        }
        let declared_crc = u32::from_be_bytes([buf[4], buf[5], buf[6], buf[7]]);
        if crc32c::crc32c_append(crc32c::crc32c(&buf[..4]), &buf[8..total]) != declared_crc {
            return Err(FrameError::Checksum);
        }
        let kind = Kind::from_wire(buf[8]).ok_or(FrameError::Kind(buf[8]))?;
        buf.advance(9);
        let id = buf.get_u64();
        let method = buf.get_u16();
        // An empty slice would keep the whole buffer alive for nothing.
        let body = if total == HEADER {
            Bytes::new()
        } else {
            buf.split_to(total - HEADER).freeze()
        };
        Ok(Some(Frame {
            kind,
            id,
            method,
            body,
        }))
    }

    /// The size of the frame at the front of `buf`, once its length field is there.
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

// === impl Kind ===

impl Kind {
    fn from_wire(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Call,
            2 => Kind::Cast,
            3 => Kind::Answer,
            4 => Kind::Refusal,
            5 => Kind::NoAnswer,
            6 => Kind::Ping,
            7 => Kind::Pong,
            16 => Kind::Hello,
            17 => Kind::Challenge,
            18 => Kind::Proof,
            19 => Kind::Welcome,
            20 => Kind::Refused,
            _ => return None,
        })
    }
}

// === impl Batch ===

impl Batch {
    /// Adds a frame behind the others.
    pub(crate) fn push(&mut self, frame: Frame) {
        self.frames += 1;
        self.tail.put_slice(&frame.header());
        if frame.body.len() <= INLINE {
            self.tail.put_slice(&frame.body);
        } else {
            self.chunks.push(self.tail.split().freeze());
            self.chunks.push(frame.body);
        }
    }

    /// The bytes so far, to be written in order; the batch is empty afterwards.
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

    fn bytes_of(frames: impl IntoIterator<Item = Frame>) -> BytesMut {
        let mut batch = Batch::default();
        frames.into_iter().for_each(|frame| batch.push(frame));
        let mut bytes = BytesMut::new();
        batch.finish().for_each(|chunk| bytes.extend_from_slice(&chunk));
        bytes
    }

    #[test]
    fn frame_layout_is_frozen() {
        let frame = Frame {
            kind: Kind::Call,
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
            Frame::decode(&mut BytesMut::from(&golden[..]), 5),
            Ok(Some(frame))
        );
    }

    #[test]
    fn huge_length_is_refused_before_anything_is_allocated() {
        let mut buf = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
        let before = buf.capacity();
        assert!(matches!(
            Frame::decode(&mut buf, 1 << 20),
            Err(FrameError::TooLong { .. })
        ));
        assert_eq!(buf.capacity(), before);
    }

    #[test]
    fn length_shorter_than_a_header_is_refused() {
        let mut buf = BytesMut::from(&10_u32.to_be_bytes()[..]);
        assert_eq!(Frame::decode(&mut buf, 64), Err(FrameError::TooShort(10)));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let whole = bytes_of([Frame {
            kind: Kind::Cast,
            id: 9,
            method: 1,
            body: Bytes::from_static(b"body"),
        }]);
        for bit in 0..whole.len() * 8 {
            let mut bent = whole.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            // A longer length waits for bytes that never come; whatever is decoded is an error.
            assert!(!matches!(Frame::decode(&mut bent, 64), Ok(Some(_))), "bit {bit}");
        }
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let kind = prop::sample::select(vec![
            Kind::Call,
            Kind::Cast,
            Kind::Answer,
            Kind::Ping,
            Kind::Hello,
        ]);
        let body = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..64),
            Just(vec![5; INLINE]),
            Just(vec![6; INLINE + 1])
        ];
        (kind, any::<u64>(), any::<u16>(), body).prop_map(|(kind, id, method, body)| Frame {
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
                while let Some(frame) = Frame::decode(&mut buf, 1 << 20).unwrap() {
                    out.push(frame);
                }
            }
            prop_assert_eq!(out, frames);
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..256)) {
            let mut buf = BytesMut::from(&garbage[..]);
            while let Ok(Some(_)) = Frame::decode(&mut buf, 128) {}
        }
    }
}
