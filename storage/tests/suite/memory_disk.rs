//! The simulated disk loses what a power cut would lose, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::common::*;
use bytes::Bytes;
use proptest::prelude::*;
use storage::{Durability, Error, HardKey, MemoryDisk, MemoryOptions, ShardId, Store};

const SHARD: ShardId = ShardId(1);

fn slow() -> MemoryOptions {
    MemoryOptions {
        sync_delay: Duration::from_millis(5),
        ..MemoryOptions::default()
    }
}

/// Counts the callbacks that said Ok.
fn counting(acked: &Arc<AtomicU64>) -> storage::Completion {
    let acked = acked.clone();
    Box::new(move |result| {
        acked.fetch_add(u64::from(result.is_ok()), Ordering::SeqCst);
    })
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_exactly_the_unsynced_suffix() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, slow());
    let (log, state) = (store.log(SHARD), store.state(SHARD));
    let acked = Arc::new(AtomicU64::new(0));
    log.append(vec![(1, entry(&log, 1))], counting(&acked));
    tokio::time::sleep(Duration::from_millis(6)).await;
    assert_eq!(acked.load(Ordering::SeqCst), 1);

    // Written, seen by readers, but the fsync is still running when the power goes.
    apply(&state, 1).unwrap();
    log.append(vec![(2, entry(&log, 2))], counting(&acked));
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_entries(&log, 1..=2);
    disk.crash();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(acked.load(Ordering::SeqCst), 1);
    assert!(matches!(log.bounds(), Err(Error::Closed)));
    assert!(matches!(apply(&state, 2), Err(Error::Closed)));

    let again = Store::memory(TABLES, &disk, slow());
    assert_entries(&again.log(SHARD), 1..=1);
    assert_eq!(assert_consistent(&again.state(SHARD)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_synced_round_makes_earlier_state_writes_durable() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, slow());
    (1..=5).for_each(|index| apply(&store.state(SHARD), index).unwrap());
    assert_eq!(disk.unsynced(), 5);
    let acked = Arc::new(AtomicU64::new(0));
    store.log(SHARD).put_hard(
        HardKey::Vote,
        Bytes::new(),
        Durability::Synced,
        Some(counting(&acked)),
    );
    tokio::time::sleep(Duration::from_millis(6)).await;
    assert_eq!((acked.load(Ordering::SeqCst), disk.unsynced()), (1, 0));
    disk.crash();
    assert_eq!(
        assert_consistent(&Store::memory(TABLES, &disk, slow()).state(SHARD)),
        5
    );
}

#[tokio::test(start_paused = true)]
async fn buffered_writes_are_acked_without_a_sync_and_may_be_lost() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, slow());
    let acked = Arc::new(AtomicU64::new(0));
    let log = store.log(SHARD);
    log.put_hard(
        HardKey::Committed,
        Bytes::from_static(b"9"),
        Durability::Buffered,
        Some(counting(&acked)),
    );
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(acked.load(Ordering::SeqCst), 1);
    assert_eq!(log.get_hard(HardKey::Committed).unwrap().unwrap(), "9");
    disk.crash();
    assert_eq!(
        Store::memory(TABLES, &disk, slow())
            .log(SHARD)
            .get_hard(HardKey::Committed)
            .unwrap(),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn the_known_bug_of_acknowledging_early_loses_an_acked_entry() {
    let disk = MemoryDisk::new();
    let store = Store::memory(
        TABLES,
        &disk,
        MemoryOptions {
            ack_before_sync: true,
            ..slow()
        },
    );
    let acked = Arc::new(AtomicU64::new(0));
    let log = store.log(SHARD);
    log.append(vec![(1, entry(&log, 1))], counting(&acked));
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(acked.load(Ordering::SeqCst), 1);
    disk.crash();
    assert_eq!(
        Store::memory(TABLES, &disk, slow()).log(SHARD).bounds().unwrap(),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_complete_amid_a_running_fsync_in_order() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, slow());
    let (log, order) = (store.log(SHARD), Arc::<order::CompletionOrder>::default());
    log.append(vec![(1, entry(&log, 1))], order.note(1));
    tokio::time::sleep(Duration::from_millis(2)).await;
    log.append(vec![(2, entry(&log, 2))], order.note(2));
    store.put_node("id", b"7").unwrap();
    assert_eq!(order.seen(), [1, 2]);
    store.state(SHARD).sync().unwrap();
    disk.crash();
    let again = Store::memory(TABLES, &disk, slow());
    assert_eq!(again.get_node("id").unwrap().unwrap(), "7");
    assert_entries(&again.log(SHARD), 1..=2);
}

#[tokio::test(start_paused = true)]
async fn close_carries_out_what_is_queued() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, slow());
    let acked = Arc::new(AtomicU64::new(0));
    let log = store.log(SHARD);
    log.append(vec![(1, entry(&log, 1))], counting(&acked));
    apply(&store.state(SHARD), 1).unwrap();
    store.close();
    assert_eq!(acked.load(Ordering::SeqCst), 1);
    disk.crash();
    let again = Store::memory(TABLES, &disk, slow());
    assert_entries(&again.log(SHARD), 1..=1);
    assert_eq!(assert_consistent(&again.state(SHARD)), 1);
}

