//! What members are shown.

use protocol::response::LastEvent;
use protocol::{ConversationId, EncodedEvent, ErrorCode, Event, Role, limits};

use super::query;
use super::{TestShard, done, parse, text, u};
use crate::state_machine::query::{HistoryRange, MembershipSpan, QueryError};
use crate::state_machine::{ApplyEffect, ConversationOp, EventEnvelope, OutboxOp};

fn seqs(tails: &[bytes::Bytes]) -> Vec<u64> {
    tails
        .iter()
        .map(|tail| parse(tail).position().unwrap().1)
        .collect()
}

/// A group of alice and bob, and bob's invitee carol, with messages up to `s` = 103.
fn long(shard: &mut TestShard) -> ConversationId {
    let conv = shard.group("g_1", &["alice", "bob"]);
    for i in 3..50 {
        shard.ok("alice", &conv, text(&format!("{i}")));
    }
    assert_eq!(
        shard
            .ok("alice", &conv, ConversationOp::Invite { who: u("carol") })
            .s,
        50
    );
    for i in 51..=103 {
        shard.ok("alice", &conv, text(&format!("{i}")));
    }
    conv
}

#[test]
fn history_pages_are_exclusive_ascending_and_report_more() {
    let mut shard = TestShard::new();
    let conv = long(&mut shard);
    let page = |user: &str, page, limit| {
        let page = query::history(&shard.rows, &conv, &u(user), page, limit).unwrap();
        let seqs = seqs(&page.events);
        (seqs.first().copied(), seqs.last().copied(), seqs.len(), page.more)
    };
    assert_eq!(
        page("bob", HistoryRange::Newest, 50),
        (Some(54), Some(103), 50, true)
    );
    assert_eq!(
        page("bob", HistoryRange::Before(54), 50),
        (Some(4), Some(53), 50, true)
    );
    assert_eq!(
        page("bob", HistoryRange::Before(4), 50),
        (Some(1), Some(3), 3, false)
    );
    assert_eq!(page("bob", HistoryRange::Before(1), 50), (None, None, 0, false));
    assert_eq!(page("bob", HistoryRange::Before(0), 50), (None, None, 0, false));
    assert_eq!(
        page("bob", HistoryRange::Before(u64::MAX), 2),
        (Some(102), Some(103), 2, true)
    );
    assert_eq!(
        page("bob", HistoryRange::After(0), 100),
        (Some(1), Some(100), 100, true)
    );
    assert_eq!(
        page("bob", HistoryRange::After(100), 100),
        (Some(101), Some(103), 3, false)
    );
    assert_eq!(
        page("bob", HistoryRange::After(u64::MAX), 100),
        (None, None, 0, false)
    );
    // One who came later reads from the own joining.
    assert_eq!(
        page("carol", HistoryRange::After(0), 3),
        (Some(50), Some(52), 3, true)
    );
    assert_eq!(
        page("carol", HistoryRange::Before(53), 50),
        (Some(50), Some(52), 3, false)
    );
    assert_eq!(
        page("carol", HistoryRange::Before(50), 50),
        (None, None, 0, false)
    );
}

#[test]
fn a_channel_shows_its_whole_history() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["alice"]);
    shard.ok("alice", &conv, text("early"));
    shard.ok("alice", &conv, ConversationOp::Invite { who: u("bob") });
    let page = query::history(&shard.rows, &conv, &u("bob"), HistoryRange::Newest, 50).unwrap();
    assert_eq!((seqs(&page.events), page.more), (vec![1, 2, 3], false));
    let window = query::sync(&shard.rows, &conv, &u("bob"), None, 50).unwrap();
    assert_eq!(
        (seqs(&window.events), window.gap, window.as_of),
        (vec![3], false, 3)
    );
}

#[test]
fn a_window_too_large_is_cut_and_marked() {
    let mut shard = TestShard::new();
    let conv = long(&mut shard);
    let sync = |user: &str, have, limit| {
        let window = query::sync(&shard.rows, &conv, &u(user), have, limit).unwrap();
        let seqs = seqs(&window.events);
        assert_eq!(window.as_of, 103);
        (seqs.first().copied(), seqs.len(), window.gap)
    };
    assert_eq!(sync("bob", Some(100), 50), (Some(101), 3, false));
    assert_eq!(sync("bob", Some(53), 50), (Some(54), 50, false));
    assert_eq!(sync("bob", Some(52), 50), (Some(54), 50, true));
    assert_eq!(sync("bob", None, 200), (Some(1), 103, false));
    assert_eq!(sync("bob", Some(103), 50), (None, 0, false));
    // Beyond the log: the newest, to begin anew with.
    assert_eq!(sync("bob", Some(9999), 50), (Some(54), 50, true));
    assert_eq!(sync("carol", None, 100), (Some(50), 54, false));
    assert_eq!(sync("carol", Some(0), 100), (Some(50), 54, false));
    // What carol once had doesn't touch what she may see now.
    assert_eq!(sync("carol", Some(7), 100), (Some(50), 54, true));
}

