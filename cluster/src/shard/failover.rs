//! History of failovers: the takeovers of shards from an earlier owner, kept beside the cluster map by the meta group.
//!
//! The new owner of a shard writes a [`FailoverNote`] from what it has seen of the old one, and the meta group's owner
//! proposes it. A repeated note changes nothing: a shard and an epoch have one entry. The newest [`HISTORY`] are kept.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use storage::{ScanOrder, ShardState, Transaction};

use crate::error::Error;
use crate::ids::{META_TABLE, NodeId};
use crate::state_machine::{StateMachineError, UndecodableCommand};

/// Number of entries that are kept.
const HISTORY: u64 = 1_000;
/// First byte of a command with notes; [map changes](super::MapChange) begin with their own, lower numbers.
const COMMAND: u8 = 64;
/// Version of the notes in commands and of the rows.
const VERSION: u8 = 1;
/// Key of the number of the next entry.
const HEAD: &[u8] = b"fo/head";
/// Prefix of the entries, by number.
const ENTRY: &[u8] = b"fo/n";
/// First key behind the entries.
const BEHIND_ENTRIES: &[u8] = b"fo/o";
/// Prefix of the numbers of the entries, by shard and epoch.
const EPOCH: &[u8] = b"fo/e";

/// Takeover of a shard from an earlier owner, as the new owner has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverNote {
    /// Time of the takeover in milliseconds since the Unix epoch, by the new owner's clock.
    pub at_ms: u64,
    /// Number of the shard; 65535 for the meta group.
    pub shard: u16,
    /// Old owner; 0 if it is not known.
    pub from: NodeId,
    /// New owner, which wrote the note.
    pub to: NodeId,
    /// Epoch of the new owner: the log index of its takeover.
    pub epoch: u64,
    pub cause: FailoverCause,
    /// Milliseconds from the last sign of the old owner's service that reached the new owner to the takeover; `None`
    /// without such a sign.
    pub unavailable_ms: Option<u64>,
}

/// Reason for a takeover, as far as the new owner can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailoverCause {
    /// The old owner handed the shard over while it drained.
    Drained,
    /// The old owner handed the shard over for another reason: to the preferred node, by an order, or because its disk or
    /// clock did not permit it to go on.
    Moved,
    /// The connection to the old owner was closed soon after its last message, as at the end of its process.
    Killed,
    /// Nothing came from the old owner any more: its network, process or machine stood still.
    Isolated,
    /// The old owner was an earlier process of the same node.
    Restarted,
    /// The same process had lost the leadership and won it again.
    Regained,
    /// The group had deposed the old owner, because the time of its batch was too far ahead.
    Clock,
}

/// Entry of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Number of the entry.
    pub seq: u64,
    pub note: FailoverNote,
}

/// Answer to a question for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailoverHistory {
    /// Entries, the newest first.
    pub items: Vec<Failover>,
    /// True if the meta group's owner answered. Otherwise they are those of this node's replica, which may be behind.
    pub is_current: bool,
}

/// Returns whether a command of the meta group has notes.
pub(super) fn is_notes(command: &[u8]) -> bool {
    command.first() == Some(&COMMAND)
}

/// Encodes notes as a command of the meta group.
pub(crate) fn encode_notes(notes: &[FailoverNote]) -> Bytes {
    let encoded = postcard::to_extend(notes, vec![COMMAND, VERSION]);
    Bytes::from(encoded.expect("notes are plain data, which postcard always writes"))
}

/// Decodes a command with notes. The owner proposes no other bytes, since each replica would stop at them.
pub(crate) fn decode_notes(command: &[u8]) -> Result<Vec<FailoverNote>, UndecodableCommand> {
    let undecodable = |reason: String| UndecodableCommand {
        kind: command.first().copied(),
        version: command.get(1).copied().unwrap_or(0),
        reason,
    };
    match command {
        [COMMAND, VERSION, notes @ ..] => match postcard::take_from_bytes(notes) {
            Ok((notes, [])) => Ok(notes),
            Ok(_) => Err(undecodable("bytes after the notes".to_owned())),
            Err(error) => Err(undecodable(error.to_string())),
        },
        _ => Err(undecodable("of another kind or version".to_owned())),
    }
}

