//! What there is to read: unread messages and mentions, and positions that the log doesn't have.

use super::query;
use crate::state_machine::ChatTable;
use protocol::{ConversationId, ConversationKind, ErrorCode, Event};
use storage::ScanOrder;

use super::{TestShard, create, done, event, text, u};
use crate::state_machine::query::HistoryRange;
use crate::state_machine::row_store::RowReader;
use crate::state_machine::{ConversationOp, keys};

/// A group whose messages `ann` writes, the first at `s` = 3.
fn group(shard: &mut TestShard, messages: u64) -> ConversationId {
    let conv = shard.group("g_1", &["ann", "bob"]);
    for i in 0..messages {
        shard.ok("ann", &conv, text(&format!("m{i}")));
    }
    conv
}

fn unread(shard: &TestShard, conv: &ConversationId, user: &str) -> (u64, u64) {
    let row = query::summary(&shard.rows, conv, &u(user)).unwrap();
    (row.unread, row.mentions)
}

#[test]
fn a_deleted_message_is_not_unread() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 3);
    assert_eq!(unread(&shard, &conv, "bob").0, 3);
    for (of, left) in [(4, 2), (3, 1), (5, 0)] {
        shard.ok("ann", &conv, ConversationOp::Delete { of });
        assert_eq!(unread(&shard, &conv, "bob").0, left);
    }
    shard.ok("ann", &conv, text("more"));
    assert_eq!(unread(&shard, &conv, "bob").0, 1);
}

#[test]
fn what_was_read_before_it_was_deleted_is_not_taken_off_twice() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 4);
    shard.ok("bob", &conv, ConversationOp::Read { s: 4 });
    shard.ok("ann", &conv, ConversationOp::Delete { of: 3 });
    assert_eq!(unread(&shard, &conv, "bob").0, 2);
    shard.ok("ann", &conv, ConversationOp::Delete { of: 6 });
    assert_eq!(unread(&shard, &conv, "bob").0, 1);
}

#[test]
fn unread_is_exact_however_many_messages_were_deleted() {
    let mut shard = TestShard::new();
    let count = 5_000;
    let conv = group(&mut shard, count);
    // `s` is the ordinal and 2.
    let is_deleted = |mn: u64| mn.is_multiple_of(3) || (1_000..1_400).contains(&mn) || mn == count;
    for mn in (1..=count).filter(|mn| is_deleted(*mn)) {
        shard.ok("ann", &conv, ConversationOp::Delete { of: mn + 2 });
    }
    let mut at = 2;
    for step in [0, 1, 61, 64, 700, 300, 2_000, 1, 1_800] {
        at += step;
        shard.ok("bob", &conv, ConversationOp::Read { s: at });
        let expected = (at - 1..=count).filter(|mn| !is_deleted(*mn)).count();
        assert_eq!(
            unread(&shard, &conv, "bob").0 as usize,
            expected,
            "read up to {at}"
        );
    }
}

#[test]
fn what_counts_deleted_messages_goes_with_them() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 400);
    for of in 3..=400 {
        shard.ok("ann", &conv, ConversationOp::Delete { of });
    }
    let counts = |shard: &TestShard| {
        let (start, end) = (keys::deleted(&conv, 0, 0), keys::deleted(&conv, u8::MAX, 0));
        let rows = shard
            .rows
            .scan(ChatTable::Message, &start..&end, ScanOrder::Ascending, usize::MAX);
        rows.unwrap().len()
    };
    // One each, and one for each 64 but the first.
    assert_eq!(counts(&shard), 398 + 6);
    let last = shard.ok("ann", &conv, text("the last")).s;
    for _ in 0..40 {
        done(shard.apply(super::retain(conv.clone(), last)));
    }
    // What stands for others too is left.
    assert_eq!(counts(&shard), 1);
    assert_eq!(unread(&shard, &conv, "bob").0, 1);
}

