//! Backups of a store in memory: written, read back, damaged, restored.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cluster::{FeatureLevel, ShardId, ShardPosition};
use storage::{MemoryDisk, MemoryOptions, RowSummary, Store};
use tempfile::TempDir;

use super::*;
use crate::state_machine::{ChatTable, TABLES, is_key_material};

const SHARDS: u16 = 2;
const CLUSTER: u64 = 0xabc;
/// Key of the keyring.
const KEYRING: &[u8] = &[4];

/// A store in memory and the directory of its backups.
struct Fixture {
    store: Store,
    dir: TempDir,
}

// === impl Fixture ===

impl Fixture {
    fn new() -> Fixture {
        let store = Store::memory(TABLES, &MemoryDisk::new(), MemoryOptions::default());
        for shard in 0..SHARDS {
            let mut transaction = store.state(ShardId(shard)).transaction();
            for n in 0..3_000_u32 {
                let value = format!("{shard} {n} ").repeat(30);
                transaction.put(ChatTable::Message.of_store(), &n.to_be_bytes(), value.as_bytes());
            }
            transaction.put(ChatTable::Login.of_store(), KEYRING, b"the seed");
            transaction.commit(Bytes::from_static(b"applied")).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        Fixture { store, dir }
    }

    fn backups(&self) -> PathBuf {
        self.dir.path().join("backups")
    }

    fn target(&self) -> BackupTarget {
        BackupTarget::from(&*self.backups())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn position(shard: u16) -> ShardPosition {
        ShardPosition {
            index: 70 + u64::from(shard),
            term: 3,
            level: FeatureLevel(1),
            digest: 5,
        }
    }

    /// Adds a backup, as a node sends it. Returns the bytes of its new chunks.
    fn add(&self, began_ms: u64, includes_keys: bool) -> u64 {
        let directory = BackupDirectory::create(&self.target()).unwrap();
        let mut manifest = Manifest::new(format!("{CLUSTER:016x}"), includes_keys, began_ms);
        let mut new_bytes = 0;
        for shard in 0..SHARDS {
            let mut collector = ShardCollector::new(&directory);
            for frame in self.frames(shard, includes_keys) {
                collector.add(frame).unwrap();
            }
            new_bytes += collector.new_bytes;
            manifest.shards.push(collector.finish(began_ms).unwrap().1);
        }
        directory.add_backup(&manifest).unwrap();
        new_bytes
    }

    fn frames(&self, shard: u16, includes_keys: bool) -> Vec<Frame> {
        let mut export = self.store.state(ShardId(shard)).export().unwrap();
        let mut frames = vec![Frame::Head(ShardHead::new(
            CLUSTER,
            SHARDS,
            shard,
            &Fixture::position(shard),
        ))];
        let mut totals = [RowSummary::default(); 2];
        for keys in [false, true] {
            export.rewind();
            let keep = |table, key: &[u8]| is_key_material(table, key) == keys;
            while let Some(chunk) = export.next_archive_chunk(&keep).unwrap() {
                totals[usize::from(keys)] = totals[usize::from(keys)].and(chunk.summary);
                let bytes = Bytes::from(chunk.bytes);
                if keys && includes_keys {
                    frames.push(Frame::Keys(bytes));
                } else if !keys {
                    frames.push(Frame::Rows(bytes));
                }
            }
        }
        frames.push(Frame::End(ShardEnd {
            rows: totals[0].into(),
            keys: includes_keys.then(|| totals[1].into()),
        }));
        frames
    }

    fn verify(&self) -> Result<(), BackupError> {
        verify(&BackupDirectory::open(&self.target())?, None).map(drop)
    }

    fn restore(&self) -> Result<(), BackupError> {
        let directory = BackupDirectory::open(&self.target())?;
        restore(&directory, None, &self.data(), 7).map(drop)
    }

    /// Returns a file of a chunk of rows.
    fn chunk(&self) -> PathBuf {
        first_file(&self.backups().join("chunks"))
    }
}

/// Returns a file in the directory or below.
fn first_file(dir: &Path) -> PathBuf {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    let file = entries.iter().find_map(|path| match path.is_dir() {
        true if fs::read_dir(path).unwrap().next().is_some() => Some(first_file(path)),
        true => None,
        false => Some(path.clone()),
    });
    file.unwrap()
}

/// Returns the summary of a shard's rows, those with key material apart.
fn summaries(store: &Store, shard: u16) -> [RowSummary; 2] {
    [false, true].map(|keys| {
        let mut export = store.state(ShardId(shard)).export().unwrap();
        let keep = |table, key: &[u8]| is_key_material(table, key) == keys;
        let chunks = std::iter::from_fn(|| export.next_archive_chunk(&keep).unwrap());
        chunks.fold(RowSummary::default(), |sum, chunk| sum.and(chunk.summary))
    })
}

#[test]
fn a_restored_directory_has_the_rows_behind_the_same_positions() {
    for includes_keys in [false, true] {
        let fixture = Fixture::new();
        fixture.add(1_000, includes_keys);
        fixture.verify().unwrap();
        fixture.restore().unwrap();
        let store = Store::open(TABLES, &storage::Config::small(fixture.data())).unwrap();
        assert_eq!(cluster::stored_cluster(&store).unwrap(), Some((7, SHARDS)));
        for shard in 0..SHARDS {
            let [rows, keys] = summaries(&fixture.store, shard);
            let keys = if includes_keys {
                keys
            } else {
                RowSummary::default()
            };
            assert_eq!(summaries(&store, shard), [rows, keys]);
            let applied = store.state(ShardId(shard)).applied().unwrap();
            let position = cluster::position(ShardId(shard), applied.as_ref()).unwrap();
            assert_eq!(position, Fixture::position(shard));
        }
        store.close();
    }
}

#[test]
fn a_restored_directory_can_be_backed_up() {
    let fixture = Fixture::new();
    fixture.add(1_000, true);
    fixture.restore().unwrap();
    let directory = BackupDirectory::create(&fixture.target()).unwrap();
    let backup = collect_from_data(&directory, &fixture.data(), true, || 2_000).unwrap();
    // The same rows are the same chunks.
    assert_eq!((backup.new_bytes, backup.unapplied.len()), (0, 0));
    directory.add_backup(&backup.manifest).unwrap();
    drop(directory);
    fixture.verify().unwrap();
    let elsewhere = fixture.dir.path().join("nothing");
    let directory = BackupDirectory::create(&fixture.target()).unwrap();
    let refused = collect_from_data(&directory, &elsewhere, true, || 3_000)
        .err()
        .unwrap();
    assert!(refused.to_string().contains("is no data directory"), "{refused}");
    assert!(!elsewhere.exists());
}

#[test]
fn next_backup_stores_only_what_has_changed() {
    let fixture = Fixture::new();
    let first = fixture.add(1_000, true);
    assert_eq!(fixture.add(2_000, true), 0);
    let mut transaction = fixture.store.state(ShardId(0)).transaction();
    transaction.put(ChatTable::Message.of_store(), b"\xff\xff", b"new");
    transaction.commit(Bytes::new()).unwrap();
    let third = fixture.add(3_000, true);
    assert!(third > 0 && third < first, "{third} of {first} bytes");
    fixture.verify().unwrap();

    // What only removed backups need is removed, and no more.
    let directory = BackupDirectory::create(&fixture.target()).unwrap();
    let names = directory.backups().unwrap();
    assert_eq!(names.len(), 3);
    assert_eq!(directory.sweep().unwrap(), (0, 0));
    directory.remove_backup(&names[2]).unwrap();
    let (files, _) = directory.sweep().unwrap();
    assert!(files > 0);
    drop(directory);
    fixture.verify().unwrap();
}

#[test]
fn key_material_is_only_in_the_folder_of_keys() {
    let holds = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(8).any(|window| window == b"the seed")
    };
    let fixture = Fixture::new();
    fixture.add(1_000, false);
    assert_eq!(fs::read_dir(fixture.backups().join("keys")).unwrap().count(), 0);
    fixture.add(2_000, true);
    assert!(holds(&first_file(&fixture.backups().join("keys"))));
    let mut chunks = 0;
    for dir in fs::read_dir(fixture.backups().join("chunks")).unwrap() {
        for file in fs::read_dir(dir.unwrap().path()).unwrap() {
            assert!(!holds(&file.unwrap().path()));
            chunks += 1;
        }
    }
    assert!(chunks > 2, "{chunks} chunks");
}

#[cfg(unix)]
#[test]
fn backups_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    fixture.add(1_000, true);
    let (mut left, mut files) = (vec![fixture.backups()], 0);
    while let Some(path) = left.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("LOCK") {
            assert_eq!(mode, 0o600, "{}", path.display());
            files += 1;
        }
        // Below a directory that is closed, the others need no mode of their own.
        if path == fixture.backups() {
            assert_eq!(mode, 0o700);
        }
    }
    assert!(files > 3, "{files} files");
}

