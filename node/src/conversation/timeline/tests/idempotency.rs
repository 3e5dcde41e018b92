//! A cid is used once: the second time gives the first result.

use protocol::{Cid, ConvId, ErrorCode};
use storage::Table;

use super::super::dedup::{KEEP, KEEP_MS};
use super::super::{Applied, Command, Effect, Op, Outcome};
use super::{World, create, done, text, u};
use protocol::Kind;

fn with(user: &str, conv: &ConvId, cid: &str, op: Op) -> Command {
    let cid = Some(Cid::parse(cid).unwrap());
    Command {
        conv: conv.clone(),
        user: u(user),
        cid,
        skip: 0,
        op,
    }
}

fn cids(world: &World) -> usize {
    world
        .rows
        .0
        .keys()
        .filter(|(table, _)| *table == Table::Dedup)
        .count()
}

#[test]
fn the_same_cid_gives_the_first_result_whatever_it_asks() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let first = done(world.apply(with("alice", &conv, "x", text("one"))));
    world.ok("bob", &conv, text("between"));
    let rows = world.rows.clone();
    for op in [
        text("one"),
        text("other body"),
        Op::Leave,
        Op::Kick { who: u("bob") },
        create(Kind::Group, &[]),
    ] {
        let again = done(world.apply(with("alice", &conv, "x", op)));
        let expected = Applied {
            dup: true,
            events: vec![],
            effect: Effect::None,
            ..first.clone()
        };
        assert_eq!(again, expected);
    }
    assert_eq!(world.rows, rows);
    // The same text of another user is another key.
    assert!(!done(world.apply(with("bob", &conv, "x", text("mine")))).dup);
}

#[test]
fn twice_in_one_batch_is_once() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice"]);
    let command = with("alice", &conv, "x", text("one"));
    let outcomes: Vec<_> = world
        .batch(&[command.clone(), command])
        .into_iter()
        .map(done)
        .collect();
    assert_eq!((outcomes[0].s, outcomes[1].s), (2, 2));
    assert_eq!((outcomes[0].dup, outcomes[1].dup), (false, true));
}

#[test]
fn what_was_acknowledged_stays_so_for_one_who_has_gone() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let sent = done(world.apply(with("bob", &conv, "x", text("one"))));
    let left = done(world.apply(with("bob", &conv, "bye", Op::Leave)));
    assert_eq!(done(world.apply(with("bob", &conv, "x", text("one")))).s, sent.s);
    assert_eq!(done(world.apply(with("bob", &conv, "bye", Op::Leave))).s, left.s);
    let new = world.apply(with("bob", &conv, "y", text("two")));
    assert!(matches!(new, Outcome::Refused(ErrorCode::NotMember, _)));
}

#[test]
fn a_refused_cid_is_free_again() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice"]);
    let command = with("bob", &conv, "x", text("one"));
    assert!(matches!(
        world.apply(command.clone()),
        Outcome::Refused(ErrorCode::NotMember, _)
    ));
    world.ok("alice", &conv, Op::Invite { who: u("bob") });
    assert!(!done(world.apply(command)).dup);
}

#[test]
fn the_newest_thousand_cids_are_kept_however_old() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice"]);
    let total = 3 * KEEP;
    for i in 0..total {
        // Two hours apart, so that all but the newest 36 are older than 72 hours.
        world.now_ms += 2 * 3600 * 1000;
        world.apply(with("alice", &conv, &format!("c{i}"), text("x")));
    }
    for i in total - KEEP..total {
        assert!(
            done(world.apply(with("alice", &conv, &format!("c{i}"), text("x")))).dup,
            "{i}"
        );
    }
    assert!(cids(&world) < 2 * KEEP as usize + 200, "{} rows", cids(&world));
}

#[test]
fn young_cids_are_kept_however_many() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice"]);
    let total = 2 * KEEP;
    for i in 0..total {
        world.now_ms += KEEP_MS / total;
        world.apply(with("alice", &conv, &format!("c{i}"), text("x")));
    }
    assert!(done(world.apply(with("alice", &conv, "c0", text("x")))).dup);
    assert_eq!(cids(&world) as u64, total + 1);
}

#[test]
fn a_command_that_cannot_be_read_is_an_outcome() {
    let mut world = World::new();
    let good = with(
        "alice",
        &ConvId::parse("g_1").unwrap(),
        "x",
        create(Kind::Group, &[]),
    )
    .encode();
    let mut longer = good.to_vec();
    longer.push(0);
    let newer = [&[2], &good[1..]].concat();
    let bad = [
        vec![],
        vec![1],
        newer,
        longer,
        good[..good.len() - 1].to_vec(),
        vec![0xFF; 64],
    ];
    let bytes: Vec<_> = bad.into_iter().map(Into::into).collect();
    let outcomes = super::apply_batch(&mut world.rows, 1, 1, &bytes).unwrap();
    assert!(
        outcomes.iter().all(|outcome| matches!(outcome, Outcome::Bad(_))),
        "{outcomes:?}"
    );
    assert!(world.rows.0.is_empty());
}
