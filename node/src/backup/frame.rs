//! Frames of the response in which a node sends the rows of a shard.
//!
//! `kind u8 | length u32 | body`: 1 the head, 2 a chunk of rows, 3 a chunk of rows with key material, 4 the end. The
//! length is big-endian; head and end are JSON. A response without an end is incomplete.

use bytes::{Buf, Bytes, BytesMut};
use cluster::ShardPosition;
use serde::{Deserialize, Serialize};
use storage::ARCHIVE_CHUNK_BYTES;

use super::shard_entry::{HexNumber, RowTotals};

const HEAD: u8 = 1;
const ROWS: u8 = 2;
const KEYS: u8 = 3;
const END: u8 = 4;

/// Bytes before the body.
const HEADER: usize = 5;

/// Begin of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardHead {
    /// Cluster id, as 16 hexadecimal digits.
    pub(crate) cluster: String,
    /// Number of shards of the cluster.
    pub(crate) shards: u16,
    pub(crate) shard: u16,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) feature_level: u32,
    pub(crate) digest: HexNumber,
}

/// End of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardEnd {
    pub(crate) rows: RowTotals,
    /// Totals of the rows with key material; absent if they were not requested.
    pub(crate) keys: Option<RowTotals>,
}

/// Part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Head(ShardHead),
    Rows(Bytes),
    Keys(Bytes),
    End(ShardEnd),
}

/// Decoder of a response, which arrives in parts of any size.
#[derive(Debug, Default)]
pub(crate) struct FrameDecoder {
    buffer: BytesMut,
}

// === impl ShardHead ===

impl ShardHead {
    pub(crate) fn new(cluster: u64, shards: u16, shard: u16, position: &ShardPosition) -> ShardHead {
        ShardHead {
            cluster: format!("{cluster:016x}"),
            shards,
            shard,
            index: position.index,
            term: position.term,
            feature_level: position.level.0,
            digest: HexNumber(position.digest),
        }
    }
}

// === impl Frame ===

impl Frame {
    pub(crate) fn encode(&self) -> Bytes {
        let json = |value: serde_json::Result<Vec<u8>>| value.expect("plain data, which JSON always holds");
        let (kind, body) = match self {
            Frame::Head(head) => (HEAD, Bytes::from(json(serde_json::to_vec(head)))),
            Frame::Rows(chunk) => (ROWS, chunk.clone()),
            Frame::Keys(chunk) => (KEYS, chunk.clone()),
            Frame::End(end) => (END, Bytes::from(json(serde_json::to_vec(end)))),
        };
        let length = u32::try_from(body.len()).expect("a chunk is far below 4 GiB");
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.push(kind);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes.into()
    }
}

// === impl FrameDecoder ===

impl FrameDecoder {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns true if no part of a frame is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns the next frame, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// The bytes are no response of this kind.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, String> {
        let Some((&kind, rest)) = self.buffer.split_first() else {
            return Ok(None);
        };
        if !(HEAD..=END).contains(&kind) {
            return Err(format!("frame kind {kind} is unknown"));
        }
        let Some(length) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        // Checked before the body arrives: its declared length bounds the buffer.
        let length = u32::from_be_bytes(*length);
        if u64::from(length) > ARCHIVE_CHUNK_BYTES {
            return Err(format!("a frame of {length} bytes is too long"));
        }
        let length = length as usize;
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let body = self.buffer.split_to(length).freeze();
        let json = |error: serde_json::Error| error.to_string();
        Ok(Some(match kind {
            HEAD => Frame::Head(serde_json::from_slice(&body).map_err(json)?),
            ROWS => Frame::Rows(body),
            KEYS => Frame::Keys(body),
            _ => Frame::End(serde_json::from_slice(&body).map_err(json)?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use cluster::FeatureLevel;

    use super::*;

    #[test]
    fn frames_arrive_in_parts_of_any_size() {
        let position = ShardPosition {
            index: 7,
            term: 2,
            level: FeatureLevel(1),
            digest: 9,
        };
        let frames = [
            Frame::Head(ShardHead::new(255, 4, 3, &position)),
            Frame::Rows(Bytes::from_static(b"rows")),
            Frame::Keys(Bytes::new()),
            Frame::End(ShardEnd {
                rows: RowTotals::default(),
                keys: Some(RowTotals::default()),
            }),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.encode().to_vec()).collect();
        for size in [1, 2, 7, bytes.len()] {
            let (mut decoder, mut found) = (FrameDecoder::default(), Vec::new());
            for part in bytes.chunks(size) {
                decoder.push(part);
                while let Some(frame) = decoder.next().unwrap() {
                    found.push(frame);
                }
            }
            assert!(decoder.is_empty());
            assert_eq!(found, frames, "parts of {size} bytes");
        }
        assert_eq!(&frames[1].encode()[..], b"\x02\0\0\0\x04rows");
    }

    #[test]
    fn unknown_kinds_and_excessive_lengths_are_refused() {
        for bytes in [&b"\x09"[..], b"\x00\0\0\0\0", b"\x02\xff\xff\xff\xff", b"<html>"] {
            let mut decoder = FrameDecoder::default();
            decoder.push(bytes);
            assert!(decoder.next().is_err(), "{bytes:?}");
        }
    }
}
