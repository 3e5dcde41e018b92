//! Messages per second through the rules into a real store: no network, no log, no fsync.

use bytes::Bytes;
use cluster::{CommittedBatch, StateMachine};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use node::testkit::{CommandOrigin, ConversationOp, ShardCommand, ShardStateMachine, TABLES};
use protocol::{ClientMessageId, ConversationId, ConversationKind, UserId};
use storage::{Config, ShardId, ShardState, Store};

/// Commands in one batch: what a busy proposer puts into an entry.
const BATCH: usize = 256;

/// A shard with its conversations, and the next command's number.
struct Shard {
    state: ShardState,
    convs: Vec<ConversationId>,
    index: u64,
    sent: usize,
}

// === impl Shard ===

impl Shard {
    fn new(state: ShardState, convs: usize) -> Shard {
        let convs = (0..convs)
            .map(|i| ConversationId::parse(&format!("g_{i:026}")).expect("an id"))
            .collect();
        let mut shard = Shard {
            state,
            convs,
            index: 0,
            sent: 0,
        };
        let create = |conv: &ConversationId| ShardCommand::Conversation {
            conversation: conv.clone(),
            origin: CommandOrigin {
                user: user(0),
                cid: ClientMessageId::parse("create").ok(),
                exclude_session: 0,
            },
            op: ConversationOp::Create {
                kind: ConversationKind::Group,
                members: (1..8).map(user).collect(),
                title: None,
                data: None,
            },
        };
        let commands: Vec<_> = shard.convs.iter().map(|conv| create(conv).encode()).collect();
        shard.apply(&commands);
        shard
    }

    /// The next batch of sends, by eight users in turn over all conversations.
    fn sends(&mut self, body: &str) -> Vec<Bytes> {
        let command = |i: usize| ShardCommand::Conversation {
            conversation: self.convs[i % self.convs.len()].clone(),
            origin: CommandOrigin {
                user: user(i / self.convs.len() % 8),
                cid: ClientMessageId::parse(&format!("01J00000000000{i:012}")).ok(),
                exclude_session: 0,
            },
            op: ConversationOp::Send {
                direct: None,
                body: body.into(),
                reply_to: None,
                mentions: Vec::new(),
            },
        };
        let commands = (self.sent..self.sent + BATCH)
            .map(|i| command(i).encode())
            .collect();
        self.sent += BATCH;
        commands
    }

    fn apply(&mut self, commands: &[Bytes]) -> Vec<Bytes> {
        self.index += 1;
        let now_ms = 1_767_225_600_000 + self.index;
        let batch = CommittedBatch {
            shard: ShardId(0),
            index: self.index,
            epoch: 1,
            level: cluster::FeatureLevel::SUPPORTED,
            now_ms,
            reached_ms: now_ms,
            commands,
        };
        let mut tx = self.state.transaction();
        let outcomes = ShardStateMachine.apply(&mut tx, &batch).expect("the store works");
        tx.commit(Bytes::copy_from_slice(&self.index.to_be_bytes()))
            .expect("the store works");
        outcomes
    }
}

fn user(i: usize) -> UserId {
    UserId::parse(&format!("user-{i:04}")).expect("an id")
}

fn apply(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(
        TABLES,
        &Config {
            fsync: false,
            ..Config::new(dir.path(), 128 << 20, 256 << 20)
        },
    )
    .expect("a store");
    let mut group = c.benchmark_group("apply");
    group.throughput(Throughput::Elements(BATCH as u64));
    let body = format!("{{\"text\":\"{}\"}}", "x".repeat(245));
    for (i, convs) in [1, 16, 256].into_iter().enumerate() {
        let state = store.state(ShardId(i as u16));
        let shard = std::cell::RefCell::new(Shard::new(state, convs));
        group.bench_function(format!("send 256 bytes, {convs} conversations"), |b| {
            b.iter_batched(
                || shard.borrow_mut().sends(&body),
                |commands| shard.borrow_mut().apply(&commands),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    store.close();
}

criterion_group!(benches, apply);
criterion_main!(benches);
