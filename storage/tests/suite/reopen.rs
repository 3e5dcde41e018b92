//! What was written is there after the directory is opened again.

use crate::common::*;
use bytes::Bytes;
use storage::{Durability, Error, HardKey, ScanOrder, ShardId};

#[test]
fn a_new_directory_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("not/yet/there"));
    let (log, state) = (store.log(ShardId(0)), store.state(ShardId(0)));
    assert_eq!(store.shards().unwrap(), []);
    assert_eq!(log.bounds().unwrap(), None);
    assert_eq!(log.get_hard(HardKey::Vote).unwrap(), None);
    assert_eq!(log.read(0..u64::MAX, 1).unwrap(), []);
    assert_eq!(state.applied().unwrap(), None);
    assert_eq!(
        state.scan(MESSAGE, &[]..&[], ScanOrder::Descending, 9).unwrap(),
        []
    );
    assert_eq!(store.get_node("id").unwrap(), None);
    assert!(store.poisoned().is_none() && store.stalled().is_none() && store.room().is_ok());
}

#[test]
fn everything_survives_close_and_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for shard in [ShardId(0), ShardId(1), ShardId::META] {
        let (log, state) = (store.log(shard), store.state(shard));
        append(&log, 1..=50).unwrap();
        vote(&log, &format!("vote of {shard}")).unwrap();
        wait(|done| log.truncate_from(41, done)).unwrap();
        log.purge_to(10, Bytes::from_static(b"purged at 10"));
        (1..=30).for_each(|index| apply(&state, index).unwrap());
    }
    store.put_node("id", b"node 7").unwrap();
    store.close();
    assert!(matches!(store.shards(), Err(Error::Closed)));
    assert!(matches!(
        append(&store.log(ShardId(0)), 41..=41),
        Err(Error::Closed)
    ));
    assert!(matches!(
        store.state(ShardId(0)).view().applied(),
        Err(Error::Closed)
    ));

    // The old handle lingers; the directory is free all the same.
    let again = open(directory.path());
    assert_eq!(again.shards().unwrap(), [ShardId(0), ShardId(1), ShardId::META]);
    assert_eq!(again.get_node("id").unwrap().unwrap(), "node 7");
    for shard in [ShardId(0), ShardId(1), ShardId::META] {
        let (log, state) = (again.log(shard), again.state(shard));
        assert_entries(&log, 11..=40);
        assert_eq!(
            log.get_hard(HardKey::Vote).unwrap().unwrap(),
            format!("vote of {shard}")
        );
        assert_eq!(log.get_hard(HardKey::Purged).unwrap().unwrap(), "purged at 10");
        assert_eq!(assert_consistent(&state), 30);
    }
}

#[test]
fn dropping_the_last_handle_closes_the_store() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = open(directory.path()).log(ShardId(3));
        append(&log, round * 5 + 1..=round * 5 + 5).unwrap();
        assert_entries(&log, 1..=round * 5 + 5);
    }
}

#[test]
fn os_mode_survives_close_and_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let config = storage::Config {
        fsync: false,
        reserve_bytes: 1,
        ..storage::Config::small(directory.path())
    };
    let store = storage::Store::open(TABLES, &config).unwrap();
    append(&store.log(ShardId(1)), 1..=5).unwrap();
    assert_eq!(store.metrics().fsync_enabled.get(), 0);
    assert_eq!(store.metrics().fsyncs.get(), 0);
    drop(store);
    assert_entries(&open(directory.path()).log(ShardId(1)), 1..=5);
}

#[test]
fn a_destroyed_shard_is_gone_and_its_neighbours_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for shard in (1..=3).map(ShardId) {
        append(&store.log(shard), 1..=5).unwrap();
        vote(&store.log(shard), "vote").unwrap();
        apply(&store.state(shard), 1).unwrap();
    }
    copy(&store.state(ShardId(1)), &store.state(ShardId(2)), 100).unwrap();
    store.state(ShardId(2)).destroy().unwrap();
    for store in [store.clone(), {
        store.close();
        open(directory.path())
    }] {
        let Ok(shards) = store.shards() else { continue };
        assert_eq!(shards, [ShardId(1), ShardId(3)]);
        assert_eq!(store.state(ShardId(2)).applied().unwrap(), None);
        assert_entries(&store.log(ShardId(3)), 1..=5);
        // It can be used again from the start.
        let log = store.log(ShardId(2));
        append(&log, 1..=2).unwrap();
        wait(|done| log.put_hard(HardKey::Committed, Bytes::new(), Durability::Buffered, Some(done)))
            .unwrap();
        assert_entries(&log, 1..=2);
    }
}
