//! A real file system that fills up, where the test may mount one.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use storage::{Config, Error, ShardId, Store};

use crate::common::*;

/// A tmpfs of a few dozen megabytes; gone when dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new() -> Option<Mount> {
        let directory = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
            .arg(directory.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Mount(directory)),
            _ => None,
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn real_full_disk_refuses_cleanly_and_recovers_with_space() {
    let Some(mount) = Mount::new() else {
        println!("skipped: this user may not mount a tmpfs");
        return;
    };
    let path = mount.0.path().join("data");
    let config = Config {
        reserve_bytes: 16 << 20,
        wal_bytes: 2 << 20,
        ..Config::small(&path)
    };
    let store = Store::open(TABLES, &config).unwrap();
    let (log, state) = (store.log(ShardId(1)), store.state(ShardId(1)));
    let ballast = mount.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 12 << 20]).unwrap();

    // Fill it through the store until it refuses: by an error that says so, with every acked entry readable.
    let entry = Bytes::from(vec![b'x'; 64 << 10]);
    let mut last = 0;
    let refusal = loop {
        let index = last + 1;
        match wait(|done| log.append(vec![(index, entry.clone())], done)) {
            Ok(()) => last = index,
            Err(error) => break error,
        }
        assert!(last < 10_000, "the disk never filled up");
    };
    assert!(matches!(refusal, Error::Full { .. }), "{refusal}");
    assert!(matches!(store.room(), Err(Error::Full { .. })));
    assert_eq!(store.poisoned(), None);
    assert_eq!(log.bounds().unwrap(), Some((1, last)));
    apply(&state, 1).unwrap();
    vote(&log, "still votes").unwrap();

    // Space returns: it goes on without a restart.
    std::fs::remove_file(&ballast).unwrap();
    wait(|done| log.append(vec![(last + 1, entry.clone())], done)).unwrap();
    assert_eq!(store.poisoned(), None);
    store.close();
    let again = Store::open(TABLES, &config).unwrap();
    assert_eq!(again.log(ShardId(1)).bounds().unwrap(), Some((1, last + 1)));
    assert_eq!(assert_consistent(&again.state(ShardId(1))), 1);
    drop((log, state, store, again));
    assert!(Path::new(&path).exists());
}