/// Appends the notes of a command that have no entry yet, and removes the entries beyond the bound.
pub(super) fn append(tx: &mut Transaction, command: &[u8]) -> Result<(), StateMachineError> {
    for note in decode_notes(command)? {
        let epoch = epoch_key(note.shard, note.epoch);
        if tx.get(META_TABLE, &epoch)?.is_some() {
            continue;
        }
        let head = tx.get(META_TABLE, HEAD)?;
        let seq: u64 = head.map_or(Ok(0), |row| decode(&row)).map_err(|e| damaged(&e))?;
        tx.put(META_TABLE, &epoch, &encode(&seq));
        tx.put(META_TABLE, &entry_key(seq), &encode(&note));
        tx.put(META_TABLE, HEAD, &encode(&(seq + 1)));
        let Some(oldest) = seq.checked_sub(HISTORY).map(entry_key) else {
            continue;
        };
        if let Some(row) = tx.get(META_TABLE, &oldest)? {
            let old: FailoverNote = decode(&row).map_err(|e| damaged(&e))?;
            tx.delete(META_TABLE, &epoch_key(old.shard, old.epoch));
            tx.delete(META_TABLE, &oldest);
        }
    }
    Ok(())
}

/// Reads the entries from a time on, the newest first, from a replica of the meta group.
pub(crate) fn read_failovers(state: &ShardState, since_ms: u64) -> Result<Vec<Failover>, Error> {
    let limit = usize::try_from(HISTORY).unwrap_or(usize::MAX);
    let rows = state.scan(META_TABLE, ENTRY..BEHIND_ENTRIES, ScanOrder::Descending, limit)?;
    let mut found = Vec::with_capacity(rows.len());
    for (key, row) in rows {
        let seq = key.get(ENTRY.len()..).and_then(|seq| seq.try_into().ok());
        let note: FailoverNote = decode(&row)?;
        // Not an end of the scan: clocks of different owners differ, so the times are not in order.
        if let Some(seq) = seq.map(u64::from_be_bytes)
            && note.at_ms >= since_ms
        {
            found.push(Failover { seq, note });
        }
    }
    Ok(found)
}

fn entry_key(seq: u64) -> Vec<u8> {
    [ENTRY, &seq.to_be_bytes()].concat()
}

fn epoch_key(shard: u16, epoch: u64) -> Vec<u8> {
    [EPOCH, &shard.to_be_bytes(), &epoch.to_be_bytes()].concat()
}

fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_extend(row, vec![VERSION]).expect("a row is plain data, which postcard always writes")
}

fn decode<T: serde::de::DeserializeOwned>(row: &[u8]) -> Result<T, Error> {
    let corrupt = |reason: String| Error::Corrupt {
        what: "history of failovers",
        reason,
    };
    match row.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|e| corrupt(e.to_string())),
        _ => Err(corrupt("not of version 1".to_owned())),
    }
}

fn damaged(error: &Error) -> StateMachineError {
    StateMachineError::Undecodable(UndecodableCommand {
        kind: None,
        version: VERSION,
        reason: error.to_string(),
    })
}

// === impl FailoverCause ===

impl FailoverCause {
    /// Returns the name of the cause, for operators.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FailoverCause::Drained => "drained",
            FailoverCause::Moved => "moved",
            FailoverCause::Killed => "killed",
            FailoverCause::Isolated => "isolated",
            FailoverCause::Restarted => "restarted",
            FailoverCause::Regained => "regained",
            FailoverCause::Clock => "clock",
        }
    }
}

#[cfg(test)]
mod tests;