#[test]
fn a_page_is_bounded_in_bytes_and_touches_its_cursor() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice"]);
    let big = "x".repeat(limits::BODY_BYTES - 20);
    for _ in 0..30 {
        shard.ok("alice", &conv, text(&big));
    }
    let after = query::history(&shard.rows, &conv, &u("alice"), HistoryRange::After(5), 100).unwrap();
    let seqs_after = seqs(&after.events);
    assert!(
        after.more && seqs_after[0] == 6 && seqs_after.len() < 12,
        "{seqs_after:?}"
    );
    let before = query::history(&shard.rows, &conv, &u("alice"), HistoryRange::Before(20), 100).unwrap();
    assert!(before.more && seqs(&before.events).last() == Some(&19));
    let window = query::sync(&shard.rows, &conv, &u("alice"), Some(1), 100).unwrap();
    assert!(window.gap && seqs(&window.events).last() == Some(&31));
}

#[test]
fn open_shows_role_cursors_and_what_was_missed() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let ts = shard.ok("alice", &conv, text("x")).ts;
    let view = query::open(&shard.rows, &conv, &u("bob"), None).unwrap();
    assert_eq!(
        (view.role, view.last),
        (
            Role::Member,
            LastEvent {
                seq: 3,
                message_number: 1,
                timestamp_ms: ts
            }
        )
    );
    assert_eq!((view.read, view.delivered, view.members), (2, 2, 2));
    assert_eq!((view.events.clone(), view.gap), (None, false));
    let view = query::open(&shard.rows, &conv, &u("bob"), Some(2)).unwrap();
    let wire = view.page().unwrap();
    let [event] = &wire.events.unwrap()[..] else {
        panic!("one event")
    };
    assert!(matches!(event.event(), Some(Event::Msg(msg)) if msg.seq == 3));
}

#[test]
fn cursors_only_move_forward_and_are_clamped() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    for _ in 0..4 {
        shard.ok("alice", &conv, text("x"));
    }
    let unread = |shard: &TestShard| query::summary(&shard.rows, &conv, &u("bob")).unwrap().unread;
    assert_eq!(unread(&shard), 4);
    let cursors = |delivered, read, read_moved| ApplyEffect::Cursors {
        delivered,
        read,
        read_moved,
        members: 2,
    };
    let table = [
        (ConversationOp::Delivered { s: 4 }, cursors(4, 2, false), 4),
        (ConversationOp::Delivered { s: 3 }, ApplyEffect::None, 4),
        (ConversationOp::Read { s: 3 }, cursors(4, 3, true), 3),
        (ConversationOp::Read { s: 2 }, ApplyEffect::None, 3),
        (ConversationOp::Read { s: 5 }, cursors(5, 5, true), 1),
        (ConversationOp::Delivered { s: u64::MAX }, cursors(6, 5, false), 1),
        (ConversationOp::Read { s: u64::MAX }, cursors(6, 6, true), 0),
        (ConversationOp::Read { s: 0 }, ApplyEffect::None, 0),
    ];
    for (op, effect, left) in table {
        let applied = shard.ok("bob", &conv, op.clone());
        assert_eq!(
            (applied.effect, applied.s, applied.events.len()),
            (effect, 0, 0),
            "{op:?}"
        );
        assert_eq!(unread(&shard), left, "{op:?}");
    }
}

#[test]
fn mentions_count_until_they_are_read() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let mention = |users: &[&str]| ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: users.iter().map(|name| u(name)).collect(),
    };
    let first = shard
        .ok("alice", &conv, mention(&["bob", "bob", "alice", "nobody"]))
        .s;
    shard.ok("alice", &conv, mention(&["bob"]));
    shard.ok("alice", &conv, text("x"));
    let mentions =
        |shard: &TestShard, user: &str| query::summary(&shard.rows, &conv, &u(user)).unwrap().mentions;
    assert_eq!((mentions(&shard, "bob"), mentions(&shard, "alice")), (2, 0));
    shard.ok("bob", &conv, ConversationOp::Read { s: first });
    assert_eq!(mentions(&shard, "bob"), 1);
    shard.ok("bob", &conv, text("own send reads all"));
    assert_eq!(mentions(&shard, "bob"), 0);
}

