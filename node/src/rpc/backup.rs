//! Rows of a shard for a backup: one copy at the shard's owner, read chunk by chunk.

use bytes::Bytes;
use cluster::ShardPosition;
use serde::{Deserialize, Serialize};

/// Request to the owner of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExportRows {
    /// Opens a consistent copy, which contains everything that was acknowledged before the request.
    Open { shard: u16 },
    /// Reads the next chunk: of the rows without key material, or of those with it. A copy is read from the start when
    /// the kind of rows changes.
    Next { copy: u64, keys: bool },
    /// Drops a copy before it expires.
    Close { copy: u64 },
}

/// Response to an [`ExportRows`] request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExportedRows {
    Opened {
        copy: u64,
        position: ShardPosition,
    },
    Chunk {
        bytes: Bytes,
        rows: u64,
        digest: u128,
    },
    /// There are no further chunks.
    End,
    Closed,
    /// The copy does not exist: it was idle for too long, or the owner has restarted.
    Unknown,
}

#[cfg(test)]
mod tests {
    use cluster::FeatureLevel;

    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn the_encoding_of_exports_is_frozen() {
        golden(ExportRows::Open { shard: 3 }, &[1, 0, 3]);
        golden(ExportRows::Next { copy: 5, keys: true }, &[1, 1, 5, 1]);
        golden(ExportRows::Close { copy: 5 }, &[1, 2, 5]);
        let position = ShardPosition {
            index: 9,
            term: 2,
            level: FeatureLevel(1),
            digest: 4,
        };
        golden(ExportedRows::Opened { copy: 5, position }, &[1, 0, 5, 9, 2, 1, 4]);
        let chunk = ExportedRows::Chunk {
            bytes: Bytes::from_static(b"r"),
            rows: 6,
            digest: 7,
        };
        golden(chunk, &[1, 1, 1, b'r', 6, 7]);
        golden(ExportedRows::End, &[1, 2]);
        golden(ExportedRows::Closed, &[1, 3]);
        golden(ExportedRows::Unknown, &[1, 4]);
    }
}
