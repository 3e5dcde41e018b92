//! Proofs of the rules over a map instead of a disk.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use protocol::{Cid, ConvId, ErrorCode, Event, Kind, RawEvent, UserId};
use storage::{Error, Order, Table};

use super::door::{Rows, RowsMut};
use super::machine::apply_batch;
use super::{Applied, Command, Op, Outcome, Published};

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
struct Map(BTreeMap<(Table, Vec<u8>), Bytes>);

/// One shard, applied to command by command.
#[derive(Default)]
struct World {
    rows: Map,
    index: u64,
    now_ms: u64,
    cids: u64,
}

// === impl Map ===

impl Rows for Map {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let found = self
            .0
            .range((table, range.start.to_vec())..(table, range.end.to_vec()));
        let row = |((_, key), value): (&(Table, Vec<u8>), &Bytes)| (Bytes::from(key.clone()), value.clone());
        Ok(match order {
            Order::Ascending => found.map(row).take(limit).collect(),
            Order::Descending => found.rev().map(row).take(limit).collect(),
        })
    }
}

impl RowsMut for Map {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.0
            .insert((table, key.to_vec()), Bytes::copy_from_slice(value));
    }

    fn delete(&mut self, table: Table, key: &[u8]) {
        self.0.remove(&(table, key.to_vec()));
    }
}

// === impl World ===

impl World {
    fn new() -> World {
        World {
            now_ms: 1_000_000,
            ..World::default()
        }
    }

    fn batch(&mut self, commands: &[Command]) -> Vec<Outcome> {
        self.index += 1;
        let bytes: Vec<_> = commands.iter().map(Command::encode).collect();
        apply_batch(&mut self.rows, self.index, self.now_ms, &bytes).unwrap()
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.batch(&[command]).remove(0)
    }

    fn cid(&mut self) -> Cid {
        self.cids += 1;
        Cid::parse(&format!("k{}", self.cids)).unwrap()
    }

    /// Applies `op` under a new key.
    fn run(&mut self, user: &str, conv: &ConvId, op: Op) -> Outcome {
        let cid = Some(self.cid());
        self.apply(Command {
            conv: conv.clone(),
            user: u(user),
            cid,
            skip: 0,
            op,
        })
    }

    /// Applies `op`, which must succeed.
    fn ok(&mut self, user: &str, conv: &ConvId, op: Op) -> Applied {
        done(self.run(user, conv, op))
    }

    /// Applies `op`, which must be refused.
    fn no(&mut self, user: &str, conv: &ConvId, op: Op) -> ErrorCode {
        match self.run(user, conv, op) {
            Outcome::Refused(code, _) => code,
            other => panic!("expected a refusal: {other:?}"),
        }
    }

    /// Makes a group owned by the first user.
    fn group(&mut self, id: &str, users: &[&str]) -> ConvId {
        let (owner, others) = users.split_first().unwrap();
        let conv = ConvId::parse(id).unwrap();
        let kind = conv.kind().unwrap();
        self.ok(owner, &conv, create(kind, others));
        conv
    }
}

fn u(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn done(outcome: Outcome) -> Applied {
    match outcome {
        Outcome::Done(applied) => applied,
        other => panic!("expected success: {other:?}"),
    }
}

fn create(kind: Kind, members: &[&str]) -> Op {
    Op::Create {
        kind,
        members: members.iter().map(|name| u(name)).collect(),
        title: None,
    }
}

fn text(text: &str) -> Op {
    Op::Send {
        direct: None,
        body: format!("{{\"text\":\"{text}\"}}").into(),
        reply_to: None,
        mentions: vec![],
    }
}

fn event(published: &Published) -> Event {
    parse(&published.tail)
}

fn parse(tail: &Bytes) -> Event {
    RawEvent::from_tail(tail).unwrap().event().unwrap()
}
