//! What is left when old events go, and what everybody is told of it.

use std::time::Duration;

use super::query;
use crate::state_machine::ChatTable;
use protocol::{ConversationId, ErrorCode, Event};
use storage::ScanOrder;

use super::{TestCommand, TestShard, done, parse, text, u};
use crate::state_machine::apply::RETAIN_STEP;
use crate::state_machine::query::{HistoryRange, LoggedEvent, RetentionPolicies, RetentionPolicy};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::{ConversationOp, ShardOutcome};

fn seqs(tails: &[bytes::Bytes]) -> Vec<u64> {
    tails
        .iter()
        .map(|tail| parse(tail).position().unwrap().1)
        .collect()
}

fn event_seqs(events: &[LoggedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.s).collect()
}

/// Lets go of events below `below` until nothing is left to be removed.
fn retain(shard: &mut TestShard, conv: &ConversationId, below: u64) -> usize {
    for steps in 0.. {
        let before = shard.rows.clone();
        done(shard.apply(super::retain(conv.clone(), below)));
        if shard.rows == before {
            return steps;
        }
    }
    unreachable!("it ends")
}

/// The first event that is still there.
fn floor(shard: &TestShard, conv: &ConversationId) -> u64 {
    query::open(&shard.rows, conv, &u("bob"), Some(0)).unwrap().floor
}

/// The rows of the log, and of what belongs to its messages.
fn rows(shard: &TestShard, conv: &ConversationId) -> usize {
    let start = conv.as_str().as_bytes();
    let end = [start, &[3]].concat();
    let rows = shard
        .rows
        .scan(ChatTable::Message, start..&end, ScanOrder::Ascending, usize::MAX);
    rows.unwrap().len()
}

/// A group of alice and bob with messages 3 to `last`.
fn group(shard: &mut TestShard, last: u64) -> ConversationId {
    let conv = shard.group("g_1", &["alice", "bob"]);
    for s in 3..=last {
        assert_eq!(shard.ok("alice", &conv, text(&format!("{s}"))).s, s);
    }
    conv
}

#[test]
fn trimmed_events_are_reported_as_a_gap() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 20);
    retain(&mut shard, &conv, 11);
    let (rows, alice) = (&shard.rows, u("alice"));
    let history = |page| {
        let page = query::history(rows, &conv, &alice, page, 50).unwrap();
        (seqs(&page.events), page.more)
    };
    assert_eq!(history(HistoryRange::Newest), ((11..=20).collect(), false));
    assert_eq!(history(HistoryRange::Before(11)), (vec![], false));
    assert_eq!(history(HistoryRange::After(15)), ((16..=20).collect(), false));
    // Events name their places: a client that asked from 4 sees that they begin later.
    assert_eq!(history(HistoryRange::After(4)), ((11..=20).collect(), false));
    for (have, gap) in [(4, true), (9, true), (10, false), (15, false)] {
        let window = query::sync(rows, &conv, &alice, Some(have), 50).unwrap();
        assert_eq!((window.gap, window.as_of), (gap, 20), "{have}");
        assert_eq!(
            seqs(&window.events),
            ((have + 1).max(11)..=20).collect::<Vec<_>>()
        );
        let view = query::open(rows, &conv, &alice, Some(have)).unwrap();
        assert_eq!((view.gap, view.floor), (gap, 11));
    }
    assert!(query::sync(rows, &conv, &alice, None, 50).unwrap().gap);
    // A node that missed the live events is told where they go on.
    let events = query::range(rows, &conv, 4, 3).unwrap();
    assert_eq!(event_seqs(&events), [11, 12, 13]);
    assert_eq!(query::range(rows, &conv, 20, 3).unwrap(), []);
    // The numbers go on.
    let applied = shard.ok("bob", &conv, text("on"));
    assert_eq!((applied.s, applied.mn), (21, 19));
}

#[test]
fn unread_counts_what_is_there() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let mention = || ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: vec![u("bob")],
    };
    for _ in 3..=12 {
        shard.ok("alice", &conv, mention());
    }
    let unread = |shard: &TestShard| {
        let line = query::summary(&shard.rows, &conv, &u("bob")).unwrap();
        (line.unread, line.mentions, line.read)
    };
    assert_eq!(unread(&shard), (10, 10, 2));
    retain(&mut shard, &conv, 8);
    assert_eq!(unread(&shard), (5, 5, 2));
    // A place that is gone can be read: it says no more than that.
    shard.ok("bob", &conv, ConversationOp::Read { s: 5 });
    assert_eq!(unread(&shard), (5, 5, 5));
    shard.ok("bob", &conv, ConversationOp::Read { s: 9 });
    assert_eq!(unread(&shard), (3, 3, 9));
    retain(&mut shard, &conv, 13);
    assert_eq!(unread(&shard), (0, 0, 9));
    shard.ok("alice", &conv, mention());
    assert_eq!(unread(&shard), (1, 1, 9));
}

