//! Shared by the tests of this crate.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::{
    Completion, Config, Durability, Error, HardKey, RaftLog, ScanOrder, ShardState, Store, TableCatalog,
    TableId,
};

pub(crate) const SYS: TableId = TableId::new(1, "sys");
pub(crate) const CONVERSATION: TableId = TableId::new(2, "conv");
pub(crate) const MESSAGE: TableId = TableId::new(3, "msg");
pub(crate) const MEMBER: TableId = TableId::new(4, "member");
pub(crate) const DEDUP: TableId = TableId::new(5, "dedup");
pub(crate) const META: TableId = TableId::new(8, "meta");
/// The tables of every store of the suite.
pub(crate) const TABLES: TableCatalog = TableCatalog::new(&[SYS, CONVERSATION, MESSAGE, MEMBER, DEDUP, META]);

/// Opens a directory with small buffers and almost no reserve.
///
/// A process that another thread of the test starts holds copies of all open files between its fork and its exec, the
/// lock of a directory that was closed meanwhile among them. So a lock is waited for.
pub(crate) fn open(path: &Path) -> Store {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match try_open(path) {
            Err(Error::Locked { .. }) if Instant::now() < end => std::thread::yield_now(),
            result => return result.unwrap(),
        }
    }
}

/// As [`open`], for tests that expect a refusal.
pub(crate) fn try_open(path: &Path) -> Result<Store, Error> {
    Store::open(
        TABLES,
        &Config {
            reserve_bytes: 1 << 20,
            ..Config::small(path)
        },
    )
}

/// Runs a queued operation and waits for its outcome.
pub(crate) fn wait(operation: impl FnOnce(Completion)) -> Result<(), Error> {
    let (sender, receiver) = mpsc::channel();
    operation(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("an answer")
}

/// Appends `range` with contents that name shard and index, and waits.
pub(crate) fn append(log: &RaftLog, range: std::ops::RangeInclusive<u64>) -> Result<(), Error> {
    let entries = range.map(|index| (index, entry(log, index))).collect();
    wait(|done| log.append(entries, done))
}

/// Returns the content of an entry.
pub(crate) fn entry(log: &RaftLog, index: u64) -> Bytes {
    format!("entry {index} of shard {}", log.shard())
        .repeat(1 + index as usize % 3)
        .into()
}

/// Checks that the log holds exactly `range`, each with its content.
pub(crate) fn assert_entries(log: &RaftLog, range: std::ops::RangeInclusive<u64>) {
    let entries = log.read(0..u64::MAX, usize::MAX).unwrap();
    let expected: Vec<_> = range.clone().map(|index| (index, entry(log, index))).collect();
    assert_eq!(entries, expected);
    let bounds = (!range.is_empty()).then_some((*range.start(), *range.end()));
    assert_eq!(log.bounds().unwrap(), bounds);
}

/// Writes a vote and waits.
pub(crate) fn vote(log: &RaftLog, value: &str) -> Result<(), Error> {
    wait(|done| {
        log.put_hard(
            HardKey::Vote,
            Bytes::copy_from_slice(value.as_bytes()),
            Durability::Synced,
            Some(done),
        )
    })
}

/// Applies index `index`: one message row, the number of messages, the applied position.
pub(crate) fn apply(state: &ShardState, index: u64) -> Result<(), Error> {
    let mut transaction = state.transaction();
    transaction.put(MESSAGE, &index.to_be_bytes(), message(index).as_bytes());
    transaction.put(CONVERSATION, b"count", &index.to_be_bytes());
    transaction.commit(Bytes::copy_from_slice(&index.to_be_bytes()))
}

/// Returns the content of a message row.
pub(crate) fn message(index: u64) -> String {
    format!("message {index} ").repeat(1 + index as usize % 4)
}

/// Returns the applied position.
pub(crate) fn applied(state: &ShardState) -> u64 {
    state
        .applied()
        .unwrap()
        .map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()))
}

/// Checks that the state is exactly what applying 1 to its applied position gives; returns that position.
pub(crate) fn assert_consistent(state: &ShardState) -> u64 {
    let last = applied(state);
    let rows = state
        .scan(MESSAGE, &[]..&[], ScanOrder::Ascending, usize::MAX)
        .unwrap();
    let expected: Vec<_> = (1..=last)
        .map(|index| {
            (
                Bytes::copy_from_slice(&index.to_be_bytes()),
                Bytes::from(message(index)),
            )
        })
        .collect();
    assert_eq!(rows, expected);
    let count = state.get(CONVERSATION, b"count").unwrap();
    assert_eq!(
        count.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap())),
        last
    );
    last
}

/// Copies a shard's state into another.
pub(crate) fn copy(from: &ShardState, to: &ShardState, chunk: usize) -> Result<(), Error> {
    let mut export = from.export()?;
    let mut import = to.import()?;
    while let Some(chunk) = export.next_chunk(chunk)? {
        import.add(&chunk)?;
    }
    import.finish(export.applied().unwrap_or_default())
}
