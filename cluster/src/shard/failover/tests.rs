//! Bytes of the history of failovers, and what is kept of it.

use storage::{MemoryDisk, MemoryOptions, Store, TableCatalog};

use super::*;
use crate::ids::META_SHARD;

fn note(shard: u16, epoch: u64) -> FailoverNote {
    FailoverNote {
        at_ms: epoch,
        shard,
        from: NodeId(1),
        to: NodeId(2),
        epoch,
        cause: FailoverCause::Killed,
        unavailable_ms: Some(300),
    }
}

/// Applies commands to a replica of the meta group, and returns what it has then.
fn apply(store: &Store, commands: &[Bytes]) -> Vec<Failover> {
    let state = store.state(META_SHARD);
    let mut transaction = state.transaction();
    for command in commands {
        append(&mut transaction, command).unwrap();
    }
    transaction.commit(Bytes::from_static(b"applied")).unwrap();
    read_failovers(&state, 0).unwrap()
}

fn store() -> Store {
    let tables = TableCatalog::new(&[META_TABLE]);
    Store::memory(tables, &MemoryDisk::new(), MemoryOptions::default())
}

#[test]
fn notes_and_rows_keep_their_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let known = note(65_535, 7);
    let unknown = FailoverNote {
        from: NodeId(0),
        cause: FailoverCause::Clock,
        unavailable_ms: None,
        ..note(1, 300)
    };
    let command = encode_notes(&[known.clone(), unknown.clone()]);
    assert_eq!(
        hex(&command),
        // Kind, version, count; time, shard, old owner, new owner, epoch, cause, milliseconds.
        "40010207ffff030102070201ac02ac02010002ac020600"
    );
    assert_eq!(decode_notes(&command), Ok(vec![known.clone(), unknown]));
    assert!(is_notes(&command));
    assert!(decode_notes(&command[..command.len() - 1]).is_err());
    assert!(decode_notes(&[&command[..], &[0]].concat()).is_err());
    assert_eq!(hex(&encode(&known)), "0107ffff030102070201ac02");
    assert_eq!(hex(&entry_key(1)), "666f2f6e0000000000000001");
    assert_eq!(hex(&epoch_key(1, 2)), "666f2f6500010000000000000002");
    let causes = [
        FailoverCause::Drained,
        FailoverCause::Moved,
        FailoverCause::Killed,
        FailoverCause::Isolated,
        FailoverCause::Restarted,
        FailoverCause::Regained,
        FailoverCause::Clock,
    ];
    for (number, cause) in causes.into_iter().enumerate() {
        assert_eq!(
            encode(&cause),
            [1, u8::try_from(number).unwrap()],
            "{}",
            cause.name()
        );
    }
}

#[test]
fn repeated_note_changes_nothing_and_a_late_one_gets_an_entry() {
    let store = store();
    let first = encode_notes(&[note(0, 20), note(1, 20)]);
    apply(&store, std::slice::from_ref(&first));
    let found = apply(&store, &[first, encode_notes(&[note(0, 10)])]);
    let epochs: Vec<_> = found
        .iter()
        .map(|entry| (entry.seq, entry.note.shard, entry.note.epoch))
        .collect();
    assert_eq!(epochs, [(2, 0, 10), (1, 1, 20), (0, 0, 20)], "the newest first");
    let late = read_failovers(&store.state(META_SHARD), 11).unwrap();
    assert_eq!(late.len(), 2, "those from a time on");
}

#[test]
fn the_history_has_the_newest_thousand() {
    let store = store();
    for from in (0..1_200).step_by(100) {
        let notes: Vec<_> = (from..from + 100).map(|epoch| note(3, epoch)).collect();
        apply(&store, &[encode_notes(&notes)]);
    }
    let found = apply(&store, &[]);
    assert_eq!((found.len(), found[0].seq, found[999].seq), (1_000, 1_199, 200));
    let rows = store
        .state(META_SHARD)
        .scan(
            META_TABLE,
            b"".as_slice()..b"".as_slice(),
            ScanOrder::Ascending,
            5_000,
        )
        .unwrap();
    assert_eq!(rows.len(), 2_001, "an entry, its epoch, and the head");
    // One that left the history may come again: it is then an entry as any other.
    assert_eq!(apply(&store, &[encode_notes(&[note(3, 0)])])[0].seq, 1_200);
}