#[test]
fn damaged_backups_are_refused_with_the_file_at_fault() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 6] = [
        ("truncated", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("damaged", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("more than the", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, bytes.repeat(9)).unwrap();
        }),
        ("is missing", |path| fs::remove_file(path).unwrap()),
        ("not a regular file", |path| {
            let aside = path.with_extension("aside");
            fs::rename(path, &aside).unwrap();
            std::os::unix::fs::symlink(&aside, path).unwrap();
        }),
        ("not a regular file", |path| {
            fs::remove_file(path).unwrap();
            // Without an end.
            std::os::unix::fs::symlink("/dev/zero", path).unwrap();
        }),
    ];
    for (reason, damage) in cases {
        let fixture = Fixture::new();
        fixture.add(1_000, true);
        let chunk = fixture.chunk();
        damage(&chunk);
        for refused in [fixture.verify().unwrap_err(), fixture.restore().unwrap_err()] {
            let text = refused.to_string();
            assert!(text.contains(reason), "{text} instead of {reason}");
            assert!(text.contains(chunk.to_str().unwrap()), "{text}");
        }
        assert!(!fixture.data().exists(), "nothing is left of the refused restore");
        let siblings: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().collect();
        assert_eq!(siblings.len(), 1, "{siblings:?}");
    }
}

