//! Remembers, outside RocksDB, how many rounds were synced.
//!
//! Point-in-time recovery stops at the first damaged record of the write-ahead log and calls the rest never
//! written. If that rest was acknowledged, a replica that forgot it could vote a leader into power that lacks
//! it, and the cluster would lose data nobody noticed. So each synced round writes its number into the database
//! and, once the fsync has returned, into this file. At open the database must know at least that number.
//!
//! The file is not synced with each round: it may be behind after a power cut, never ahead. A damaged or cut
//! write-ahead log, or an old copy of the database directory under a newer witness, is caught.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::Error;

/// The open file `WITNESS`.
pub(crate) struct Witness {
    file: File,
}

// === impl Witness ===

impl Witness {
    /// Opens the file and returns the round in it, 0 when it is new.
    pub(crate) fn open(directory: &Path) -> Result<(Witness, u64), Error> {
        let path = directory.join("WITNESS");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let witness = Witness { file };
        let mut bytes = [0; 12];
        match witness.file.read_exact_at(&mut bytes, 0) {
            // A power cut can leave a new file's length without its content.
            Ok(()) if bytes != [0; 12] => {
                let why = "file WITNESS does not match its checksum, the disk is damaged";
                let known = decode(bytes).ok_or_else(|| Error::Corrupt(why.into()))?;
                return Ok((witness, known));
            }
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(failed(error)),
        }
        witness.note(0)?;
        witness.sync()?;
        Ok((witness, 0))
    }

    /// Notes that a round is on disk.
    pub(crate) fn note(&self, round: u64) -> Result<(), Error> {
        self.file.write_all_at(&encode(round), 0).map_err(failed)
    }

    /// Makes the file itself durable; when the store closes.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(failed)
    }
}

/// Returns the round in the file without opening it for writing, 0 when there is none.
pub(crate) fn peek(directory: &Path) -> Result<u64, Error> {
    match std::fs::read(directory.join("WITNESS")) {
        Ok(bytes) => Ok(bytes.try_into().ok().and_then(decode).unwrap_or(0)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a database that knows fewer synced rounds than the witness.
pub(crate) fn check(known: u64, found: u64) -> Result<(), Error> {
    if found >= known {
        return Ok(());
    }
    let why = format!(
        "{} synced rounds are missing: {known} were on disk, {found} are left",
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
    fn golden_bytes_of_the_witness() {
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
