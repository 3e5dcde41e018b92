//! The list of a user's conversations in the order of what was sent last, and how the user's shard learns of it.

use protocol::ConversationId;
use protocol::response::LastEvent;

use super::query;
use super::{TestShard, event, text, u};
use crate::state_machine::query::Direction;
use crate::state_machine::{
    ActivityNote, ApplyEffect, ConversationOp, OutboxId, OutboxOp, OutboxOutcome, ShardCommand, ShardOutcome,
    UserOp,
};

fn last(s: u64, ts: u64) -> LastEvent {
    LastEvent {
        seq: s,
        message_number: s,
        timestamp_ms: ts,
    }
}

fn joins(id: &str, at_ms: u64) -> ShardCommand {
    membership(id, at_ms, true)
}

fn membership(id: &str, at_ms: u64, member: bool) -> ShardCommand {
    let op = UserOp::IndexPut {
        conversation: ConversationId::parse(id).unwrap(),
        member,
        version: OutboxId { index: at_ms, n: 0 },
        at_ms,
    };
    super::of_user(u("al"), op)
}

fn active(id: &str, last: LastEvent) -> ShardCommand {
    let items = vec![ActivityNote {
        conv: ConversationId::parse(id).unwrap(),
        last,
        large: false,
        users: vec![u("al")],
    }];
    ShardCommand::Outbox(OutboxOp::Active { items })
}

fn list(shard: &TestShard) -> Vec<(String, u64)> {
    let placed = query::placed(&shard.rows, &u("al"), None, Direction::Older, usize::MAX).unwrap();
    placed
        .into_iter()
        .map(|placed| (placed.conv.to_string(), placed.ms))
        .collect()
}

fn expected(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(id, ms)| ((*id).to_owned(), *ms)).collect()
}

fn moved(outcome: ShardOutcome) -> usize {
    match outcome {
        ShardOutcome::Outbox(OutboxOutcome::Moved(moved)) => moved.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_conversation_stands_by_its_last_message_or_by_the_joining() {
    let mut shard = TestShard::new();
    for (id, at_ms) in [("g_a", 10), ("g_b", 20), ("g_c", 30)] {
        shard.apply(joins(id, at_ms));
    }
    assert_eq!(list(&shard), expected(&[("g_c", 30), ("g_b", 20), ("g_a", 10)]));
    assert_eq!(moved(shard.apply(active("g_a", last(5, 40)))), 1);
    assert_eq!(list(&shard), expected(&[("g_a", 40), ("g_c", 30), ("g_b", 20)]));
    // Told twice, or late.
    assert_eq!(moved(shard.apply(active("g_a", last(5, 40)))), 0);
    assert_eq!(moved(shard.apply(active("g_a", last(4, 35)))), 0);
    assert_eq!(list(&shard), expected(&[("g_a", 40), ("g_c", 30), ("g_b", 20)]));
    // Put out and brought in again.
    shard.apply(membership("g_a", 50, false));
    assert_eq!(list(&shard), expected(&[("g_c", 30), ("g_b", 20)]));
    shard.apply(joins("g_a", 60));
    assert_eq!(list(&shard), expected(&[("g_a", 60), ("g_c", 30), ("g_b", 20)]));
}

#[test]
fn activity_before_the_membership_is_retained() {
    let mut shard = TestShard::new();
    assert_eq!(moved(shard.apply(active("g_a", last(5, 40)))), 0);
    assert_eq!(list(&shard), expected(&[]));
    shard.apply(joins("g_a", 10));
    assert_eq!(list(&shard), expected(&[("g_a", 40)]));
}

#[test]
fn a_brand_new_conversation_among_nine_thousand_comes_first() {
    let mut shard = TestShard::new();
    for i in 0..9_000 {
        shard.apply(joins(&format!("g_{i:05}"), 1_000 + i));
    }
    // Its id sorts behind all others.
    shard.apply(joins("g_z", 50_000));
    let first = query::placed(&shard.rows, &u("al"), None, Direction::Older, 2).unwrap();
    let first: Vec<_> = first.iter().map(|placed| placed.conv.as_str()).collect();
    assert_eq!(first, ["g_z", "g_08999"]);
    // Page by page, both ways, none twice and none left out.
    for (direction, ends) in [
        (Direction::Older, ("g_z", "g_00000")),
        (Direction::Newer, ("g_00000", "g_z")),
    ] {
        let (mut seen, mut from) = (Vec::new(), None);
        loop {
            let at = from.as_ref().map(|(ms, conv)| (*ms, conv));
            let page = query::placed(&shard.rows, &u("al"), at, direction, 700).unwrap();
            let Some(end) = page.last() else { break };
            from = Some((end.ms, end.conv.clone()));
            seen.extend(page.into_iter().map(|placed| placed.conv.to_string()));
        }
        assert_eq!(
            (seen.first().unwrap().as_str(), seen.last().unwrap().as_str()),
            ends
        );
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 9_001);
    }
}

#[test]
fn many_messages_write_one_row_for_the_members_shards() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["al", "bo"]);
    assert_eq!(query::watched(&shard.rows, &conv).unwrap(), None);
    assert_eq!(shard.ok("al", &conv, text("a")).effect, ApplyEffect::Watched);
    for _ in 0..10 {
        assert_eq!(shard.ok("bo", &conv, text("b")).effect, ApplyEffect::None);
    }
    assert_eq!(
        query::watches(&shard.rows, None, 9).unwrap(),
        std::slice::from_ref(&conv)
    );
    let watched = query::watched(&shard.rows, &conv).unwrap().unwrap();
    assert_eq!(
        (watched.last.seq, watched.last.message_number, watched.members),
        (13, 11, 2)
    );
    assert_eq!(
        query::members_after(&shard.rows, &conv, None, 9).unwrap(),
        [u("al"), u("bo")]
    );
    assert_eq!(
        query::members_after(&shard.rows, &conv, Some(&u("al")), 1).unwrap(),
        [u("bo")]
    );

    // A message that came since keeps the watch.
    let end_watch = |s| {
        ShardCommand::Outbox(OutboxOp::EndWatch {
            items: vec![(conv.clone(), s)],
        })
    };
    shard.apply(end_watch(12));
    assert!(query::watched(&shard.rows, &conv).unwrap().is_some());
    shard.apply(end_watch(13));
    assert_eq!(query::watched(&shard.rows, &conv).unwrap(), None);
    assert_eq!(query::watches(&shard.rows, None, 9).unwrap(), []);
    assert_eq!(shard.ok("bo", &conv, text("c")).effect, ApplyEffect::Watched);
    // What waits for other shards is not among the entries of memberships.
    assert_eq!(query::outbox(&shard.rows, None, 9).unwrap().len(), 2);
}