#[test]
fn misplaced_and_missing_rows_are_refused() {
    let fixture = Fixture::new();
    fixture.add(1_000, true);
    let directory = BackupDirectory::open(&fixture.target()).unwrap();
    let (name, manifest) = directory.backup(None).unwrap();
    let path = fixture.backups().join(format!("{name}.manifest"));
    let swap = |change: &dyn Fn(&mut Manifest)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        fs::write(&path, changed.encode()).unwrap();
    };
    swap(&|manifest| {
        let _removed = manifest.shards[0].rows.chunks.pop();
    });
    for refused in [fixture.verify().unwrap_err(), fixture.restore().unwrap_err()] {
        let text = refused.to_string();
        assert!(text.contains("do not match the manifest"), "{text}");
    }
    swap(&|manifest| {
        let other = manifest.shards[1].rows.chunks[0];
        manifest.shards[0].rows.chunks[0] = other;
    });
    assert!(fixture.verify().is_err());
    // Of a newer build: refused before anything is read.
    swap(&|manifest| manifest.shards[1].feature_level = 1_000);
    let refused = fixture.restore().unwrap_err().to_string();
    assert!(refused.contains("use a newer build"), "{refused}");
    swap(&|_| {});
    fixture.verify().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let refused = fixture.verify().unwrap_err().to_string();
    assert!(refused.contains("checksum of the manifest"), "{refused}");
}

#[test]
fn responses_that_lack_something_make_no_backup() {
    let fixture = Fixture::new();
    let directory = BackupDirectory::create(&fixture.target()).unwrap();
    let frames = fixture.frames(0, true);
    let collect = |frames: &[Frame]| {
        let mut collector = ShardCollector::new(&directory);
        for frame in frames {
            collector.add(frame.clone())?;
        }
        collector.finish(0).map(drop)
    };
    collect(&frames).unwrap();
    for left_out in 0..frames.len() {
        let mut some = frames.clone();
        some.remove(left_out);
        let refused = collect(&some).unwrap_err();
        assert!(
            matches!(refused, BackupError::Response(_)),
            "{left_out}: {refused}"
        );
    }
    let mut twice = frames.clone();
    twice.insert(1, frames[1].clone());
    assert!(collect(&twice).is_err());
    assert!(directory.backups().unwrap().is_empty());
    drop(directory);
    let refused = fixture.restore().unwrap_err().to_string();
    assert!(refused.contains("holds no complete backup"), "{refused}");
}

#[test]
fn other_directories_are_left_alone() {
    let fixture = Fixture::new();
    fixture.add(1_000, false);
    let directory = BackupDirectory::create(&fixture.target()).unwrap();
    let locked = BackupDirectory::create(&fixture.target())
        .unwrap_err()
        .to_string();
    assert!(locked.contains("another backup is running"), "{locked}");
    let absent = directory.backup(Some("../x")).unwrap_err().to_string();
    assert!(absent.contains("there is no backup"), "{absent}");
    drop(directory);

    let foreign = fixture.dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), b"words").unwrap();
    let refused = BackupDirectory::create(&BackupTarget::from(&*foreign))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("letter.txt"), "{refused}");
    let refused = BackupDirectory::open(&BackupTarget::from(&*foreign))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("no directory of backups"), "{refused}");
    let directory = BackupDirectory::open(&fixture.target()).unwrap();
    let refused = restore(&directory, None, &foreign, 7).unwrap_err().to_string();
    assert!(refused.contains("is not empty"), "{refused}");
    assert_eq!(fs::read(foreign.join("letter.txt")).unwrap(), b"words");
    fs::write(fixture.backups().join("BACKUPS"), "rookery-backups\nformat 2\n").unwrap();
    let refused = BackupDirectory::open(&fixture.target()).unwrap_err().to_string();
    assert!(refused.contains("another format"), "{refused}");
}