#[test]
fn mentions_follow_edits() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["ann", "bob", "cat"]);
    let mention = |who: &[&str]| who.iter().map(|who| u(who)).collect::<Vec<_>>();
    let edit = |of, mentions: Option<Vec<_>>| ConversationOp::Edit {
        of,
        body: "{}".into(),
        mentions,
    };
    let of = shard.ok("ann", &conv, text("hi")).s;
    let counted = |shard: &TestShard| ["ann", "bob", "cat"].map(|user| unread(shard, &conv, user).1);
    for (mentions, expected) in [
        (Some(mention(&["bob", "ann"])), [0, 1, 0]),
        // What is not said stays.
        (None, [0, 1, 0]),
        (Some(mention(&["cat", "bob", "cat"])), [0, 1, 1]),
        (Some(mention(&["cat"])), [0, 0, 1]),
        (None, [0, 0, 1]),
        (Some(vec![]), [0, 0, 0]),
        (Some(mention(&["bob", "eve"])), [0, 1, 0]),
    ] {
        shard.ok("ann", &conv, edit(of, mentions.clone()));
        assert_eq!(counted(&shard), expected, "{mentions:?}");
    }
    let page = query::messages(&shard.rows, &conv, &u("cat"), HistoryRange::Newest, 9).unwrap();
    assert_eq!(
        page.page(&conv).unwrap().items[0].mentions,
        mention(&["bob", "eve"])
    );
    // An older message comes after a newer one, and is before it.
    let newer = shard.ok("ann", &conv, text("newer")).s;
    shard.ok("ann", &conv, edit(newer, Some(mention(&["bob"]))));
    assert_eq!(counted(&shard), [0, 2, 0]);
    shard.ok("bob", &conv, ConversationOp::Read { s: of });
    assert_eq!(counted(&shard), [0, 1, 0]);
    // What was read alerts nobody any more.
    shard.ok("ann", &conv, edit(of, Some(mention(&["bob", "cat"]))));
    assert_eq!(counted(&shard), [0, 1, 1]);
    shard.ok("ann", &conv, ConversationOp::Delete { of: newer });
    shard.ok("ann", &conv, ConversationOp::Delete { of });
    assert_eq!(counted(&shard), [0, 0, 0]);
}

#[test]
fn owners_and_admins_take_back_the_reactions_of_those_who_left() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["own", "bob", "cat"]);
    let of = shard.ok("cat", &conv, text("hi")).s;
    let react = |on, who: Option<&str>| ConversationOp::React {
        of,
        k: "+1".into(),
        on,
        who: who.map(u),
    };
    for user in ["bob", "cat"] {
        shard.ok(user, &conv, react(true, None));
    }
    shard.ok("bob", &conv, ConversationOp::Leave);
    assert_eq!(
        shard.no("cat", &conv, react(false, Some("bob"))),
        ErrorCode::Forbidden
    );
    assert_eq!(
        shard.no("own", &conv, react(true, Some("bob"))),
        ErrorCode::BadRequest
    );
    let taken = shard.ok("own", &conv, react(false, Some("bob")));
    let Event::React(reaction) = event(&taken.events[0]) else {
        panic!("{taken:?}")
    };
    let by = reaction.removed_by.as_ref().map(protocol::UserId::as_str);
    assert_eq!(
        (reaction.user.as_str(), by, reaction.active),
        ("bob", Some("own"), false)
    );
    let page = query::messages(&shard.rows, &conv, &u("cat"), HistoryRange::Newest, 9).unwrap();
    assert_eq!(
        page.page(&conv).unwrap().items[0].reactions,
        [("+1".to_owned(), 1)].into()
    );
    assert!(
        shard.ok("own", &conv, react(false, Some("bob"))).dup,
        "it is so already"
    );
    // One's own by name is one's own.
    let own = shard.ok("cat", &conv, react(false, Some("cat")));
    assert!(matches!(event(&own.events[0]), Event::React(own) if own.removed_by.is_none()));
}

