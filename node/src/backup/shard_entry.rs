//! Entries of a manifest: the chunks of a shard's rows, by their hashes, and the position of the shard.
//!
//! Every limit is checked before a caller opens or allocates anything by these numbers.

use std::collections::HashSet;
use std::fmt;

use cluster::{FeatureLevel, ShardPosition};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use storage::{ARCHIVE_CHUNK_BYTES, RowSummary};

/// Minimum bytes of a chunk: its head, and one row without key and value.
const CHUNK_HEAD_BYTES: u64 = 17;
const ROW_HEAD_BYTES: u64 = 9;
/// Log indexes and terms of a restored shard continue behind those of the manifest.
const MAX_POSITION: u64 = 1 << 62;

/// SHA-256 hash of a chunk, and its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChunkHash([u8; 32]);

/// Number that is written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HexNumber(pub(crate) u128);

/// A chunk of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChunkEntry {
    pub(crate) sha256: ChunkHash,
    /// Length of the chunk's file.
    pub(crate) bytes: u64,
}

/// Number of rows and sum of their digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowTotals {
    pub(crate) rows: u64,
    pub(crate) digest: HexNumber,
}

/// Set of rows of a shard, in chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowSet {
    pub(crate) totals: RowTotals,
    pub(crate) chunks: Vec<ChunkEntry>,
}

/// Rows of a shard at one index of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardEntry {
    pub(crate) shard: u16,
    /// Time at which the rows were read, in milliseconds since the Unix epoch, by the clock of the tool.
    pub(crate) taken_ms: u64,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) feature_level: u32,
    /// Digest of the effects of all log entries up to `index`, as in `GET /v1/cluster`.
    pub(crate) digest: HexNumber,
    pub(crate) rows: RowSet,
    /// Rows with key material; absent without `--include-keys`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<RowSet>,
}

// === impl ChunkHash, HexNumber, RowTotals ===

impl ChunkHash {
    pub(crate) fn of(bytes: &[u8]) -> ChunkHash {
        ChunkHash(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ChunkHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ChunkHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChunkHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ChunkHash, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        // The hash is the name of a file, so nothing but 64 hexadecimal digits may pass.
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.map(ChunkHash)
            .ok_or_else(|| serde::de::Error::custom("a hash has 64 hexadecimal digits"))
    }
}

impl Serialize for HexNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for HexNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HexNumber, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let is_digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(&text, 16).ok().filter(|_| is_digits);
        number
            .map(HexNumber)
            .ok_or_else(|| serde::de::Error::custom("a digest has 32 hexadecimal digits"))
    }
}

impl From<RowSummary> for RowTotals {
    fn from(summary: RowSummary) -> RowTotals {
        RowTotals {
            rows: summary.rows,
            digest: HexNumber(summary.digest),
        }
    }
}

// === impl RowSet, ShardEntry ===

impl RowSet {
    /// Returns the bytes of all chunks.
    pub(crate) fn bytes(&self) -> u64 {
        self.chunks
            .iter()
            .fold(0, |sum, chunk| sum.saturating_add(chunk.bytes))
    }

    fn check(&self) -> Result<(), String> {
        let mut seen = HashSet::with_capacity(self.chunks.len());
        for ChunkEntry { sha256, bytes } in &self.chunks {
            if !(CHUNK_HEAD_BYTES + ROW_HEAD_BYTES..=ARCHIVE_CHUNK_BYTES).contains(bytes) {
                return Err(format!("chunk {sha256} has {bytes} bytes"));
            }
            if !seen.insert(sha256) {
                return Err(format!("chunk {sha256} is listed twice"));
            }
        }
        if self.totals.rows > self.bytes() / ROW_HEAD_BYTES {
            return Err(format!("{} rows are more than its chunks hold", self.totals.rows));
        }
        Ok(())
    }
}

impl ShardEntry {
    pub(crate) fn position(&self) -> ShardPosition {
        ShardPosition {
            index: self.index,
            term: self.term,
            level: FeatureLevel(self.feature_level),
            digest: self.digest.0,
        }
    }

    /// Returns the sets of rows, each with true if it is key material.
    pub(crate) fn row_sets(&self) -> impl Iterator<Item = (bool, &RowSet)> {
        std::iter::once((false, &self.rows)).chain(self.keys.iter().map(|keys| (true, keys)))
    }

    pub(super) fn check(&self, at: usize, includes_keys: bool) -> Result<(), String> {
        if usize::from(self.shard) != at {
            return Err(format!("shard {at} is missing, or not in its place"));
        }
        let positions = 1..MAX_POSITION;
        if !positions.contains(&self.index) || !positions.contains(&self.term) {
            return Err(format!(
                "position {} in term {} is impossible",
                self.index, self.term
            ));
        }
        if self.keys.is_some() != includes_keys {
            return Err("the rows with key material are not as the manifest declares".to_owned());
        }
        self.row_sets().try_for_each(|(_, set)| set.check())
    }
}
