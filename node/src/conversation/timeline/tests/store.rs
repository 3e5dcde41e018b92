//! The real store gives the same rows and outcomes as the map of the other tests.

use bytes::Bytes;
use cluster::{Batch, Machine};
use protocol::{Cid, ConvId, Kind};
use storage::{Config, Order, ShardId, State, Store, Table};

use super::super::dedup::KEEP_MS;
use super::super::{ChatMachine, Command, Op, Outcome};
use super::{Map, World, create, text, u};

const TABLES: [Table; 6] = [
    Table::Conversation,
    Table::Message,
    Table::Member,
    Table::Dedup,
    Table::UserIndex,
    Table::Outbox,
];

fn rows_of(state: &State) -> Map {
    let mut map = Map::default();
    for table in TABLES {
        for (key, value) in state
            .scan(table, &b""[..]..&[0xFF; 80][..], Order::Ascending, usize::MAX)
            .unwrap()
        {
            map.0.insert((table, key.to_vec()), value);
        }
    }
    map
}

/// Batches that read what they wrote: members who come and go, and the sweep of old cids.
fn script() -> Vec<(u64, Vec<Command>)> {
    let conv = ConvId::parse("g_1").unwrap();
    let mut n = 0;
    let mut by = |user: &str, op: Op| {
        n += 1;
        Command {
            conv: conv.clone(),
            user: u(user),
            cid: Cid::parse(&format!("k{n}")).ok(),
            skip: 0,
            op,
        }
    };
    let mut batches = vec![(
        1,
        vec![by("a", create(Kind::Group, &["b", "c", "d"])), by("b", text("x"))],
    )];
    for i in 0..1400u64 {
        batches.push((
            i * KEEP_MS / 300,
            vec![by("b", text("y")), by("c", Op::Read { s: i })],
        ));
    }
    let last = 1400 * KEEP_MS / 300;
    batches.push((
        last,
        vec![
            by("a", Op::Kick { who: u("b") }),
            by("a", Op::Leave),
            by("c", Op::Leave),
        ],
    ));
    batches.push((
        last,
        vec![
            by("d", Op::Invite { who: u("b") }),
            by("d", Op::Leave),
            by("b", text("z")),
        ],
    ));
    batches
}

#[test]
fn the_store_and_the_map_agree() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Config {
        fsync: false,
        ..Config::small(dir.path())
    })
    .unwrap();
    let state = store.state(ShardId(3));
    let mut world = World::new();
    for (now_ms, commands) in script() {
        world.now_ms = now_ms;
        let expected = world.batch(&commands);
        let commands: Vec<_> = commands.iter().map(Command::encode).collect();
        let batch = Batch {
            shard: ShardId(3),
            index: world.index,
            epoch: 1,
            now_ms,
            reached_ms: now_ms,
            commands: &commands,
        };
        let mut tx = state.transaction();
        let outcomes = ChatMachine.apply(&mut tx, &batch).unwrap();
        tx.commit(Bytes::from_static(b"applied")).unwrap();
        let outcomes: Vec<_> = outcomes
            .iter()
            .map(|outcome| Outcome::decode(outcome).unwrap())
            .collect();
        assert_eq!(outcomes, expected);
    }
    let rows = rows_of(&state);
    let cids = rows.0.keys().filter(|(table, _)| *table == Table::Dedup).count();
    assert!(cids < 1400, "nothing was swept: {cids}");
    assert_eq!(rows, world.rows);
    store.close();
}
