//! A cid is used once: the second time gives the first result.

use crate::state_machine::ChatTable;
use cluster::StateMachineError;
use protocol::{ClientMessageId, ConversationId, ErrorCode};

use super::{Map, TestCommand, TestResult, TestShard, create, done, text, u};
use crate::state_machine::dedup::{KEEP, KEEP_MS};
use crate::state_machine::{
    ApplyEffect, CommandHeader, CommandKind, ConversationOp, ShardCommand, ShardOutcome,
};
use protocol::ConversationKind;

fn with(user: &str, conv: &ConversationId, cid: &str, op: ConversationOp) -> TestCommand {
    let cid = Some(ClientMessageId::parse(cid).unwrap());
    TestCommand {
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
        .filter(|(table, _)| *table == ChatTable::Dedup)
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
        ConversationOp::Leave,
        ConversationOp::Kick { who: u("bob") },
        create(ConversationKind::Group, &[]),
    ] {
        let again = done(shard.apply(with("alice", &conv, "x", op)));
        let expected = TestResult {
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
    let left = done(shard.apply(with("bob", &conv, "bye", ConversationOp::Leave)));
    assert_eq!(done(shard.apply(with("bob", &conv, "x", text("one")))).s, sent.s);
    assert_eq!(
        done(shard.apply(with("bob", &conv, "bye", ConversationOp::Leave))).s,
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
    shard.ok("alice", &conv, ConversationOp::Invite { who: u("bob") });
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
fn unreadable_command_stops_the_replica_before_its_batch() {
    let mut shard = TestShard::new();
    let conv = ConversationId::parse("g_1").unwrap();
    let good = with("alice", &conv, "x", create(ConversationKind::Group, &[]));
    let good = ShardCommand::from(good).encode();
    let mut longer = good.to_vec();
    longer.push(0);
    let newer = [&[3], &good[1..]].concat();
    let unknown = [&[good[0], 63], &good[2..]].concat();
    for (bad, version, kind) in [
        (vec![], 0, None),
        (vec![2], 2, None),
        (newer, 3, None),
        (unknown, 2, Some(63)),
        (longer, 2, Some(CommandKind::Create as u8)),
        (
            good[..good.len() - 1].to_vec(),
            2,
            Some(CommandKind::Create as u8),
        ),
        (vec![0xFF; 64], 0xFF, None),
    ] {
        assert!(CommandHeader::check(&bad).is_err(), "an owner refuses it");
        let batch = [good.clone(), bad.into()];
        let error = super::apply_batch(&mut Map::default(), 1, super::LEVEL, 1, &batch).unwrap_err();
        let StateMachineError::Undecodable(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!((error.version, error.kind), (version, kind), "{error}");
    }
    assert!(CommandHeader::check(&good).is_ok());
    assert!(
        shard.rows.0.is_empty() && super::apply_batch(&mut shard.rows, 1, super::LEVEL, 1, &[good]).is_ok()
    );
}
