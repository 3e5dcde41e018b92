//! Manifest of a backup: positions of the shards, and the chunks that hold their rows.
//!
//! The first line is `rookery-backup 1 HASH`, with the SHA-256 hash of everything behind it, which is JSON. Pure: no
//! file is opened here, and every limit is checked before a caller opens or allocates anything by these numbers.

use serde::{Deserialize, Serialize};

use super::shard_entry::{ChunkHash, ShardEntry};

/// Format of the manifest and of the directory.
const FORMAT: u32 = 1;
const HEADING: &str = "rookery-backup";
/// Maximum bytes of a manifest: about two million chunks, which hold a terabyte.
pub(crate) const MANIFEST_BYTES: u64 = 256 << 20;

/// Manifest of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Cluster id, as 16 hexadecimal digits.
    pub(crate) cluster: String,
    /// Begin and end of the backup, in milliseconds since the Unix epoch, by the clock of the tool.
    pub(crate) began_ms: u64,
    pub(crate) ended_ms: u64,
    /// True if the rows with key material are in the backup.
    pub(crate) includes_keys: bool,
    /// Every shard, in the order of the numbers.
    pub(crate) shards: Vec<ShardEntry>,
}

// === impl Manifest ===

impl Manifest {
    /// Returns the manifest of a backup that begins at `began_ms`, without shards.
    pub(crate) fn new(cluster: String, includes_keys: bool, began_ms: u64) -> Manifest {
        Manifest {
            format: FORMAT,
            cluster,
            began_ms,
            ended_ms: began_ms,
            includes_keys,
            shards: Vec::new(),
        }
    }