#[test]
fn the_last_event_keeps_its_seq_and_loses_its_words() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 6);
    retain(&mut shard, &conv, 100);
    let line = query::summary(&shard.rows, &conv, &u("bob")).unwrap();
    let Event::Msg(last) = parse(&line.message.unwrap().tail) else {
        panic!("a message")
    };
    assert_eq!((last.seq, last.body.as_str(), last.deleted), (6, "{}", true));
    assert_eq!((line.unread, line.last.seq), (0, 6));
    let page = query::messages(&shard.rows, &conv, &u("bob"), HistoryRange::Newest, 50).unwrap();
    assert!(page.page(&conv).unwrap().items[0].deleted);
    let react = ConversationOp::React {
        of: 6,
        k: "+1".into(),
        on: true,
        who: None,
    };
    assert_eq!(shard.no("bob", &conv, react), ErrorCode::Conflict);
    // The next one frees its place.
    assert_eq!(shard.ok("bob", &conv, text("next")).s, 7);
    retain(&mut shard, &conv, 7);
    assert_eq!(rows(&shard, &conv), 1);
}

#[test]
fn edits_and_reactions_go_with_their_message() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 4);
    let react = |of| ConversationOp::React {
        of,
        k: "+1".into(),
        on: true,
        who: None,
    };
    let edit = |of| ConversationOp::Edit {
        of,
        body: "{\"text\":\"secret\"}".into(),
        mentions: None,
    };
    shard.ok("bob", &conv, react(3));
    shard.ok("bob", &conv, react(4));
    shard.ok("alice", &conv, edit(3));
    assert_eq!(shard.ok("alice", &conv, edit(4)).s, 8);
    retain(&mut shard, &conv, 4);
    // Events 4 to 8, what has become of 4, and bob's reaction to it.
    assert_eq!(rows(&shard, &conv), 7);
    let page = query::history(&shard.rows, &conv, &u("bob"), HistoryRange::Newest, 50).unwrap();
    let words: Vec<_> = page.events.iter().map(parse).collect();
    assert!(
        matches!(&words[3], Event::Edit(edit) if edit.target_seq == 3 && edit.deleted && edit.body.as_str() == "{}")
    );
    assert!(matches!(&words[4], Event::Edit(edit) if edit.target_seq == 4 && !edit.deleted));
    let listed = query::messages(&shard.rows, &conv, &u("bob"), HistoryRange::Newest, 50).unwrap();
    let listed = listed.page(&conv).unwrap().items;
    assert_eq!((listed.len(), listed[0].reactions["+1"]), (1, 1));
    // What is gone can't be answered, changed or taken back.
    let reply = ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: Some(3),
        mentions: vec![],
    };
    for op in [react(3), edit(3), ConversationOp::Delete { of: 3 }, reply] {
        assert_eq!(
            shard.no("alice", &conv, op.clone()),
            ErrorCode::NotFound,
            "{op:?}"
        );
    }
}

#[test]
fn rows_go_in_bounded_steps_and_all_below_vanish_at_once() {
    let mut shard = TestShard::new();
    let last = 8 * RETAIN_STEP as u64;
    let conv = group(&mut shard, last);
    let before = rows(&shard, &conv);
    let below = last / 4 + 1;
    done(shard.apply(super::retain(conv.clone(), below)));
    assert_eq!(rows(&shard, &conv), before - RETAIN_STEP);
    let page = query::history(&shard.rows, &conv, &u("bob"), HistoryRange::Before(9), 50).unwrap();
    assert_eq!((page.events.len(), page.more), (0, false));
    let there = query::range(&shard.rows, &conv, 4, 2).unwrap();
    assert_eq!(event_seqs(&there), [below, below + 1]);
    assert_eq!(retain(&mut shard, &conv, below), 1);
    assert_eq!(rows(&shard, &conv), before - 2 * RETAIN_STEP);
}

#[test]
fn retention_step_removes_at_most_a_quarter() {
    for last in [3, 4, 7, 20, 100] {
        let mut shard = TestShard::new();
        let conv = group(&mut shard, last);
        let mut steps = 0;
        while floor(&shard, &conv) < last {
            let (before, there) = (floor(&shard, &conv), last + 1 - floor(&shard, &conv));
            // The worst mistake there is: everything goes, and the words of the last event with it.
            done(shard.apply(super::retain(conv.clone(), u64::MAX)));
            let gone = floor(&shard, &conv) - before;
            assert!(gone >= 1 && gone <= there.div_ceil(4), "{gone} of {there}");
            let line = query::summary(&shard.rows, &conv, &u("bob")).unwrap();
            assert!(matches!(parse(&line.message.unwrap().tail), Event::Msg(message) if !message.deleted));
            steps += 1;
        }
        assert!(steps >= last.ilog2());
        done(shard.apply(super::retain(conv.clone(), u64::MAX)));
        let line = query::summary(&shard.rows, &conv, &u("bob")).unwrap();
        assert!(matches!(parse(&line.message.unwrap().tail), Event::Msg(message) if message.deleted));
    }
}

