//! Failures that a test can only inject: a write or an fsync that fails, a disk that fills up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use fail::FailScenario;
use storage::{Durability, Error, HardKey, ShardId};

use crate::common::*;

const SHARD: ShardId = ShardId(1);

#[test]
fn failed_fsync_poisons_the_store_and_ends_all_acks() {
    poisons("storage::sync_error");
}

#[test]
fn failed_write_poisons_the_store_and_ends_all_acks() {
    poisons("storage::write_error");
}

fn poisons(point: &str) {
    let scenario = FailScenario::setup();
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (log, state) = (store.log(SHARD), store.state(SHARD));
    append(&log, 1..=3).unwrap();
    apply(&state, 1).unwrap();
    let view = state.view();
    let notified = Arc::new(AtomicU64::new(0));
    let listener = notified.clone();
    store.on_poison(move |error| {
        assert!(matches!(error, Error::Poisoned(_)));
        listener.fetch_add(1, Ordering::SeqCst);
    });

    // One failure, as a dying disk gives it: the next attempt would succeed, and must not be made.
    fail::cfg(point, "1*return").unwrap();
    assert!(matches!(append(&log, 4..=4), Err(Error::Poisoned(_))));

    let poisoned =
        |result: Result<(), Error>| assert!(matches!(result, Err(Error::Poisoned(_))), "{result:?}");
    poisoned(append(&log, 4..=4));
    poisoned(append(&store.log(ShardId(2)), 1..=1));
    poisoned(wait(|done| log.truncate_from(2, done)));
    poisoned(wait(|done| {
        log.put_hard(HardKey::Committed, Bytes::new(), Durability::Buffered, Some(done))
    }));
    poisoned(vote(&log, "v"));
    poisoned(apply(&state, 2));
    poisoned(state.sync());
    poisoned(state.destroy());
    poisoned(store.put_node("k", b"v"));
    poisoned(store.room());
    poisoned(log.bounds().map(drop));
    poisoned(log.read(1..9, 99).map(drop));
    poisoned(state.get(MESSAGE, b"x").map(drop));
    poisoned(view.applied().map(drop));
    poisoned(state.export().map(drop));
    poisoned(state.import().map(drop));
    assert!(store.poisoned().unwrap().contains("injected"));
    assert_eq!(
        (notified.load(Ordering::SeqCst), store.metrics().poisoned.get()),
        (1, 1)
    );
    let late = notified.clone();
    store.on_poison(move |_| {
        late.fetch_add(10, Ordering::SeqCst);
    });
    assert_eq!(notified.load(Ordering::SeqCst), 11);

    // A restart looks at the disk afresh. What was not acknowledged may be there or not.
    drop(view);
    store.close();
    scenario.teardown();
    let again = open(directory.path());
    let last = again.log(SHARD).bounds().unwrap().unwrap().1;
    assert!((3..=4).contains(&last));
    assert_entries(&again.log(SHARD), 1..=last);
}

#[test]
fn a_failed_commit_group_fails_everything_behind_it() {
    let scenario = FailScenario::setup();
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    // Hold the writer at its first round, so that more rounds queue up behind it.
    let (entered, enter) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    fail::cfg_callback("storage::before_sync", move || {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
    })
    .unwrap();
    let (sender, receiver) = mpsc::channel();
    for shard in 0..50 {
        let log = store.log(ShardId(shard));
        let sender = sender.clone();
        log.append(
            vec![(1, entry(&log, 1))],
            Box::new(move |result| sender.send((shard, result)).unwrap()),
        );
    }
    drop(sender);
    enter.recv().unwrap();
    assert!(store.stalled().is_some());
    fail::cfg("storage::sync_error", "return").unwrap();
    release.send(()).unwrap();
    let results: Vec<_> = receiver.iter().collect();
    assert_eq!(
        results.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(),
        (0..50).collect::<Vec<_>>()
    );
    assert!(
        results
            .iter()
            .all(|(_, result)| matches!(result, Err(Error::Poisoned(_)))),
        "{receiver:?}"
    );
    scenario.teardown();
}

#[test]
fn a_full_disk_refuses_cleanly_and_recovers() {
    let scenario = FailScenario::setup();
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (log, state) = (store.log(SHARD), store.state(SHARD));
    append(&log, 1..=10).unwrap();
    (1..=5).for_each(|index| apply(&state, index).unwrap());

    fail::cfg("storage::full", "return").unwrap();
    assert!(matches!(append(&log, 11..=12), Err(Error::Full { free: 0, .. })));
    assert!(matches!(store.room(), Err(Error::Full { .. })));
    // What is small, or makes room, or is in the log already, goes on; reads serve.
    vote(&log, "v").unwrap();
    log.purge_to(3, Bytes::from_static(b"3"));
    (6..=10).for_each(|index| apply(&state, index).unwrap());
    state.sync().unwrap();
    assert_entries(&log, 4..=10);
    let chunk = state.export().unwrap().next_chunk(100).unwrap().unwrap();
    assert!(matches!(
        store.state(ShardId(2)).import().unwrap().add(&chunk),
        Err(Error::Full { .. })
    ));

    fail::remove("storage::full");
    assert!(
        matches!(append(&log, 12..=12), Err(Error::Misuse(_))),
        "it would leave a hole"
    );
    append(&log, 11..=12).unwrap();
    assert_eq!(store.poisoned(), None);
    store.close();
    scenario.teardown();
    let again = open(directory.path());
    assert_entries(&again.log(SHARD), 4..=12);
    assert_eq!(assert_consistent(&again.state(SHARD)), 10);
}
