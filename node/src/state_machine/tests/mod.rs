//! Proofs of the rules over a map instead of a disk.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ChatTable;
use bytes::Bytes;
use protocol::{ClientMessageId, ConversationId, ConversationKind, EncodedEvent, ErrorCode, Event, UserId};
use storage::{Error, ScanOrder};

use super::apply::apply_batch;
use super::login::{LoginHash, LoginKey};
use super::row_store::{RowReader, RowWriter};
use super::{
    ApplyEffect, CommandOrigin, CommandResult, ConversationOp, EventEnvelope, RetentionOp, ShardCommand,
    ShardOutcome, UserOp,
};

mod activity;
mod api_keys;
mod bans;
mod blocks;
mod clocks;
mod consent;
mod correction;
mod counts;
mod damaged_commands;
mod device_cursors;
mod devices;
mod directs;
mod erasure;
mod golden;
mod hooks;
mod idempotency;
mod large;
mod login;
mod membership;
mod model;
mod profiles;
mod query;
mod reads;
mod retention;
mod settings;
mod store;
mod system;
mod user_access;
mod words;

/// The rows of one shard.
#[derive(Clone, Default, PartialEq, Debug)]
struct Map(BTreeMap<(ChatTable, Vec<u8>), Bytes>);

/// Feature level of the tests.
const LEVEL: cluster::FeatureLevel = cluster::FeatureLevel::SUPPORTED;

/// One shard, applied to command by command.
#[derive(Default)]
struct TestShard {
    rows: Map,
    index: u64,
    now_ms: u64,
    cids: u64,
}

/// A command on a conversation.
#[derive(Clone, PartialEq, Debug)]
struct TestCommand {
    conv: ConversationId,
    user: UserId,
    cid: Option<ClientMessageId>,
    skip: u64,
    op: ConversationOp,
}

/// The result of a command, with 0 for none.
#[derive(Clone, PartialEq, Debug)]
struct TestResult {
    s: u64,
    mn: u64,
    ts: u64,
    dup: bool,
    events: Vec<EventEnvelope>,
    effect: ApplyEffect,
}

// === impl TestCommand, TestResult ===

impl From<TestCommand> for ShardCommand {
    fn from(command: TestCommand) -> ShardCommand {
        let TestCommand {
            conv,
            user,
            cid,
            skip,
            op,
        } = command;
        ShardCommand::Conversation {
            conversation: conv,
            origin: CommandOrigin {
                user,
                cid,
                exclude_session: skip,
            },
            op,
        }
    }
}

impl From<CommandResult> for TestResult {
    fn from(applied: CommandResult) -> TestResult {
        TestResult {
            s: applied.seq.unwrap_or(0),
            mn: applied.mn.unwrap_or(0),
            ts: applied.ts,
            dup: applied.dup,
            events: applied.events,
            effect: applied.effect,
        }
    }
}

// === impl Map ===

impl RowReader for Map {
    fn get(&self, table: ChatTable, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: ChatTable,
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
            |((_, key), value): (&(ChatTable, Vec<u8>), &Bytes)| (Bytes::from(key.clone()), value.clone());
        Ok(match order {
            ScanOrder::Ascending => found.map(row).take(limit).collect(),
            ScanOrder::Descending => found.rev().map(row).take(limit).collect(),
        })
    }
}

impl RowWriter for Map {
    fn put(&mut self, table: ChatTable, key: &[u8], value: &[u8]) {
        self.0
            .insert((table, key.to_vec()), Bytes::copy_from_slice(value));
    }

    fn delete(&mut self, table: ChatTable, key: &[u8]) {
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

    fn batch(&mut self, commands: &[impl Clone + Into<ShardCommand>]) -> Vec<ShardOutcome> {
        self.index += 1;
        let commands = commands.iter().cloned().map(Into::<ShardCommand>::into);
        let bytes: Vec<_> = commands.map(|command| command.encode()).collect();
        apply_batch(&mut self.rows, self.index, LEVEL, self.now_ms, &bytes).unwrap()
    }

    fn apply(&mut self, command: impl Clone + Into<ShardCommand>) -> ShardOutcome {
        self.batch(&[command]).remove(0)
    }

    fn cid(&mut self) -> ClientMessageId {
        self.cids += 1;
        ClientMessageId::parse(&format!("k{}", self.cids)).unwrap()
    }

    /// Applies `op` under a new key.
    fn run(&mut self, user: &str, conv: &ConversationId, op: ConversationOp) -> ShardOutcome {
        let cid = Some(self.cid());
        self.apply(TestCommand {
            conv: conv.clone(),
            user: u(user),
            cid,
            skip: 0,
            op,
        })
    }

    /// Applies `op`, which must succeed.
    fn ok(&mut self, user: &str, conv: &ConversationId, op: ConversationOp) -> TestResult {
        done(self.run(user, conv, op))
    }

    /// Applies `op`, which must be refused.
    fn no(&mut self, user: &str, conv: &ConversationId, op: ConversationOp) -> ErrorCode {
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

fn done(outcome: ShardOutcome) -> TestResult {
    match outcome {
        ShardOutcome::Conversation(applied) => applied.into(),
        ShardOutcome::Refused(..) => panic!("expected success: {outcome:?}"),
        _ => CommandResult::silent(ApplyEffect::None).into(),
    }
}

fn retain(conv: ConversationId, below: u64) -> ShardCommand {
    ShardCommand::Retention(RetentionOp::Retain {
        conversation: conv,
        below,
    })
}

fn of_user(user: UserId, op: UserOp) -> ShardCommand {
    ShardCommand::User { user, op }
}

fn id16(text: &str) -> [u8; 16] {
    let mut id = [0; 16];
    id[..text.len()].copy_from_slice(text.as_bytes());
    id
}

/// The subject of a login by a name of it.
fn login_key(name: &str) -> LoginKey {
    match name.split_once('_') {
        Some(("ip", _)) => LoginKey::Ip(LoginHash(id16(name))),
        Some(("to", _)) => LoginKey::Identifier(LoginHash(id16(name))),
        Some(("u", _)) => LoginKey::User(u(name)),
        _ => LoginKey::Keyring,
    }
}

fn create(kind: ConversationKind, members: &[&str]) -> ConversationOp {
    ConversationOp::Create {
        kind,
        members: members.iter().map(|name| u(name)).collect(),
        title: None,
        data: None,
    }
}

fn text(text: &str) -> ConversationOp {
    ConversationOp::Send {
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
