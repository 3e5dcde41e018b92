//! Proofs of the rules over a map instead of a disk.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::conversation::state_machine::TableId;
use bytes::Bytes;
use protocol::{ClientMessageId, ConversationId, ConversationKind, EncodedEvent, ErrorCode, Event, UserId};
use storage::{Error, ScanOrder};

use super::row_store::{RowReader, RowWriter};
use super::shard_state_machine::apply_batch;
use super::{CommandResult, EventEnvelope, ShardCommand, ShardOp, ShardOutcome};

mod activity;
mod bans;
mod blocks;
mod clocks;
mod consent;
mod counts;
mod directs;
mod golden;
mod hooks;
mod idempotency;
mod large;
mod login;
mod membership;
mod model;
mod reads;
mod retention;
mod settings;
mod store;
mod words;

/// The rows of one shard.
#[derive(Clone, Default, PartialEq, Debug)]
struct Map(BTreeMap<(TableId, Vec<u8>), Bytes>);

/// One shard, applied to command by command.
#[derive(Default)]
struct TestShard {
    rows: Map,
    index: u64,
    now_ms: u64,
    cids: u64,
}

// === impl Map ===

impl RowReader for Map {
    fn get(&self, table: TableId, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: TableId,
        range: Range<&[u8]>,
        order: ScanOrder,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let found = self
            .0
            .range((table, range.start.to_vec())..(table, range.end.to_vec()));
        let row =
            |((_, key), value): (&(TableId, Vec<u8>), &Bytes)| (Bytes::from(key.clone()), value.clone());
        Ok(match order {
            ScanOrder::Ascending => found.map(row).take(limit).collect(),
            ScanOrder::Descending => found.rev().map(row).take(limit).collect(),
        })
    }
}

impl RowWriter for Map {
    fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.0
            .insert((table, key.to_vec()), Bytes::copy_from_slice(value));
    }

    fn delete(&mut self, table: TableId, key: &[u8]) {
        self.0.remove(&(table, key.to_vec()));
    }
}

// === impl TestShard ===

impl TestShard {
    fn new() -> TestShard {
        TestShard {
            now_ms: 1_000_000,
            ..TestShard::default()
        }
    }

    fn batch(&mut self, commands: &[ShardCommand]) -> Vec<ShardOutcome> {
        self.index += 1;
        let bytes: Vec<_> = commands.iter().map(ShardCommand::encode).collect();
        apply_batch(&mut self.rows, self.index, self.now_ms, &bytes).unwrap()
    }

    fn apply(&mut self, command: ShardCommand) -> ShardOutcome {
        self.batch(&[command]).remove(0)
    }

    fn cid(&mut self) -> ClientMessageId {
        self.cids += 1;
        ClientMessageId::parse(&format!("k{}", self.cids)).unwrap()
    }

    /// Applies `op` under a new key.
    fn run(&mut self, user: &str, conv: &ConversationId, op: ShardOp) -> ShardOutcome {
        let cid = Some(self.cid());
        self.apply(ShardCommand {
            conv: conv.clone(),
            user: u(user),
            cid,
            skip: 0,
            op,
        })
    }

    /// Applies `op`, which must succeed.
    fn ok(&mut self, user: &str, conv: &ConversationId, op: ShardOp) -> CommandResult {
        done(self.run(user, conv, op))
    }

    /// Applies `op`, which must be refused.
    fn no(&mut self, user: &str, conv: &ConversationId, op: ShardOp) -> ErrorCode {
        match self.run(user, conv, op) {
            ShardOutcome::Refused(code, _) => code,
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    /// Makes a group owned by the first user.
    fn group(&mut self, id: &str, users: &[&str]) -> ConversationId {
        let (owner, others) = users.split_first().unwrap();
        let conv = ConversationId::parse(id).unwrap();
        let kind = conv.kind().unwrap();
        self.ok(owner, &conv, create(kind, others));
        conv
    }
}

fn u(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn done(outcome: ShardOutcome) -> CommandResult {
    match outcome {
        ShardOutcome::Done(applied) => applied,
        other => panic!("expected success: {other:?}"),
    }
}

fn create(kind: ConversationKind, members: &[&str]) -> ShardOp {
    ShardOp::Create {
        kind,
        members: members.iter().map(|name| u(name)).collect(),
        title: None,
    }
}

fn text(text: &str) -> ShardOp {
    ShardOp::Send {
        direct: None,
        body: format!("{{\"text\":\"{text}\"}}").into(),
        reply_to: None,
        mentions: vec![],
    }
}

fn event(published: &EventEnvelope) -> Event {
    parse(&published.tail)
}

fn parse(tail: &Bytes) -> Event {
    EncodedEvent::from_tail(tail).unwrap().event().unwrap()
}