#[test]
fn a_reply_needs_a_message_that_the_sender_may_see() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let reply = |s| ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: Some(s),
        mentions: vec![],
    };
    let s = shard.ok("alice", &conv, text("x")).s;
    shard.ok("bob", &conv, reply(s));
    for s in [0, 1, 99] {
        assert_eq!(shard.no("bob", &conv, reply(s)), ErrorCode::NotFound, "{s}");
    }
    shard.ok("alice", &conv, ConversationOp::Invite { who: u("carol") });
    assert_eq!(shard.no("carol", &conv, reply(s)), ErrorCode::NotFound);
}

#[test]
fn the_summary_shows_the_last_message_and_the_peer() {
    let mut shard = TestShard::new();
    let conv = ConversationId::direct(&u("alice"), &u("bob"));
    let op = ConversationOp::Send {
        direct: Some(u("bob")),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    };
    let applied = shard.ok("alice", &conv, op);
    shard.ok("bob", &conv, ConversationOp::Delivered { s: 3 });
    let summary = query::summary(&shard.rows, &conv, &u("alice")).unwrap();
    let last = summary.message.clone().unwrap().tail;
    assert_eq!(last, applied.events[2].tail);
    let peer = summary.peer.clone().unwrap();
    assert_eq!((peer.user.as_str(), peer.delivered, peer.read), ("bob", 3, 2));
    let item = summary.page().unwrap();
    assert_eq!(item.last, Some(EncodedEvent::from_tail(&last).unwrap()));
    assert_eq!(
        query::summary(&shard.rows, &conv, &u("bob"))
            .unwrap()
            .peer
            .unwrap()
            .user,
        u("alice")
    );
}

#[test]
fn members_come_in_pages_without_those_who_went() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["a", "b", "c", "d", "e"]);
    shard.ok("a", &conv, ConversationOp::Kick { who: u("c") });
    let page = |after: Option<&str>| {
        let page = query::members(&shard.rows, &conv, &u("a"), after.map(u).as_ref(), 2).unwrap();
        let users: Vec<_> = page.items.iter().map(|item| item.user.to_string()).collect();
        (users.concat(), page.next)
    };
    assert_eq!(page(None), ("ab".to_owned(), Some(u("b"))));
    assert_eq!(page(Some("b")), ("de".to_owned(), None));
    let gone = query::members(&shard.rows, &conv, &u("c"), None, 2);
    assert!(matches!(gone, Err(QueryError::NotMember)));
}

#[test]
fn a_former_member_reads_nothing() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    shard.ok("bob", &conv, ConversationOp::Leave);
    let (rows, bob) = (&shard.rows, u("bob"));
    assert!(matches!(
        query::open(rows, &conv, &bob, Some(0)),
        Err(QueryError::NotMember)
    ));
    assert!(matches!(
        query::history(rows, &conv, &bob, HistoryRange::Newest, 50),
        Err(QueryError::NotMember)
    ));
    assert!(matches!(
        query::sync(rows, &conv, &bob, None, 50),
        Err(QueryError::NotMember)
    ));
    assert!(matches!(
        query::summary(rows, &conv, &bob),
        Err(QueryError::NotMember)
    ));
    let missing = ConversationId::parse("g_2").unwrap();
    assert!(matches!(
        query::open(rows, &missing, &u("alice"), None),
        Err(QueryError::NotMember)
    ));
}

#[test]
fn the_outbox_updates_the_users_shard_and_the_latest_wins() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    shard.ok("alice", &conv, ConversationOp::Kick { who: u("bob") });
    let pending = query::outbox(&shard.rows, None, 10).unwrap();
    assert_eq!(pending.len(), 3);
    assert_eq!(
        query::outbox(&shard.rows, Some(pending[0].id), 1).unwrap(),
        pending[1..2]
    );

    // Late, twice and out of order, in the shard of the users.
    let mut users = TestShard::new();
    for i in [2, 1, 0, 1, 2, 0] {
        users.apply(pending[i].command.clone());
    }
    let convs = |users: &TestShard, user: &str| {
        let page = query::index(&users.rows, &u(user), None, 10).unwrap();
        page.items.into_iter().map(|item| item.conv).collect::<Vec<_>>()
    };
    assert_eq!(
        (convs(&users, "alice"), convs(&users, "bob")),
        (vec![conv], vec![])
    );

    let ids = pending.iter().map(|pending| pending.id).collect();
    shard.apply(super::ShardCommand::Outbox(OutboxOp::OutboxDone { ids }));
    assert_eq!(query::outbox(&shard.rows, None, 10).unwrap(), []);
}

