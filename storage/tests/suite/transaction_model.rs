//! A transaction reads as a plain ordered map would, whatever is committed and whatever is its own.

use std::collections::BTreeMap;

use crate::common::{DEDUP, MEMBER, TABLES};
use bytes::Bytes;
use proptest::prelude::*;
use storage::{MemoryDisk, MemoryOptions, ScanOrder, ShardId, Store};

/// A change: key and value, `None` deletes.
type RowChange = (Vec<u8>, Option<Vec<u8>>);

/// A question: range, order, limit.
type RangeQuery = (Vec<u8>, Vec<u8>, bool, usize);

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop_oneof![Just(0_u8), Just(1), Just(b'a'), Just(b'b'), Just(0xff)],
        0..4,
    )
}

fn changes() -> impl Strategy<Value = Vec<RowChange>> {
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..4));
    prop::collection::vec((key(), value), 0..30)
}

fn queries() -> impl Strategy<Value = Vec<RangeQuery>> {
    prop::collection::vec((key(), key(), any::<bool>(), 0_usize..12), 1..12)
}

fn check(store: &Store, committed: &[RowChange], own: &[RowChange], queries: &[RangeQuery]) {
    let state = store.state(ShardId(7));
    let mut model = Model::new();
    let mut base = state.transaction();
    run(&mut base, &mut model, committed);
    base.commit(Bytes::from_static(b"1")).unwrap();
    // A neighbour's rows must never show.
    for shard in [ShardId(6), ShardId(8)] {
        let mut other = store.state(shard).transaction();
        other.put(MEMBER, b"a", b"other");
        other.commit(Bytes::new()).unwrap();
    }
    let before = model.clone();
    let mut transaction = state.transaction();
    run(&mut transaction, &mut model, own);
    transaction.put(DEDUP, b"a", b"other table");

    for (from, to, ascending, limit) in queries {
        let order = if *ascending {
            ScanOrder::Ascending
        } else {
            ScanOrder::Descending
        };
        let rows = transaction.scan(MEMBER, from..to, order, *limit).unwrap();
        assert_eq!(
            rows,
            expect(&model, from, to, order, *limit),
            "own writes, {from:?}..{to:?} {order:?} {limit}"
        );
        let rows = state.scan(MEMBER, from..to, order, *limit).unwrap();
        assert_eq!(
            rows,
            expect(&before, from, to, order, *limit),
            "committed, {from:?}..{to:?} {order:?} {limit}"
        );
        let own = transaction.get(MEMBER, from).unwrap();
        assert_eq!(own.as_deref(), model.get(from).map(Vec::as_slice));
    }
    transaction.commit(Bytes::from_static(b"2")).unwrap();
    let rows = state
        .view()
        .scan(MEMBER, &[]..&[], ScanOrder::Ascending, usize::MAX)
        .unwrap();
    assert_eq!(rows, expect(&model, &[], &[], ScanOrder::Ascending, usize::MAX));
    assert_eq!(state.applied().unwrap().unwrap(), "2");
    state.destroy().unwrap();
}

fn run(transaction: &mut storage::Transaction, model: &mut Model, changes: &[RowChange]) {
    for (key, value) in changes {
        match value {
            Some(value) => {
                transaction.put(MEMBER, key, value);
                model.insert(key.clone(), value.clone());
            }
            None => {
                transaction.delete(MEMBER, key);
                model.remove(key);
            }
        }
    }
}

fn expect(model: &Model, from: &[u8], to: &[u8], order: ScanOrder, limit: usize) -> Vec<(Bytes, Bytes)> {
    let mut rows: Vec<_> = model
        .iter()
        .filter(|(key, _)| key.as_slice() >= from && (to.is_empty() || key.as_slice() < to))
        .map(|(key, value)| (Bytes::from(key.clone()), Bytes::from(value.clone())))
        .collect();
    if order == ScanOrder::Descending {
        rows.reverse();
    }
    rows.truncate(limit);
    rows
}

/// The digest of a step with these changes, after a step with others.
fn digest_of(before: &[RowChange], changes: &[RowChange]) -> u128 {
    let store = Store::memory(TABLES, &MemoryDisk::new(), MemoryOptions::default());
    let mut transaction = store.state(ShardId(7)).transaction();
    run(&mut transaction, &mut Model::new(), before);
    transaction.take_digest();
    run(&mut transaction, &mut Model::new(), changes);
    transaction.take_digest()
}

/// What a step leaves: each row that it wrote, as it is at the end.
fn left(changes: &[RowChange]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    changes.iter().cloned().collect()
}

proptest! {
    #[test]
    fn step_digests_are_equal_exactly_for_equal_writes(
        before in changes(),
        one in changes(),
        other in changes(),
    ) {
        let digest = digest_of(&[], &one);
        prop_assert_eq!(digest_of(&before, &one), digest, "whatever the transaction wrote before");
        let ordered: Vec<RowChange> = left(&one).into_iter().rev().collect();
        prop_assert_eq!(digest_of(&[], &ordered), digest, "in any order");
        prop_assert_eq!(digest_of(&[], &other) == digest, left(&other) == left(&one));
    }

    #[test]
    fn a_transaction_reads_like_a_map(committed in changes(), own in changes(), queries in queries()) {
        let store = Store::memory(TABLES, &MemoryDisk::new(), MemoryOptions::default());
        check(&store, &committed, &own, &queries);
    }
}

#[test]
fn a_transaction_on_rocksdb_reads_like_a_map() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::common::open(directory.path());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(100));
    runner
        .run(&(changes(), changes(), queries()), |(committed, own, queries)| {
            check(&store, &committed, &own, &queries);
            Ok(())
        })
        .unwrap();
}
