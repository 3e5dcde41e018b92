//! A shard's state moves to another shard or node whole, or not at all.

use crate::common::*;
use bytes::Bytes;
use storage::{Error, MemoryDisk, MemoryOptions, ScanOrder, ShardId, Store};

const FROM: ShardId = ShardId(1);
const TO: ShardId = ShardId(2);

fn with_stores(test: impl Fn(&Store)) {
    let directory = tempfile::tempdir().unwrap();
    test(&open(directory.path()));
    test(&Store::memory(
        TABLES,
        &MemoryDisk::new(),
        MemoryOptions::default(),
    ));
}

#[test]
fn a_copy_is_the_state_of_the_moment_it_was_started() {
    with_stores(|store| {
        let (from, to) = (store.state(FROM), store.state(TO));
        (1..=200).for_each(|index| apply(&from, index).unwrap());
        (1..=90).for_each(|index| apply(&to, index).unwrap());
        let mut export = from.export().unwrap();
        assert_eq!(export.applied().unwrap(), &200_u64.to_be_bytes()[..]);

        // The source goes on, and the target is read, while the copy is on its way.
        let mut import = to.import().unwrap();
        let mut chunks = 0;
        while let Some(chunk) = export.next_chunk(500).unwrap() {
            assert!(chunk.len() <= 500);
            import.add(&chunk).unwrap();
            chunks += 1;
            apply(&from, 200 + chunks).unwrap();
            assert_eq!(applied(&to), 90);
        }
        assert!(chunks > 5, "{chunks} chunks");
        import.finish(export.applied().unwrap()).unwrap();
        assert_eq!(assert_consistent(&to), 200);
        assert_eq!(assert_consistent(&from), 200 + chunks);
        // The copy can be applied to, and copied over again.
        apply(&to, 201).unwrap();
        assert_eq!(assert_consistent(&to), 201);
        copy(&from, &to, 1 << 20).unwrap();
        assert_eq!(assert_consistent(&to), 200 + chunks);
    });
}

#[test]
fn an_empty_state_replaces_a_full_one() {
    with_stores(|store| {
        let to = store.state(TO);
        apply(&to, 1).unwrap();
        copy(&store.state(FROM), &to, 100).unwrap();
        assert_eq!(to.scan(MESSAGE, &[]..&[], ScanOrder::Ascending, 9).unwrap(), []);
    });
}

#[test]
fn a_row_larger_than_a_chunk_is_moved() {
    with_stores(|store| {
        let mut transaction = store.state(FROM).transaction();
        transaction.put(MESSAGE, b"large", &vec![b'x'; 100_000]);
        transaction.put(SYS, b"small", b"s");
        transaction.put(META, b"", b"empty key");
        transaction.commit(Bytes::new()).unwrap();
        copy(&store.state(FROM), &store.state(TO), 10).unwrap();
        assert_eq!(
            store.state(TO).get(MESSAGE, b"large").unwrap().unwrap().len(),
            100_000
        );
        assert_eq!(store.state(TO).get(SYS, b"small").unwrap().unwrap(), "s");
        assert_eq!(store.state(TO).get(META, b"").unwrap().unwrap(), "empty key");
    });
}

#[test]
fn an_unfinished_import_changes_nothing() {
    with_stores(|store| {
        let (from, to) = (store.state(FROM), store.state(TO));
        (1..=50).for_each(|index| apply(&from, index).unwrap());
        (1..=5).for_each(|index| apply(&to, index).unwrap());
        let mut export = from.export().unwrap();
        let mut import = to.import().unwrap();
        import.add(&export.next_chunk(300).unwrap().unwrap()).unwrap();
        assert!(matches!(to.import(), Err(Error::Misuse(_))));
        drop(import);
        assert_eq!(assert_consistent(&to), 5);
        // Chunks from the middle, twice, of another copy, or too few of them are refused.
        let second = export.next_chunk(300).unwrap().unwrap();
        let mut import = to.import().unwrap();
        assert!(matches!(import.add(&second), Err(Error::Misuse(_))));
        let mut export = from.export().unwrap();
        let first = export.next_chunk(300).unwrap().unwrap();
        import.add(&first).unwrap();
        assert!(matches!(import.add(&first), Err(Error::Misuse(_))));
        apply(&from, 51).unwrap();
        let mut other = from.export().unwrap();
        other.next_chunk(300).unwrap();
        assert!(matches!(
            import.add(&other.next_chunk(300).unwrap().unwrap()),
            Err(Error::Misuse(_))
        ));
        assert!(matches!(import.finish(Bytes::new()), Err(Error::Misuse(_))));
        assert_eq!(assert_consistent(&to), 5);
        copy(&from, &to, 300).unwrap();
        assert_eq!(assert_consistent(&to), 51);
    });
}

#[test]
fn a_transaction_that_an_import_overtook_can_not_commit() {
    with_stores(|store| {
        let (from, to) = (store.state(FROM), store.state(TO));
        apply(&from, 1).unwrap();
        let mut transaction = to.transaction();
        transaction.put(MESSAGE, b"lost", b"lost");
        copy(&from, &to, 100).unwrap();
        assert!(matches!(transaction.commit(Bytes::new()), Err(Error::Misuse(_))));
        assert_eq!(assert_consistent(&to), 1);
    });
}

#[test]
fn a_view_stays_as_it_was() {
    with_stores(|store| {
        let (from, to) = (store.state(FROM), store.state(TO));
        (1..=9).for_each(|index| apply(&from, index).unwrap());
        (1..=3).for_each(|index| apply(&to, index).unwrap());
        let view = to.view();
        apply(&to, 4).unwrap();
        copy(&from, &to, 100).unwrap();
        assert_eq!(view.applied().unwrap().unwrap(), &3_u64.to_be_bytes()[..]);
        assert_eq!(
            view.scan(MESSAGE, &[]..&[], ScanOrder::Descending, 9)
                .unwrap()
                .len(),
            3
        );
        assert_eq!(view.get(MESSAGE, &4_u64.to_be_bytes()).unwrap(), None);
        assert_eq!(assert_consistent(&to), 9);
    });
}

#[test]
fn readers_never_see_half_of_an_import() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (from, to) = (store.state(FROM), store.state(TO));
    (1..=100).for_each(|index| apply(&from, index).unwrap());
    (1..=40).for_each(|index| apply(&to, index).unwrap());
    std::thread::scope(|scope| {
        let copies = scope.spawn(|| (0..10).for_each(|_| copy(&from, &to, 2_000).unwrap()));
        while !copies.is_finished() {
            let rows = to
                .scan(MESSAGE, &[]..&[], ScanOrder::Ascending, usize::MAX)
                .unwrap()
                .len();
            assert!([40, 100].contains(&rows), "{rows} rows");
            assert!(to.get(CONVERSATION, b"count").unwrap().is_some());
        }
    });
    drop((from, to));
    store.close();
    assert_eq!(assert_consistent(&open(directory.path()).state(TO)), 100);
}
