//! Sync marker: file beside RocksDB that holds the number of synced commit groups and reveals a truncated log at open.
//!
//! Point-in-time recovery stops at the first damaged record of the write-ahead log and drops the rest. If the rest was
//! acknowledged, a replica without it could help to elect a leader that lacks it, and acknowledged entries would be
//! lost silently. So each synced group writes its number into the database and, after the fsync, into this file. At
//! open the database must hold at least that number.
//!
//! The file is not synced with each group: after a power cut it may lag behind, but it is never ahead. The check
//! detects a damaged or truncated write-ahead log, and an old copy of the database directory under a newer marker. See
//! docs/decisions/0006-witness-of-synced-rounds.md.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Error;

/// Name of the file in the data directory.
const SYNC_MARKER: &str = "WITNESS";

/// The open file `WITNESS`, which holds the sync marker.
pub(crate) struct SyncMarker {
    file: File,
}

// === impl SyncMarker ===

impl SyncMarker {
    /// Opens the file and returns the number in it, 0 for a new file.
    pub(crate) fn open(directory: &Path) -> Result<(SyncMarker, u64), Error> {
        let path = directory.join(SYNC_MARKER);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let marker = SyncMarker { file };
        let mut bytes = [0; 12];
        match marker.file.read_exact_at(&mut bytes, 0) {
            // A power cut can leave the length of a new file without its content, so twelve zero bytes count as new.
            Ok(()) if bytes != [0; 12] => {
                let why = "file WITNESS does not match its checksum, the disk is damaged";
                let known = decode(bytes).ok_or_else(|| Error::Corrupt(why.into()))?;
                return Ok((marker, known));
            }
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(failed(error)),
        }
        // Synced once at creation: later writes overwrite in place and never change the length.
        marker.note(0)?;
        marker.sync()?;
        Ok((marker, 0))
    }

    /// Writes the number of a synced commit group, without syncing the file.
    pub(crate) fn note(&self, round: u64) -> Result<(), Error> {
        self.file.write_all_at(&encode(round), 0).map_err(failed)
    }

    /// Syncs the file itself; called when the store closes.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(failed)
    }
}

/// Returns the number in the file without opening it for writing; 0 if it is missing or damaged.
pub(crate) fn read_marker(directory: &Path) -> Result<u64, Error> {
    match std::fs::read(directory.join(SYNC_MARKER)) {
        // A running node may be writing the file, so a mismatch counts as no marker here.
        Ok(bytes) => Ok(bytes.try_into().ok().and_then(decode).unwrap_or(0)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed(error)),
    }
}

/// Returns `Error::Corrupt` if the database holds fewer synced commit groups than the marker.
pub(crate) fn check(known: u64, found: u64) -> Result<(), Error> {
    if found >= known {
        return Ok(());
    }
    let why = format!(
        "{} synced commit groups are missing: {known} were on disk, {found} are left",
        known - found
    );
    Err(Error::Corrupt(why.into()))
}

fn encode(round: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&round.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..8]);
    bytes[8..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: [u8; 12]) -> Option<u64> {
    let round = u64::from_be_bytes(bytes[..8].try_into().ok()?);
    (encode(round) == bytes).then_some(round)
}

fn failed(error: std::io::Error) -> Error {
    Error::Io {
        what: "file WITNESS",
        why: error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_of_the_sync_marker() {
        assert_eq!(encode(0x0102), [0, 0, 0, 0, 0, 0, 1, 2, 0x7e, 0xb1, 0x5a, 0x0a]);
        assert_eq!(decode(encode(77)), Some(77));
        assert_eq!(decode([0; 12]), None);
    }

    #[test]
    fn fewer_rounds_than_witnessed_is_corruption() {
        assert!(check(5, 5).is_ok() && check(5, 6).is_ok() && check(0, 0).is_ok());
        assert!(matches!(check(5, 4), Err(Error::Corrupt(_))));
    }
}
