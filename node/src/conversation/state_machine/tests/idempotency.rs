//! A cid is used once: the second time gives the first result.

use crate::conversation::state_machine::TableId;
use protocol::{ClientMessageId, ConversationId, ErrorCode};

use super::{TestShard, create, done, text, u};
use crate::conversation::state_machine::dedup::{KEEP, KEEP_MS};
use crate::conversation::state_machine::{ApplyEffect, CommandResult, ShardCommand, ShardOp, ShardOutcome};
use protocol::ConversationKind;

fn with(user: &str, conv: &ConversationId, cid: &str, op: ShardOp) -> ShardCommand {
    let cid = Some(ClientMessageId::parse(cid).unwrap());
    ShardCommand {
        conv: conv.clone(),
        user: u(user),
        cid,
        skip: 0,
        op,
    }
}

fn cids(shard: &TestShard) -> usize {
    shard
        .rows
        .0
        .keys()
        .filter(|(table, _)| *table == TableId::Dedup)
        .count()
}

#[test]
fn the_same_cid_gives_the_first_result_whatever_it_asks() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let first = done(shard.apply(with("alice", &conv, "x", text("one"))));
    shard.ok("bob", &conv, text("between"));
    let rows = shard.rows.clone();
    for op in [
        text("one"),
        text("other body"),
        ShardOp::Leave,
        ShardOp::Kick { who: u("bob") },
        create(ConversationKind::Group, &[]),
    ] {
        let again = done(shard.apply(with("alice", &conv, "x", op)));
        let expected = CommandResult {
            dup: true,
            events: vec![],
            effect: ApplyEffect::None,
            ..first.clone()
        };
        assert_eq!(again, expected);
    }
    assert_eq!(shard.rows, rows);
    // The same text of another user is another key.
    assert!(!done(shard.apply(with("bob", &conv, "x", text("mine")))).dup);
}

#[test]
fn twice_in_one_batch_is_once() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice"]);
    let command = with("alice", &conv, "x", text("one"));
    let outcomes: Vec<_> = shard
        .batch(&[command.clone(), command])
        .into_iter()
        .map(done)
        .collect();
    assert_eq!((outcomes[0].s, outcomes[1].s), (2, 2));
    assert_eq!((outcomes[0].dup, outcomes[1].dup), (false, true));
}

#[test]
fn what_was_acknowledged_stays_so_for_one_who_has_gone() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let sent = done(shard.apply(with("bob", &conv, "x", text("one"))));
    let left = done(shard.apply(with("bob", &conv, "bye", ShardOp::Leave)));
    assert_eq!(done(shard.apply(with("bob", &conv, "x", text("one")))).s, sent.s);
    assert_eq!(
        done(shard.apply(with("bob", &conv, "bye", ShardOp::Leave))).s,
        left.s
    );
    let new = shard.apply(with("bob", &conv, "y", text("two")));
    assert!(matches!(new, ShardOutcome::Refused(ErrorCode::NotMember, _)));
}

#[test]
fn a_refused_cid_is_free_again() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice"]);
    let command = with("bob", &conv, "x", text("one"));
    assert!(matches!(
        shard.apply(command.clone()),
        ShardOutcome::Refused(ErrorCode::NotMember, _)
    ));
    shard.ok("alice", &conv, ShardOp::Invite { who: u("bob") });
    assert!(!done(shard.apply(command)).dup);
}

#[test]
fn the_newest_thousand_cids_are_retained_at_any_age() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice"]);
    let total = 3 * KEEP;
    for i in 0..total {
        // Two hours apart, so that all but the newest 36 are older than 72 hours.
        shard.now_ms += 2 * 3600 * 1000;
        shard.apply(with("alice", &conv, &format!("c{i}"), text("x")));
    }
    for i in total - KEEP..total {
        assert!(
            done(shard.apply(with("alice", &conv, &format!("c{i}"), text("x")))).dup,
            "{i}"
        );
    }
    assert!(cids(&shard) < 2 * KEEP as usize + 200, "{} rows", cids(&shard));
}

#[test]
fn recent_cids_are_retained_in_any_number() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice"]);
    let total = 2 * KEEP;
    for i in 0..total {
        shard.now_ms += KEEP_MS / total;
        shard.apply(with("alice", &conv, &format!("c{i}"), text("x")));
    }
    assert!(done(shard.apply(with("alice", &conv, "c0", text("x")))).dup);
    assert_eq!(cids(&shard) as u64, total + 1);
}

#[test]
fn a_command_that_cannot_be_read_is_an_outcome() {
    let mut shard = TestShard::new();
    let good = with(
        "alice",
        &ConversationId::parse("g_1").unwrap(),
        "x",
        create(ConversationKind::Group, &[]),
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
    let outcomes = super::apply_batch(&mut shard.rows, 1, 1, &bytes).unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, ShardOutcome::Bad(_))),
        "{outcomes:?}"
    );
    assert!(shard.rows.0.is_empty());
}