#[test]
fn a_position_beyond_the_log_has_a_gap_and_the_newest_events() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard, 3);
    for have in [6, 100, u64::MAX] {
        let window = query::sync(&shard.rows, &conv, &u("bob"), Some(have), 50).unwrap();
        assert_eq!(
            (window.gap, window.events.len(), window.as_of),
            (true, 5, 5),
            "{have}"
        );
        let view = query::open(&shard.rows, &conv, &u("bob"), Some(have)).unwrap();
        assert_eq!(
            (view.gap, view.events.map(|events| events.len())),
            (true, Some(5))
        );
    }
    let window = query::sync(&shard.rows, &conv, &u("bob"), Some(5), 50).unwrap();
    assert_eq!((window.gap, window.events.len()), (false, 0));
    for (after, gap) in [(0, false), (5, false), (6, true), (u64::MAX, true)] {
        let page = query::history(&shard.rows, &conv, &u("bob"), HistoryRange::After(after), 50).unwrap();
        assert_eq!((page.gap, page.more), (gap, false), "{after}");
        let page = query::messages(&shard.rows, &conv, &u("bob"), HistoryRange::After(after), 50).unwrap();
        assert_eq!((page.gap, page.more), (gap, false), "{after}");
    }
    let page = query::history(&shard.rows, &conv, &u("bob"), HistoryRange::Before(u64::MAX), 50).unwrap();
    assert_eq!((page.gap, page.events.len()), (false, 5));
}

#[test]
fn one_may_write_to_oneself() {
    let mut shard = TestShard::new();
    let conv = ConversationId::direct(&u("ann"), &u("ann"));
    let note = ConversationOp::Send {
        direct: Some(u("ann")),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    };
    let sent = shard.ok("ann", &conv, note.clone());
    assert_eq!((sent.s, sent.mn, sent.events.len()), (2, 1, 2));
    assert_eq!(shard.ok("ann", &conv, note).s, 3);
    let view = query::open(&shard.rows, &conv, &u("ann"), Some(0)).unwrap();
    assert_eq!(
        (view.members, view.kind, view.gap),
        (1, ConversationKind::Direct, false)
    );
    let peer = view.peer.expect("whom it is with");
    assert_eq!((peer.user.as_str(), peer.read), ("ann", 3));
    assert_eq!(unread(&shard, &conv, "ann"), (0, 0));
    assert!(
        shard
            .ok("ann", &conv, create(ConversationKind::Direct, &["ann"]))
            .dup
    );
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::NotMember);
    // Making it is as good as writing to it.
    let own = ConversationId::direct(&u("bob"), &u("bob"));
    assert_eq!(
        shard
            .ok("bob", &own, create(ConversationKind::Direct, &["bob"]))
            .s,
        1
    );
}

#[test]
fn an_author_who_rejoined_may_delete_an_own_message() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["own", "bob", "cat"]);
    let (mine, others) = (
        shard.ok("bob", &conv, text("mine")).s,
        shard.ok("cat", &conv, text("x")).s,
    );
    shard.ok("bob", &conv, ConversationOp::Leave);
    shard.ok("own", &conv, ConversationOp::Invite { who: u("bob") });
    assert_eq!(
        shard.no("bob", &conv, ConversationOp::Delete { of: others }),
        ErrorCode::NotFound
    );
    let first = shard.ok("bob", &conv, ConversationOp::Delete { of: mine });
    assert!(first.s > 0 && !first.dup);
    // What retention took is not there for the author either.
    let gone = shard.ok("bob", &conv, text("gone")).s;
    shard.ok("bob", &conv, text("stays"));
    for _ in 0..20 {
        done(shard.apply(super::retain(conv.clone(), gone + 1)));
    }
    assert_eq!(
        shard.no("bob", &conv, ConversationOp::Delete { of: gone }),
        ErrorCode::NotFound
    );
}
