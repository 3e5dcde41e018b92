//! The smallest machine that has what a chat needs: an ordered log per conversation, and a row per client id.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use cluster::{
    CommittedBatch, FeatureLevel, META_TABLE, NodeId, StateMachine, StateMachineError, UndecodableCommand,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{ShardState, TableCatalog, TableId, Transaction};

use crate::clocks::Clocks;

/// Rows by which one replica differs from the others: a seeded bug.
const DIFFERENCES: TableId = TableId::new(1, "differences");
/// The last number of each conversation.
const LAST_SEQS: TableId = TableId::new(2, "last_seqs");
const MESSAGES: TableId = TableId::new(3, "messages");
const ACKS: TableId = TableId::new(5, "acks");
pub(crate) const TABLES: TableCatalog =
    TableCatalog::new(&[DIFFERENCES, LAST_SEQS, MESSAGES, ACKS, META_TABLE]);

/// Appends to a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) conversation: u16,
    pub(crate) client: u16,
    /// Unique per client, rising in the order of sending.
    pub(crate) id: u32,
    /// Kind of the command; a build knows the kinds up to its own.
    pub(crate) kind: u8,
}

/// Kind that every build knows.
pub(crate) const OLD_KIND: u8 = 1;
/// Kind that only a newer build knows.
pub(crate) const NEW_KIND: u8 = 2;

/// Changes the rows of one replica beside its log, as a disk does that returns other bytes than were written.
pub(crate) fn damage(state: &ShardState) {
    let Ok(Some(applied)) = state.applied() else {
        return;
    };
    let mut transaction = state.transaction();
    transaction.put(DIFFERENCES, b"damage", b"damage");
    // Refused by a disk that is gone, which is no matter here.
    drop(transaction.commit(applied));
}

/// Whether [`damage`] is among the rows.
pub(crate) fn is_damaged(state: &ShardState) -> bool {
    matches!(state.get(DIFFERENCES, b"damage"), Ok(Some(_)))
}

/// Where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppendAck {
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRow {
    pub(crate) append: Append,
    pub(crate) epoch: u64,
    pub(crate) level: FeatureLevel,
    pub(crate) now_ms: u64,
}

/// The machine of one member's life.
pub(crate) struct LogMachine {
    node: NodeId,
    clocks: Arc<Clocks>,
    newest_kind: u8,
    /// Where the planted defect keeps what it should have stored: in memory, which a restart takes away.
    outside: Mutex<HashMap<Vec<u8>, AppendAck>>,
}

thread_local! {
    static FORGET: Cell<bool> = const { Cell::new(false) };
    static DIFFER: Cell<bool> = const { Cell::new(false) };
}

/// Plants a defect in this thread: the last message of a client is remembered in a row that holds which member it is,
/// and nobody reads it.
pub(crate) fn differ(on: bool) {
    DIFFER.set(on);
}

/// Plants a defect in this thread: the dedup row isn't written in the batch's transaction.
pub(crate) fn forget_dedup(on: bool) {
    FORGET.set(on);
}

/// All messages of a shard on one replica, by conversation, in order of `seq`.
pub(crate) fn rows(state: &ShardState) -> HashMap<u16, Vec<(u64, StoredRow)>> {
    let mut rows: HashMap<u16, Vec<(u64, StoredRow)>> = HashMap::new();
    let all = state
        .scan(
            MESSAGES,
            &[]..&[0xff; 16],
            storage::ScanOrder::Ascending,
            usize::MAX,
        )
        .unwrap();
    for (key, value) in all {
        let conversation = u16::from_be_bytes(key[..2].try_into().unwrap());
        let seq = u64::from_be_bytes(key[2..].try_into().unwrap());
        rows.entry(conversation)
            .or_default()
            .push((seq, postcard::from_bytes(&value).unwrap()));
    }
    rows
}

/// The last number of a conversation on one replica; `None` when its disk is gone.
pub(crate) fn last(state: &ShardState, conversation: u16) -> Option<u64> {
    let row = state.get(LAST_SEQS, &conversation.to_be_bytes()).ok()?;
    Some(row.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap())))
}

// === impl LogMachine ===

impl LogMachine {
    pub(crate) fn new(node: NodeId, clocks: Arc<Clocks>, newest_kind: u8) -> LogMachine {
        LogMachine {
            node,
            clocks,
            newest_kind,
            outside: Mutex::default(),
        }
    }
}

impl StateMachine for LogMachine {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        let what = format!("entry {} of shard {}", batch.index, batch.shard);
        self.clocks.judge(&what, batch.now_ms);
        batch
            .commands
            .iter()
            .map(|command| self.apply_one(tx, batch, command))
            .collect()
    }
}

impl LogMachine {
    fn apply_one(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
        command: &Bytes,
    ) -> Result<Bytes, StateMachineError> {
        let append: Append = postcard::from_bytes(command).unwrap();
        if append.kind > self.newest_kind {
            return Err(StateMachineError::Undecodable(UndecodableCommand {
                kind: Some(append.kind),
                version: 1,
                reason: "unknown kind".to_owned(),
            }));
        }
        if DIFFER.get() {
            tx.put(
                DIFFERENCES,
                &append.client.to_be_bytes(),
                &self.node.0.to_be_bytes(),
            );
        }
        let dedup_key = postcard::to_stdvec(&(append.conversation, append.client, append.id)).unwrap();
        let known = if FORGET.get() {
            self.outside.lock().get(&dedup_key).copied()
        } else {
            tx.get(ACKS, &dedup_key)?
                .map(|bytes| postcard::from_bytes(&bytes).unwrap())
        };
        let ack = match known {
            Some(ack) => ack,
            None => {
                let last_key = append.conversation.to_be_bytes();
                let last = tx.get(LAST_SEQS, &last_key)?;
                let last = last.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()));
                let ack = AppendAck {
                    seq: last + 1,
                    epoch: batch.epoch,
                };
                tx.put(LAST_SEQS, &last_key, &ack.seq.to_be_bytes());
                let mut key = append.conversation.to_be_bytes().to_vec();
                key.extend(ack.seq.to_be_bytes());
                let row = StoredRow {
                    append,
                    epoch: batch.epoch,
                    level: batch.level,
                    now_ms: batch.now_ms,
                };
                tx.put(MESSAGES, &key, &postcard::to_stdvec(&row).unwrap());
                if FORGET.get() {
                    self.outside.lock().insert(dedup_key, ack);
                } else {
                    tx.put(ACKS, &dedup_key, &postcard::to_stdvec(&ack).unwrap());
                }
                ack
            }
        };
        Ok(postcard::to_stdvec(&ack).unwrap().into())
    }
}
