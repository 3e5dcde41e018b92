//! The log of a shard, and the group commit of all.

use std::sync::{Arc, mpsc};

use crate::common::*;
use bytes::Bytes;
use storage::{Durability, HardKey, ShardId, Store};

fn with_store(test: impl Fn(&Store)) {
    let directory = tempfile::tempdir().unwrap();
    test(&open(directory.path()));
    test(&Store::memory(
        TABLES,
        &storage::MemoryDisk::new(),
        storage::MemoryOptions::default(),
    ));
}

#[test]
fn callbacks_run_in_the_order_of_the_calls_of_all_shards() {
    with_store(|store| {
        let (sender, receiver) = mpsc::channel();
        for step in 0..300_u64 {
            let log = store.log(ShardId((step % 7) as u16));
            let sender = sender.clone();
            let done = Box::new(move |result: Result<(), _>| sender.send((step, result.is_ok())).unwrap());
            let index = step / 7 + 1;
            match step % 21 {
                20 => log.put_hard(
                    HardKey::Vote,
                    Bytes::from_static(b"v"),
                    Durability::Synced,
                    Some(done),
                ),
                19 => log.put_hard(
                    HardKey::Committed,
                    Bytes::from_static(b"c"),
                    Durability::Buffered,
                    Some(done),
                ),
                _ => log.append(vec![(index, entry(&log, index))], done),
            }
        }
        drop(sender);
        assert_eq!(
            receiver.iter().collect::<Vec<_>>(),
            (0..300).map(|step| (step, true)).collect::<Vec<_>>()
        );
    });
}

#[test]
fn many_appends_share_an_fsync() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (sender, receiver) = mpsc::channel();
    for step in 0..2_000_u64 {
        let log = store.log(ShardId((step % 16) as u16));
        let sender = sender.clone();
        log.append(
            vec![(step / 16 + 1, Bytes::from(vec![b'x'; 256]))],
            Box::new(move |result| sender.send(result).unwrap()),
        );
    }
    drop(sender);
    assert!(receiver.iter().all(|result| result.is_ok()));
    let (fsyncs, entries) = (store.metrics().fsyncs.get(), store.metrics().entries.get());
    assert_eq!(entries, 2_000);
    assert!(fsyncs < 1_000, "{fsyncs} fsyncs for {entries} entries");
}

#[test]
fn read_returns_a_prefix_without_a_gap_and_at_least_one_entry() {
    with_store(|store| {
        let log = store.log(ShardId(2));
        append(&store.log(ShardId(1)), 1..=9).unwrap();
        append(&store.log(ShardId(3)), 1..=9).unwrap();
        append(&log, 5..=100).unwrap();
        let indexes = |range, bytes| {
            log.read(range, bytes)
                .unwrap()
                .iter()
                .map(|(index, _)| *index)
                .collect::<Vec<_>>()
        };
        assert_eq!(indexes(10..13, usize::MAX), [10, 11, 12]);
        assert_eq!(indexes(10..13, 0), [10]);
        assert_eq!(
            indexes(10..90, entry(&log, 10).len() + entry(&log, 11).len()),
            [10, 11]
        );
        assert_eq!(indexes(0..7, usize::MAX), [5, 6]);
        assert_eq!(indexes(99..u64::MAX, usize::MAX), [99, 100]);
        assert!(indexes(101..200, usize::MAX).is_empty());
        #[expect(clippy::reversed_empty_ranges, reason = "what a caller may ask")]
        let reversed = 12..10;
        assert!(indexes(reversed, usize::MAX).is_empty());
    });
}

#[test]
fn truncate_and_append_again_keeps_the_new_entries() {
    with_store(|store| {
        let log = store.log(ShardId(4));
        append(&log, 1..=20).unwrap();
        // All queued at once: one round may hold all of it.
        let (sender, receiver) = mpsc::channel();
        let done = |sender: &mpsc::Sender<_>| {
            let sender = sender.clone();
            Box::new(move |result: Result<(), _>| sender.send(result.is_ok()).unwrap())
        };
        log.append(
            (21..=30)
                .map(|index| (index, Bytes::from_static(b"lost")))
                .collect(),
            done(&sender),
        );
        log.truncate_from(11, done(&sender));
        log.append(
            (11..=25).map(|index| (index, entry(&log, index))).collect(),
            done(&sender),
        );
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [true; 3]);
        assert_entries(&log, 1..=25);
    });
}

#[test]
fn purge_removes_the_head_even_beyond_the_end() {
    with_store(|store| {
        let log = store.log(ShardId(5));
        append(&log, 1..=30).unwrap();
        for index in [3, 10, 7] {
            log.purge_to(index, Bytes::from(index.to_string()));
        }
        vote(&log, "after").unwrap();
        assert_entries(&log, 11..=30);
        assert_eq!(log.get_hard(HardKey::Purged).unwrap().unwrap(), "7");
        // A snapshot was installed past the end of the log.
        log.purge_to(500, Bytes::from_static(b"500"));
        append(&log, 501..=502).unwrap();
        assert_entries(&log, 501..=502);
    });
}

#[test]
fn a_hole_is_corruption_not_a_shorter_log() {
    with_store(|store| {
        let log = store.log(ShardId(6));
        append(&log, 1..=3).unwrap();
        append(&log, 5..=6).unwrap();
        assert!(matches!(
            log.read(1..9, usize::MAX),
            Err(storage::Error::Corrupt(_))
        ));
        assert_eq!(log.read(5..9, usize::MAX).unwrap().len(), 2);
    });
}

#[test]
fn a_full_queue_makes_callers_wait_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = storage::Config {
        queue_bytes: 4 << 10,
        round_bytes: 1 << 10,
        ..storage::Config::small(directory.path())
    };
    let store = Store::open(
        TABLES,
        &storage::Config {
            reserve_bytes: 1,
            ..config
        },
    )
    .unwrap();
    let acked = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let log = store.log(ShardId(0));
    for index in 1..=200 {
        let acked = acked.clone();
        let done = Box::new(move |result: Result<(), storage::Error>| {
            result.unwrap();
            acked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
        // The last one is larger than the whole queue.
        let size = if index == 200 { 8 << 10 } else { 700 };
        log.append(vec![(index, Bytes::from(vec![b'x'; size]))], done);
        assert!(store.metrics().queue_bytes.get() <= 16 << 10);
    }
    vote(&log, "end").unwrap();
    assert_eq!(acked.load(std::sync::atomic::Ordering::SeqCst), 200);
    assert_eq!(log.bounds().unwrap(), Some((1, 200)));
}

#[test]
fn metrics_have_their_names() {
    let store = Store::memory(
        TABLES,
        &storage::MemoryDisk::new(),
        storage::MemoryOptions::default(),
    );
    append(&store.log(ShardId(0)), 1..=3).unwrap();
    apply(&store.state(ShardId(0)), 1).unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    store.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "storage_entries_total 3",
        "storage_fsyncs_total 1",
        "storage_commits_total 1",
        "storage_poisoned 0",
    ] {
        assert!(
            text.lines().any(|have| have == line),
            "{line} is missing in\n{text}"
        );
    }
}
