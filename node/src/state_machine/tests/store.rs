//! The real store gives the same rows and outcomes as the map of the other tests.

use bytes::Bytes;
use cluster::{CommittedBatch, StateMachine};
use protocol::{ClientMessageId, ConversationId, ConversationKind};
use storage::{Config, ScanOrder, ShardId, ShardState, Store};

use super::{Map, TestCommand, TestShard, create, text, u};
use crate::state_machine::dedup::KEEP_MS;
use crate::state_machine::{ChatTable, ConversationOp, ShardCommand, ShardOutcome, ShardStateMachine};

const COMPARED: [ChatTable; 8] = [
    ChatTable::Conversation,
    ChatTable::Message,
    ChatTable::Member,
    ChatTable::Dedup,
    ChatTable::UserIndex,
    ChatTable::Outbox,
    ChatTable::Login,
    ChatTable::Webhook,
];

fn rows_of(state: &ShardState) -> Map {
    let mut map = Map::default();
    for table in COMPARED {
        for (key, value) in state
            .scan(
                table.of_store(),
                &b""[..]..&[0xFF; 80][..],
                ScanOrder::Ascending,
                usize::MAX,
            )
            .unwrap()
        {
            map.0.insert((table, key.to_vec()), value);
        }
    }
    map
}

/// Batches that read what they wrote: members who come and go, and the sweep of old cids.
fn script() -> Vec<(u64, Vec<TestCommand>)> {
    let conv = ConversationId::parse("g_1").unwrap();
    let mut n = 0;
    let mut by = |user: &str, op: ConversationOp| {
        n += 1;
        TestCommand {
            conv: conv.clone(),
            user: u(user),
            cid: ClientMessageId::parse(&format!("k{n}")).ok(),
            skip: 0,
            op,
        }
    };
    let mut batches = vec![(
        1,
        vec![
            by("a", create(ConversationKind::Group, &["b", "c", "d"])),
            by("b", text("x")),
        ],
    )];
    for i in 0..1400u64 {
        batches.push((
            i * KEEP_MS / 300,
            vec![by("b", text("y")), by("c", ConversationOp::Read { s: i })],
        ));
    }
    let last = 1400 * KEEP_MS / 300;
    batches.push((
        last,
        vec![
            by("a", ConversationOp::Kick { who: u("b") }),
            by("a", ConversationOp::Leave),
            by("c", ConversationOp::Leave),
        ],
    ));
    batches.push((
        last,
        vec![
            by("d", ConversationOp::Invite { who: u("b") }),
            by("d", ConversationOp::Leave),
            by("b", text("z")),
        ],
    ));
    batches
}

#[test]
fn the_store_and_the_map_agree() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        crate::state_machine::TABLES,
        &Config {
            fsync: false,
            ..Config::small(dir.path())
        },
    )
    .unwrap();
    let state = store.state(ShardId(3));
    let mut shard = TestShard::new();
    for (now_ms, commands) in script() {
        shard.now_ms = now_ms;
        let expected = shard.batch(&commands);
        let commands: Vec<_> = commands
            .iter()
            .cloned()
            .map(|command| ShardCommand::from(command).encode())
            .collect();
        let batch = CommittedBatch {
            shard: ShardId(3),
            index: shard.index,
            epoch: 1,
            level: super::LEVEL,
            now_ms,
            reached_ms: now_ms,
            commands: &commands,
        };
        let mut tx = state.transaction();
        let outcomes = ShardStateMachine.apply(&mut tx, &batch).unwrap();
        tx.commit(Bytes::from_static(b"applied")).unwrap();
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|outcome| ShardOutcome::decode(outcome).unwrap())
            .collect();
        assert_eq!(outcomes, expected);
    }
    let rows = rows_of(&state);
    let cids = rows
        .0
        .keys()
        .filter(|(table, _)| *table == ChatTable::Dedup)
        .count();
    assert!(cids < 1400, "nothing was swept: {cids}");
    assert_eq!(rows, shard.rows);
    store.close();
}