#[test]
fn the_index_comes_in_pages() {
    let mut shard = TestShard::new();
    for i in 0..5 {
        shard.group(&format!("g_{i}"), &["alice"]);
    }
    for pending in query::outbox(&shard.rows, None, 100).unwrap() {
        shard.apply(pending.command);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = query::index(&shard.rows, &u("alice"), after.as_ref(), 2).unwrap();
        seen.extend(page.items.into_iter().map(|item| item.conv.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["g_0", "g_1", "g_2", "g_3", "g_4"]);
}

#[test]
fn what_a_node_missed_is_replayed_as_it_was_published() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let mut live = Vec::new();
    for op in [
        text("x"),
        ConversationOp::Invite { who: u("carol") },
        ConversationOp::Kick { who: u("bob") },
        ConversationOp::Leave,
    ] {
        live.extend(shard.ok("alice", &conv, op).events);
    }
    let events = query::range(&shard.rows, &conv, 2, 100).unwrap();
    let replayed: Vec<_> = events
        .into_iter()
        .map(|event| EventEnvelope::replay(conv.clone(), event))
        .collect();
    assert_eq!(replayed, live);
    assert_eq!(query::range(&shard.rows, &conv, 3, 2).unwrap().len(), 2);
    assert!(query::range(&shard.rows, &conv, u64::MAX, 2).unwrap().is_empty());
}

#[test]
fn missed_events_end_with_the_membership() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob", "carol"]);
    let kick = ConversationOp::Kick { who: u("bob") };
    // 4, kick 5, 6, again 7, 8.
    for op in [
        text("4"),
        kick.clone(),
        text("6"),
        ConversationOp::Invite { who: u("bob") },
        text("8"),
    ] {
        shard.ok("alice", &conv, op);
    }
    let missed_by = |shard: &TestShard, user: &str, after: u64| {
        let missed = query::missed(&shard.rows, &conv, &u(user), after, 100).unwrap();
        let seqs: Vec<u64> = missed.events.iter().map(|event| event.s).collect();
        (seqs, missed.gap, missed.membership)
    };
    assert_eq!(
        missed_by(&shard, "carol", 3),
        (vec![4, 5, 6, 7, 8], false, MembershipSpan::Same)
    );
    assert_eq!(
        missed_by(&shard, "carol", 8),
        (vec![], false, MembershipSpan::Same)
    );
    // Bob was somebody else at 3, and nobody at 5.
    for after in [3, 5] {
        assert_eq!(
            missed_by(&shard, "bob", after),
            (vec![], true, MembershipSpan::Renewed)
        );
    }
    assert_eq!(
        missed_by(&shard, "bob", 7),
        (vec![8], false, MembershipSpan::Same)
    );
    assert_eq!(
        missed_by(&shard, "bob", 0),
        (vec![7, 8], false, MembershipSpan::Same)
    );
    assert_eq!(missed_by(&shard, "carol", 0).0, (1..=8).collect::<Vec<_>>());
    shard.ok("alice", &conv, text("9"));
    shard.ok("alice", &conv, kick);
    shard.ok("alice", &conv, text("11"));
    assert_eq!(
        missed_by(&shard, "bob", 7),
        (vec![8, 9, 10], false, MembershipSpan::Over)
    );
    // The last page, and who claims to have been a member where nobody was.
    for after in [10, 11, 99] {
        assert_eq!(
            missed_by(&shard, "bob", after),
            (vec![], false, MembershipSpan::Over)
        );
    }
    assert_eq!(missed_by(&shard, "bob", 4), (vec![], true, MembershipSpan::Over));
    // What is gone is a gap for both, whatever is left above it.
    // Step by step.
    for _ in 0..20 {
        done(shard.apply(super::retain(conv.clone(), 10)));
    }
    assert_eq!(missed_by(&shard, "bob", 8), (vec![], true, MembershipSpan::Over));
    assert_eq!(
        missed_by(&shard, "bob", 9),
        (vec![10], false, MembershipSpan::Over)
    );
    assert_eq!(
        missed_by(&shard, "carol", 8),
        (vec![], true, MembershipSpan::Same)
    );
    assert_eq!(
        missed_by(&shard, "carol", 9),
        (vec![10, 11], false, MembershipSpan::Same)
    );
    for user in ["eve", "nobody"] {
        assert!(query::missed(&shard.rows, &conv, &u(user), 0, 100).is_err());
    }
}