#[test]
fn a_full_disk_refuses_appends_keeps_the_log_whole_and_recovers() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, MemoryOptions::default());
    let log = store.log(SHARD);
    append(&log, 1..=3).unwrap();
    disk.set_full(true);
    assert!(matches!(append(&log, 4..=5), Err(Error::Full { .. })));
    // What is small or makes room goes on.
    vote(&log, "v").unwrap();
    log.purge_to(1, Bytes::new());
    apply(&store.state(SHARD), 1).unwrap();
    disk.set_full(false);
    // Entries after the refused ones would leave a hole; other shards are not concerned.
    assert!(matches!(append(&log, 6..=6), Err(Error::Misuse(_))));
    append(&store.log(ShardId(2)), 6..=6).unwrap();
    append(&log, 4..=6).unwrap();
    assert_entries(&log, 2..=6);
    assert_eq!((store.poisoned(), store.metrics().refused.get()), (None, 2));
}

#[test]
fn snapshot_over_refused_entries_lets_the_log_continue() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, MemoryOptions::default());
    let log = store.log(SHARD);
    append(&log, 1..=3).unwrap();
    disk.set_full(true);
    assert!(matches!(append(&log, 4..=5), Err(Error::Full { .. })));
    disk.set_full(false);
    // Up to the entry before the refused one: that one is still missing.
    log.purge_to(3, Bytes::new());
    assert!(matches!(append(&log, 11..=12), Err(Error::Misuse(_))));
    log.purge_to(10, Bytes::new());
    append(&log, 11..=12).unwrap();
    assert_entries(&log, 11..=12);
}

#[test]
fn a_failing_disk_poisons_and_what_was_acked_before_survives() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, MemoryOptions::default());
    append(&store.log(SHARD), 1..=3).unwrap();
    disk.set_failing(true);
    assert!(matches!(
        append(&store.log(SHARD), 4..=4),
        Err(Error::Poisoned(_))
    ));
    disk.set_failing(false);
    assert!(matches!(
        append(&store.log(SHARD), 4..=4),
        Err(Error::Poisoned(_))
    ));
    disk.crash();
    assert_entries(
        &Store::memory(TABLES, &disk, MemoryOptions::default()).log(SHARD),
        1..=3,
    );
}