#[test]
fn nothing_but_a_message_moves_a_conversation() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["al", "bo"]);
    shard.now_ms = 2_000_000;
    let s = shard.ok("al", &conv, text("a")).s;
    shard.now_ms = 3_000_000;
    let react = ConversationOp::React {
        of: s,
        k: "+1".into(),
        on: true,
        who: None,
    };
    let edit = ConversationOp::Edit {
        of: s,
        body: "{\"text\":\"b\"}".into(),
        mentions: None,
    };
    shard.ok("bo", &conv, react);
    shard.ok("al", &conv, ConversationOp::Invite { who: u("cy") });
    shard.ok("al", &conv, edit);
    let line = query::summary(&shard.rows, &conv, &u("bo")).unwrap();
    assert_eq!((line.last.seq, line.last.timestamp_ms), (s, 2_000_000));
    // And `last` is that message as it is now.
    let item = line.page().unwrap();
    let last = item.last.unwrap();
    assert!(last.as_str().contains(r#""b":{"text":"b"}"#), "{}", last.as_str());
    // Who came in later is not shown what was before.
    let line = query::summary(&shard.rows, &conv, &u("cy")).unwrap();
    assert_eq!(line.page().unwrap().last, None);
    shard.ok("al", &conv, ConversationOp::Delete { of: s });
    let item = query::summary(&shard.rows, &conv, &u("bo"))
        .unwrap()
        .page()
        .unwrap();
    assert!(item.last.unwrap().as_str().contains(r#""deleted":true"#));
    let watched = query::watched(&shard.rows, &conv).unwrap().unwrap();
    assert_eq!((watched.last.seq, watched.last.timestamp_ms), (s, 2_000_000));
    // Nothing was sent in this one.
    let other = shard.group("g_2", &["al"]);
    let line = query::summary(&shard.rows, &other, &u("al")).unwrap();
    assert_eq!((line.last, line.message), (LastEvent::default(), None));
    let joined = shard.ok("al", &other, ConversationOp::Invite { who: u("bo") });
    assert!(matches!(event(&joined.events[0]), protocol::Event::Member(_)));
}
