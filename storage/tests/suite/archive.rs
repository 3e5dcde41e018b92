//! Archives of a shard: rows in chunks whose bytes depend on the rows alone.

use std::collections::HashSet;

use crate::common::*;
use bytes::Bytes;
use storage::{
    ArchiveChunk, Error, MemoryDisk, MemoryOptions, RowSummary, ShardId, ShardState, Store, TableId,
};

const FROM: ShardId = ShardId(1);
const TO: ShardId = ShardId(2);

fn store() -> Store {
    Store::memory(TABLES, &MemoryDisk::new(), MemoryOptions::default())
}

/// Writes messages, each of about 300 bytes, that no other message equals.
fn fill(state: &ShardState, numbers: std::ops::Range<u64>) {
    let mut transaction = state.transaction();
    for n in numbers {
        let value = n.to_be_bytes().repeat(36);
        transaction.put(MESSAGE, format!("message {n:08}").as_bytes(), &value);
    }
    transaction.commit(Bytes::from_static(b"applied")).unwrap();
}

fn archive(state: &ShardState, keep: &dyn Fn(TableId, &[u8]) -> bool) -> Vec<ArchiveChunk> {
    let mut export = state.export().unwrap();
    std::iter::from_fn(|| export.next_archive_chunk(keep).unwrap()).collect()
}

fn summary(chunks: &[ArchiveChunk]) -> RowSummary {
    let summaries = chunks.iter().map(|chunk| chunk.summary);
    summaries.fold(RowSummary::default(), RowSummary::and)
}

#[test]
fn an_archive_is_read_back_in_any_order() {
    let store = store();
    let from = store.state(FROM);
    fill(&from, 0..20_000);
    let mut chunks = archive(&from, &|_, _| true);
    assert!(chunks.len() > 5, "{} chunks", chunks.len());
    let all = summary(&chunks);
    assert_eq!(all.rows, 20_000);
    chunks.reverse();
    let mut import = store.state(TO).import().unwrap();
    let mut added = RowSummary::default();
    for chunk in &chunks {
        assert_eq!(ArchiveChunk::read(TABLES, &chunk.bytes).unwrap(), chunk.summary);
        added = added.and(import.add_archived(&chunk.bytes).unwrap());
    }
    assert_eq!(added, all);
    import.complete();
    import.finish(Bytes::from_static(b"restored")).unwrap();
    assert_eq!(store.state(TO).applied().unwrap().unwrap(), "restored");
    // The same rows make the same chunks, whatever shard or generation they are in.
    let again: HashSet<Vec<u8>> = archive(&store.state(TO), &|_, _| true)
        .into_iter()
        .map(|chunk| chunk.bytes)
        .collect();
    assert_eq!(again, chunks.into_iter().map(|chunk| chunk.bytes).collect());
}

#[test]
fn changed_rows_change_only_the_chunks_around_them() {
    let store = store();
    let state = store.state(FROM);
    fill(&state, 0..20_000);
    let before: HashSet<Vec<u8>> = archive(&state, &|_, _| true)
        .into_iter()
        .map(|chunk| chunk.bytes)
        .collect();
    let mut transaction = state.transaction();
    transaction.delete(MESSAGE, b"message 00003000");
    transaction.put(MESSAGE, b"message 00012000", b"edited");
    transaction.put(MESSAGE, b"message 00012000b", b"new");
    transaction.commit(Bytes::new()).unwrap();
    let after = archive(&state, &|_, _| true);
    let new = after
        .iter()
        .filter(|chunk| !before.contains(&chunk.bytes))
        .count();
    // Each of the two places may move one boundary, so that two chunks become others.
    assert!((1..=4).contains(&new), "{new} of {} chunks are new", after.len());
}

#[test]
fn an_archive_can_be_divided() {
    let store = store();
    let state = store.state(FROM);
    fill(&state, 0..100);
    let mut transaction = state.transaction();
    transaction.put(SYS, b"secret", b"s");
    transaction.commit(Bytes::new()).unwrap();
    let is_secret = |table: TableId, _: &[u8]| table == SYS;
    let mut export = state.export().unwrap();
    let open = export
        .next_archive_chunk(&|t, k| !is_secret(t, k))
        .unwrap()
        .unwrap();
    assert_eq!(open.summary.rows, 100);
    assert!(
        export
            .next_archive_chunk(&|t, k| !is_secret(t, k))
            .unwrap()
            .is_none()
    );
    export.rewind();
    let secret = export.next_archive_chunk(&is_secret).unwrap().unwrap();
    assert_eq!(secret.summary.rows, 1);
    assert_eq!(
        open.summary.and(secret.summary),
        summary(&archive(&state, &|_, _| true))
    );
    assert!(archive(&state, &|_, _| false).is_empty(), "no chunk without rows");
}

#[test]
fn damaged_chunks_and_those_of_transfers_are_refused() {
    let store = store();
    let state = store.state(FROM);
    fill(&state, 0..10);
    let chunk = archive(&state, &|_, _| true).remove(0).bytes;
    for end in [0, 3, 16, chunk.len() - 1] {
        assert!(matches!(
            ArchiveChunk::read(TABLES, &chunk[..end]),
            Err(Error::Corrupt(_))
        ));
    }
    for bit in (0..chunk.len() * 8).step_by(101) {
        let mut damaged = chunk.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            ArchiveChunk::read(TABLES, &damaged).is_err(),
            "bit {bit} was flipped"
        );
    }
    let transfer = state.export().unwrap().next_chunk(1 << 20).unwrap().unwrap();
    assert!(ArchiveChunk::read(TABLES, &transfer).is_err());
    let mut import = store.state(TO).import().unwrap();
    import.add(&transfer).unwrap();
    assert!(matches!(import.add_archived(&chunk), Err(Error::Misuse(_))));
    drop(import);
    // Without the mark of the caller that everything has arrived, nothing is installed.
    let mut import = store.state(TO).import().unwrap();
    import.add_archived(&chunk).unwrap();
    assert!(matches!(import.finish(Bytes::new()), Err(Error::Misuse(_))));
    assert_eq!(store.state(TO).get(MESSAGE, b"message 00000001").unwrap(), None);
}