#[test]
fn a_damaged_record_is_reported_never_returned() {
    let disk = MemoryDisk::new();
    let store = Store::memory(TABLES, &disk, MemoryOptions::default());
    append(&store.log(SHARD), 1..=3).unwrap();
    (1..=3).for_each(|index| apply(&store.state(SHARD), index).unwrap());
    assert!(disk.damage_log(SHARD, 2) && disk.damage_state(SHARD, MESSAGE, &2_u64.to_be_bytes()));
    assert!(!disk.damage_log(SHARD, 9));
    let (log, state) = (store.log(SHARD), store.state(SHARD));
    assert!(matches!(log.read(1..4, usize::MAX), Err(Error::Corrupt(_))));
    assert_eq!(log.read(3..4, usize::MAX).unwrap().len(), 1);
    assert!(matches!(
        state.get(MESSAGE, &2_u64.to_be_bytes()),
        Err(Error::Corrupt(_))
    ));
    assert!(matches!(
        state.view().get(MESSAGE, &2_u64.to_be_bytes()),
        Err(Error::Corrupt(_))
    ));
    assert!(matches!(
        state.transaction().get(MESSAGE, &2_u64.to_be_bytes()),
        Err(Error::Corrupt(_))
    ));
    assert!(matches!(
        state.export().unwrap().next_chunk(1 << 20),
        Err(Error::Corrupt(_))
    ));
    assert!(state.get(MESSAGE, &1_u64.to_be_bytes()).unwrap().is_some());
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum DiskStep {
    Append(u64),
    Truncate(u64),
    Apply,
    Sync,
}

fn step() -> impl Strategy<Value = DiskStep> {
    prop_oneof![
        4 => (1_u64..4).prop_map(DiskStep::Append),
        1 => (0_u64..3).prop_map(DiskStep::Truncate),
        3 => Just(DiskStep::Apply),
        1 => Just(DiskStep::Sync),
    ]
}

proptest! {
    /// After any history and a crash that keeps any number of unsynced writes, what is left is a prefix of the
    /// history that includes everything up to the last sync.
    #[test]
    fn any_crash_leaves_a_prefix_with_everything_synced(steps in prop::collection::vec(step(), 1..40), keep in 0_usize..50) {
        let disk = MemoryDisk::new();
        let store = Store::memory(TABLES, &disk, MemoryOptions::default());
        let (log, state) = (store.log(SHARD), store.state(SHARD));
        let (mut last, mut applied_to) = (0, 0);
        // The states that may be left: after the last synced write, and after each write since.
        let mut allowed = vec![(0, 0)];
        for step in steps {
            let synced = match step {
                DiskStep::Append(count) => {
                    append(&log, last + 1..=last + count).unwrap();
                    last += count;
                    true
                }
                DiskStep::Truncate(count) if last.saturating_sub(count) >= applied_to => {
                    last = last.saturating_sub(count);
                    wait(|done| log.truncate_from(last + 1, done)).unwrap();
                    true
                }
                DiskStep::Apply if applied_to < last => {
                    applied_to += 1;
                    apply(&state, applied_to).unwrap();
                    false
                }
                DiskStep::Sync => {
                    state.sync().unwrap();
                    true
                }
                _ => continue,
            };
            if synced {
                allowed.clear();
            }
            allowed.push((last, applied_to));
        }
        let retained = keep.min(disk.unsynced());
        disk.crash_keeping(keep);
        let again = Store::memory(TABLES, &disk, MemoryOptions::default());
        let left = (again.log(SHARD).bounds().unwrap().map_or(0, |(_, last)| last), assert_consistent(&again.state(SHARD)));
        prop_assert_eq!(left, allowed[retained.min(allowed.len() - 1)]);
    }
}

/// The order in which callbacks ran.
mod order {
    use std::sync::{Arc, Mutex};

    #[derive(Debug, Default)]
    pub(crate) struct CompletionOrder(Mutex<Vec<u64>>);

    impl CompletionOrder {
        pub(crate) fn note(self: &Arc<Self>, number: u64) -> storage::Completion {
            let order = self.clone();
            Box::new(move |result| {
                result.unwrap();
                order.0.lock().unwrap().push(number);
            })
        }

        pub(crate) fn seen(&self) -> Vec<u64> {
            self.0.lock().unwrap().clone()
        }
    }
}