    /// Returns the number of rows and the bytes of all chunks, each chunk counted where it is listed.
    pub(crate) fn size(&self) -> (u64, u64) {
        let sets = self.shards.iter().flat_map(ShardEntry::row_sets);
        sets.fold((0, 0), |(rows, bytes): (u64, u64), (_, set)| {
            (
                rows.saturating_add(set.totals.rows),
                bytes.saturating_add(set.bytes()),
            )
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a manifest is plain data, which JSON always holds");
        Manifest::seal(&json)
    }

    /// Returns the file with this JSON: behind the first line, with the right checksum.
    pub(super) fn seal(json: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{HEADING} {FORMAT} {}\n", ChunkHash::of(json)).into_bytes();
        bytes.extend_from_slice(json);
        bytes
    }

    /// Decodes and checks a manifest.
    ///
    /// # Errors
    /// The defect, as text for the operator.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Manifest, String> {
        let at = bytes.iter().take(128).position(|byte| *byte == b'\n');
        let (head, json) = bytes.split_at(at.ok_or("the first line of a manifest is missing")?);
        let json = &json[1..];
        let head = std::str::from_utf8(head).map_err(|_| "the first line is not text")?;
        let mut words = head.split(' ');
        if words.next() != Some(HEADING) {
            return Err("this file is no manifest of a backup".to_owned());
        }
        match words.next().and_then(|format| format.parse::<u32>().ok()) {
            Some(FORMAT) => {}
            Some(format) => {
                return Err(format!(
                    "the backup has format {format}, this build reads {FORMAT}"
                ));
            }
            None => return Err("the first line names no format".to_owned()),
        }
        let hash = ChunkHash::of(json).to_string();
        if (words.next(), words.next()) != (Some(hash.as_str()), None) {
            return Err("the checksum of the manifest does not match: it is damaged or truncated".to_owned());
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err("the format differs from the first line".to_owned());
        }
        if u64::from_str_radix(&self.cluster, 16).is_err() || self.cluster.len() != 16 {
            return Err("the cluster id has 16 hexadecimal digits".to_owned());
        }
        // The highest number is that of the meta group.
        if self.shards.is_empty() || self.shards.len() >= usize::from(u16::MAX) {
            return Err(format!("{} shards are impossible", self.shards.len()));
        }
        for (at, shard) in self.shards.iter().enumerate() {
            shard
                .check(at, self.includes_keys)
                .map_err(|reason| format!("shard {}: {reason}", shard.shard))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::shard_entry::{ChunkEntry, HexNumber, RowSet, RowTotals};

    fn sample() -> Manifest {
        let chunk = ChunkEntry {
            sha256: ChunkHash::of(b"rows"),
            bytes: 300,
        };
        let rows = RowSet {
            totals: RowTotals {
                rows: 7,
                digest: HexNumber(0xabc),
            },
            chunks: vec![chunk],
        };
        let shard = ShardEntry {
            shard: 0,
            taken_ms: 5,
            index: 9,
            term: 2,
            feature_level: 1,
            digest: HexNumber(u128::MAX),
            rows,
            keys: None,
        };
        Manifest {
            shards: vec![shard],
            ..Manifest::new("00000000000000ff".to_owned(), false, 4)
        }
    }

    #[test]
    fn the_text_of_a_manifest_is_frozen() {
        let expected = concat!(
            "rookery-backup 1 dd71fb3c89ffb828d0058f54273687d0453066c90af9ec3620728f928e4f9a49\n",
            r#"{"format":1,"cluster":"00000000000000ff","began_ms":4,"ended_ms":4,"includes_keys":false,"#,
            r#""shards":[{"shard":0,"taken_ms":5,"index":9,"term":2,"feature_level":1,"#,
            r#""digest":"ffffffffffffffffffffffffffffffff","rows":{"totals":{"rows":7,"#,
            r#""digest":"00000000000000000000000000000abc"},"chunks":[{"sha256":"#,
            r#""bc51e9e65d79e1c90ba544ab2eae1044ccdf8c1af7a559ba375cba4276f7d99e","bytes":300}]}}]}"#,
        );
        let text = String::from_utf8(sample().encode()).unwrap();
        assert_eq!(text, expected);
        assert_eq!(Manifest::decode(text.as_bytes()).unwrap(), sample());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn manifests_with_a_right_checksum_are_checked_too() {
        let good = serde_json::to_string(&sample()).unwrap();
        assert!(Manifest::decode(&Manifest::seal(good.as_bytes())).is_ok());
        let hash = ChunkHash::of(b"rows").to_string();
        let (hash, upper) = (hash.as_str(), hash.to_uppercase());
        let chunk = format!(r#"{{"sha256":"{hash}","bytes":300}}"#);
        let twice = format!("{chunk},{chunk}");
        for (from, to, reason) in [
            (hash, "../../../../etc/passwd", "64 hexadecimal digits"),
            (hash, upper.as_str(), "64 hexadecimal digits"),
            (
                r#""bytes":300"#,
                r#""bytes":99000000000"#,
                "has 99000000000 bytes",
            ),
            (r#""bytes":300"#, r#""bytes":3"#, "has 3 bytes"),
            (r#""rows":7"#, r#""rows":700"#, "more than its chunks hold"),
            (chunk.as_str(), twice.as_str(), "listed twice"),
            (r#""shard":0"#, r#""shard":1"#, "shard 0 is missing"),
            (r#""index":9"#, r#""index":0"#, "is impossible"),
            (r#""index":9"#, r#""index":18446744073709551615"#, "is impossible"),
            (r#""format":1"#, r#""format":2"#, "differs from the first line"),
            (
                r#""includes_keys":false"#,
                r#""includes_keys":true"#,
                "key material",
            ),
            (r#""cluster":"0"#, r#""cluster":"x"#, "16 hexadecimal digits"),
            (r#""term":2"#, r#""term":2,"path":"/""#, "unknown field"),
        ] {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{from}");
            let error = Manifest::decode(&Manifest::seal(text.as_bytes())).unwrap_err();
            assert!(error.contains(reason), "{error} instead of {reason}");
        }
        let newer = String::from_utf8(sample().encode())
            .unwrap()
            .replacen(" 1 ", " 2 ", 1);
        let error = Manifest::decode(newer.as_bytes()).unwrap_err();
        assert_eq!(error, "the backup has format 2, this build reads 1");
    }
}
