//! Properties of the formats of backups that hold for every input.

use storage::ArchiveChunk;

use super::frame::{Frame, FrameDecoder};
use super::manifest::Manifest;
use crate::state_machine::TABLES;

/// Decodes the JSON of a manifest as if its checksum were right. Returns true if it is accepted.
pub(crate) fn decode_manifest(json: &[u8]) -> bool {
    Manifest::decode(&Manifest::seal(json)).is_ok()
}

/// Checks the JSON of a manifest.
///
/// # Panics
/// If an accepted manifest comes back changed, or names a file outside of its directory.
pub(crate) fn check_manifest(json: &[u8]) {
    let Ok(manifest) = Manifest::decode(&Manifest::seal(json)) else {
        return;
    };
    for (_, set) in manifest.shards.iter().flat_map(|shard| shard.row_sets()) {
        for chunk in &set.chunks {
            let name = chunk.sha256.to_string();
            assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
    assert_eq!(Manifest::decode(&manifest.encode()).as_ref(), Ok(&manifest));
}

/// Decodes a response of a node. Returns true if all of it is frames.
pub(crate) fn decode_frames(bytes: &[u8]) -> bool {
    let mut decoder = FrameDecoder::default();
    decoder.push(bytes);
    loop {
        match decoder.next() {
            Ok(Some(_)) => {}
            Ok(None) => return decoder.is_empty(),
            Err(_) => return false,
        }
    }
}

/// Checks a response of a node.
///
/// # Panics
/// If a frame comes back changed.
pub(crate) fn check_frames(bytes: &[u8]) {
    let mut decoder = FrameDecoder::default();
    decoder.push(bytes);
    while let Ok(Some(frame)) = decoder.next() {
        let mut again = FrameDecoder::default();
        again.push(&Frame::encode(&frame));
        assert_eq!(again.next(), Ok(Some(frame)));
    }
}

/// Decodes the rows of a chunk as if its checksum were right. Returns true if they are accepted.
pub(crate) fn decode_rows(rows: &[u8]) -> bool {
    ArchiveChunk::read(TABLES, &ArchiveChunk::seal(rows)).is_ok()
}

/// Checks the rows of a chunk.
///
/// # Panics
/// If there are more rows than the bytes can hold.
pub(crate) fn check_rows(rows: &[u8]) {
    if let Ok(summary) = ArchiveChunk::read(TABLES, &ArchiveChunk::seal(rows)) {
        assert!(summary.rows <= rows.len() as u64 / 9, "{summary:?}");
    }
}
