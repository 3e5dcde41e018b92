//! A flipped byte in any file of the database: the store refuses, or tells what was written. Never anything else.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use storage::{Config, Error, ShardId, Store};

use crate::common::*;

const SHARD: ShardId = ShardId(1);
const LAST: u64 = 2_000;

fn config(path: &Path) -> Config {
    Config {
        log_write_buffer: 64 << 10,
        state_write_buffer: 64 << 10,
        reserve_bytes: 1,
        ..Config::small(path)
    }
}

/// Writes a directory whose rows lie in tables and in the write-ahead log; returns the last index.
fn fill(path: &Path, last: u64) {
    let store = Store::open(TABLES, &config(path)).unwrap();
    let (log, state) = (store.log(SHARD), store.state(SHARD));
    for index in (1..=last).step_by(20) {
        append(&log, index..=index + 19).unwrap();
        (index..index + 20).for_each(|index| apply(&state, index).unwrap());
    }
    vote(&log, "the vote").unwrap();
    store.close();
}

/// Opens and reads everything. Panics when anything is read that was not written.
fn read_all(path: &Path, last: u64) -> Result<(), Error> {
    let store = Store::open(TABLES, &config(path))?;
    let (log, state) = (store.log(SHARD), store.state(SHARD));
    let entries = log.read(0..u64::MAX, usize::MAX)?;
    let expected: Vec<_> = (1..=last).map(|index| (index, entry(&log, index))).collect();
    assert!(
        entries == expected,
        "{} entries of {last}, or wrong ones",
        entries.len()
    );
    assert_eq!(log.get_hard(storage::HardKey::Vote)?.unwrap(), "the vote");
    let applied = state
        .applied()?
        .map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()));
    let rows = state.scan(MESSAGE, &[]..&[], storage::ScanOrder::Ascending, usize::MAX)?;
    let expected: Vec<_> = (1..=applied)
        .map(|index| {
            (
                Bytes::copy_from_slice(&index.to_be_bytes()),
                Bytes::from(message(index)),
            )
        })
        .collect();
    assert!(
        rows == expected,
        "{} rows of {applied}, or wrong ones",
        rows.len()
    );
    Ok(())
}

#[test]
fn a_flipped_byte_in_any_file_is_detected_or_harmless() {
    let parent = tempfile::tempdir().unwrap();
    let (original, damaged) = (parent.path().join("original"), parent.path().join("damaged"));
    fill(&original, LAST);
    copy_directory(&original, &damaged);
    read_all(&damaged, LAST).unwrap();
    let (mut detected, mut harmless, mut detected_in) = (0, 0, std::collections::BTreeSet::new());
    let files = files(&original);
    assert!(files.iter().any(|file| kind(file) == "sst") && files.iter().any(|file| kind(file) == "log"));
    for file in files {
        let length = fs::metadata(original.join(&file)).unwrap().len() as usize;
        let positions = if matches!(kind(&file), "sst" | "log") {
            12
        } else {
            4
        };
        for position in 0..positions.min(length) {
            // Spread over the file, and never the same place within a block.
            let offset = (length * position / positions + 7 * position) % length;
            copy_directory(&original, &damaged);
            let mut bytes = fs::read(damaged.join(&file)).unwrap();
            bytes[offset] ^= 0x10;
            fs::write(damaged.join(&file), bytes).unwrap();
            match read_all(&damaged, LAST) {
                Ok(()) => harmless += 1,
                Err(_) => {
                    detected += 1;
                    detected_in.insert(kind(&file).to_owned());
                }
            }
        }
    }
    println!("{detected} detected in {detected_in:?}, {harmless} harmless");
    assert!(detected > 10, "{detected} detected, {harmless} harmless");
    for kind in ["sst", "log"] {
        assert!(
            detected_in.contains(kind),
            "no damage was detected in any .{kind} file"
        );
    }
}

#[test]
fn a_write_ahead_log_that_lost_its_end_is_detected() {
    let parent = tempfile::tempdir().unwrap();
    let (original, damaged) = (parent.path().join("original"), parent.path().join("damaged"));
    fill(&original, 200);
    let wal = files(&original)
        .into_iter()
        .rfind(|file| kind(file) == "log")
        .unwrap();
    let length = fs::metadata(original.join(&wal)).unwrap().len();
    for cut in [1, 3, 10, 100, 1_000, length / 2, length] {
        copy_directory(&original, &damaged);
        let file = fs::OpenOptions::new()
            .write(true)
            .open(damaged.join(&wal))
            .unwrap();
        file.set_len(length.saturating_sub(cut)).unwrap();
        // The last record is of the last synced round: without it, a round is missing.
        assert!(
            matches!(read_all(&damaged, 200), Err(Error::Corrupt(_))),
            "{cut} bytes cut"
        );
    }
}

/// Returns the files of the database that hold data, relative to the data directory, oldest first.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path.join("db"))
        .unwrap()
        .map(|entry| Path::new("db").join(entry.unwrap().file_name()))
        .filter(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            !name.starts_with("LOG") && name != "LOCK" && name != "IDENTITY"
        })
        .collect();
    files.sort();
    files
}

/// Returns what a file is, by its name.
fn kind(file: &Path) -> &str {
    file.extension()
        .map_or("other", |extension| extension.to_str().unwrap())
}

fn copy_directory(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir_all(to.join("db")).unwrap();
    for entry in fs::read_dir(from)
        .unwrap()
        .chain(fs::read_dir(from.join("db")).unwrap())
    {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.path().strip_prefix(from).unwrap())).unwrap();
        }
    }
}