#[test]
fn a_key_outlives_its_message() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let command = TestCommand {
        conv: conv.clone(),
        user: u("alice"),
        cid: Some(shard.cid()),
        skip: 0,
        op: text("once"),
    };
    let first = done(shard.apply(command.clone()));
    shard.ok("bob", &conv, text("x"));
    retain(&mut shard, &conv, 4);
    let again = done(shard.apply(command));
    assert_eq!((again.s, again.mn, again.dup), (first.s, first.mn, true));
}

#[test]
fn of_a_conversation_that_is_not_there_nothing_goes() {
    let mut shard = TestShard::new();
    let conv = ConversationId::parse("g_9").unwrap();
    assert!(matches!(
        shard.apply(super::retain(conv, 5)),
        ShardOutcome::Refused(ErrorCode::NotMember, _)
    ));
}

#[test]
fn the_policy_of_its_kind_says_what_goes() {
    let mut shard = TestShard::new();
    let group = shard.group("g_1", &["alice", "bob"]);
    let channel = shard.group("ch_1", &["alice"]);
    let start = shard.now_ms;
    for i in 0..10 {
        shard.now_ms = start + i * 1_000;
        shard.ok("alice", &group, text("x"));
        shard.ok("alice", &channel, text("x"));
        shard.ok(
            "bob",
            &group,
            ConversationOp::React {
                of: 3,
                k: "+1".into(),
                on: i % 2 == 0,
                who: None,
            },
        );
    }
    let now = shard.now_ms;
    let due = |shard: &TestShard, policies: RetentionPolicies, now| {
        let due = query::due(&shard.rows, None, 100, &policies, now).unwrap();
        due.items
            .into_iter()
            .map(|(conv, below)| (conv.to_string(), below))
            .collect::<Vec<_>>()
    };
    let count = |most| RetentionPolicy {
        max_messages: Some(most),
        ..RetentionPolicy::default()
    };
    let age = |secs| RetentionPolicy {
        max_age: Some(Duration::from_secs(secs)),
        ..RetentionPolicy::default()
    };
    assert_eq!(due(&shard, RetentionPolicies::default(), now), []);
    // Messages of the group stand at 3, 5, … 21; of the channel at 2, 3, … 11.
    let policies = RetentionPolicies {
        group: count(3),
        channel: count(10),
        ..RetentionPolicies::default()
    };
    assert_eq!(due(&shard, policies, now), [("g_1".to_owned(), 17)]);
    let policies = RetentionPolicies {
        channel: age(4),
        ..RetentionPolicies::default()
    };
    assert_eq!(due(&shard, policies, now), [("ch_1".to_owned(), 7)]);
    assert_eq!(due(&shard, policies, start + 100_000), [("ch_1".to_owned(), 12)]);
    // The stricter of the two counts, and once it is done nothing is due.
    let both = RetentionPolicy {
        max_messages: Some(2),
        ..age(4)
    };
    let policies = RetentionPolicies {
        channel: both,
        ..RetentionPolicies::default()
    };
    assert_eq!(due(&shard, policies, now), [("ch_1".to_owned(), 10)]);
    retain(&mut shard, &channel, 10);
    assert_eq!(due(&shard, policies, now), []);
    retain(&mut shard, &channel, 12);
    assert_eq!(due(&shard, policies, start + 100_000), []);
}

#[test]
fn conversations_are_looked_at_in_pages() {
    let mut shard = TestShard::new();
    for i in 0..5 {
        let conv = shard.group(&format!("g_{i}"), &["alice"]);
        shard.ok("alice", &conv, text("x"));
        shard.ok("alice", &conv, text("y"));
    }
    let policy = RetentionPolicy {
        max_messages: Some(1),
        ..RetentionPolicy::default()
    };
    let policies = RetentionPolicies {
        group: policy,
        ..RetentionPolicies::default()
    };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let due = query::due(&shard.rows, after.as_ref(), 2, &policies, 0).unwrap();
        seen.extend(due.items.into_iter().map(|(conv, _)| conv.to_string()));
        after = due.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["g_0", "g_1", "g_2", "g_3", "g_4"]);
}
