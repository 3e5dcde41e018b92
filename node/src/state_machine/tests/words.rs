//! What becomes of messages: edits, deletions, reactions, replies and mentions.

use protocol::{ConversationId, ErrorCode, Event, MessageState, limits};

use super::query;
use super::{TestCommand, TestResult, TestShard, done, event, text, u};
use crate::state_machine::query::HistoryRange;
use crate::state_machine::{ConversationOp, ShardOutcome};

fn edit(of: u64, text: &str) -> ConversationOp {
    let body = format!("{{\"text\":\"{text}\"}}").into();
    ConversationOp::Edit {
        of,
        body,
        mentions: None,
    }
}

fn react(of: u64, k: &str, on: bool) -> ConversationOp {
    let k = k.into();
    ConversationOp::React { of, k, on, who: None }
}

fn reply(to: u64) -> ConversationOp {
    let ConversationOp::Send { body, .. } = text("re") else {
        panic!()
    };
    ConversationOp::Send {
        direct: None,
        body,
        reply_to: Some(to),
        mentions: vec![],
    }
}

fn mention(text_: &str, who: &[&str]) -> ConversationOp {
    let ConversationOp::Send { body, .. } = text(text_) else {
        panic!()
    };
    ConversationOp::Send {
        direct: None,
        body,
        reply_to: None,
        mentions: who.iter().map(|who| u(who)).collect(),
    }
}

/// A group of an owner, an admin made such by hand, two members, with one message of `bob` at `s` = 4.
fn group(shard: &mut TestShard) -> ConversationId {
    let conv = shard.group("g_1", &["own", "bob", "cat"]);
    assert_eq!(shard.ok("bob", &conv, text("s3cret words")).s, 4);
    conv
}

fn messages(shard: &TestShard, conv: &ConversationId, user: &str) -> Vec<MessageState> {
    let page = query::messages(&shard.rows, conv, &u(user), HistoryRange::Newest, 100).unwrap();
    page.page(conv).unwrap().items
}

/// Whether any row holds the text.
fn stored(shard: &TestShard, text: &str) -> bool {
    let mut rows = shard.rows.0.values();
    rows.any(|row| row.windows(text.len()).any(|part| part == text.as_bytes()))
}

fn summary(applied: &TestResult) -> (u64, u64, usize, bool) {
    (applied.s, applied.mn, applied.events.len(), applied.dup)
}

#[test]
fn edit_appends_an_event_and_the_message_shows_the_last_one() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    shard.now_ms += 5;
    let applied = shard.ok("bob", &conv, edit(4, "better"));
    assert_eq!(summary(&applied), (5, 0, 1, false));
    let Event::Edit(edited) = event(&applied.events[0]) else {
        panic!()
    };
    assert_eq!(
        (
            edited.seq,
            edited.target_seq,
            edited.user.as_str(),
            edited.body.as_str()
        ),
        (5, 4, "bob", r#"{"text":"better"}"#)
    );
    shard.now_ms += 5;
    let last = shard.ok("bob", &conv, edit(4, "best"));
    let visible = messages(&shard, &conv, "cat");
    assert_eq!(visible.len(), 1);
    assert_eq!(
        (
            visible[0].seq,
            visible[0].message_number,
            visible[0].body.as_str(),
            visible[0].edited_timestamp_ms
        ),
        (4, 1, r#"{"text":"best"}"#, Some(last.ts))
    );
    // The log keeps what was said at the time.
    let log = query::history(&shard.rows, &conv, &u("cat"), HistoryRange::After(3), 100).unwrap();
    assert_eq!(log.events.len(), 3);
    assert!(log.events[0].ends_with(br#""b":{"text":"s3cret words"}}"#));
}

#[test]
fn a_deleted_message_keeps_its_seq_and_no_row_has_its_words() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    shard.ok("bob", &conv, edit(4, "s3cret too"));
    shard.ok("cat", &conv, react(4, "+1", true));
    let before = messages(&shard, &conv, "cat").remove(0);
    assert!(stored(&shard, "s3cret"));
    let applied = shard.ok("bob", &conv, ConversationOp::Delete { of: 4 });
    assert_eq!(summary(&applied), (7, 0, 1, false));
    assert!(matches!(event(&applied.events[0]), Event::Del(del) if (del.seq, del.target_seq) == (7, 4)));
    assert!(!stored(&shard, "s3cret"), "the words are still there");
    let visible = messages(&shard, &conv, "cat").remove(0);
    assert_eq!(
        (visible.seq, visible.message_number, visible.timestamp_ms),
        (before.seq, before.message_number, before.timestamp_ms)
    );
    assert_eq!(
        (
            visible.body.as_str(),
            visible.deleted,
            visible.edited_timestamp_ms
        ),
        ("{}", true, None)
    );
    assert!(visible.reactions.is_empty());
    let log = query::history(&shard.rows, &conv, &u("cat"), HistoryRange::After(3), 100).unwrap();
    let tails: Vec<_> = log
        .events
        .iter()
        .map(|tail| std::str::from_utf8(tail).unwrap())
        .collect();
    assert_eq!(
        tails[..2],
        [
            r#""t":"msg","c":"g_1","s":4,"mn":1,"ts":1000000,"u":"bob","cid":"k2","b":{},"deleted":true}"#,
            r#""t":"edit","c":"g_1","s":5,"of":4,"u":"bob","ts":1000000,"b":{},"deleted":true}"#,
        ]
    );
    // Deleting again is acknowledged with the same event, and changes nothing.
    let rows = shard.rows.0.len();
    let again = shard.ok("own", &conv, ConversationOp::Delete { of: 4 });
    assert_eq!(summary(&again), (7, 0, 0, true));
    assert_eq!(shard.rows.0.len(), rows + 1, "only the key");
}

#[test]
fn nothing_is_done_to_what_is_not_there_or_deleted() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    for of in [0, 1, 5, 99, u64::MAX] {
        assert_eq!(shard.no("bob", &conv, edit(of, "x")), ErrorCode::NotFound, "{of}");
        assert_eq!(
            shard.no("bob", &conv, ConversationOp::Delete { of }),
            ErrorCode::NotFound,
            "{of}"
        );
        assert_eq!(
            shard.no("bob", &conv, react(of, "x", true)),
            ErrorCode::NotFound,
            "{of}"
        );
        assert_eq!(shard.no("bob", &conv, reply(of)), ErrorCode::NotFound, "{of}");
    }
    shard.ok("bob", &conv, ConversationOp::Delete { of: 4 });
    assert_eq!(shard.no("bob", &conv, edit(4, "x")), ErrorCode::Conflict);
    assert_eq!(shard.no("cat", &conv, react(4, "x", true)), ErrorCode::Conflict);
    assert_eq!(shard.no("cat", &conv, react(4, "x", false)), ErrorCode::Conflict);
    assert_eq!(shard.no("cat", &conv, reply(4)), ErrorCode::Conflict);
    // One who joined later sees nothing of before, a stranger nothing at all.
    shard.ok("bob", &conv, text("early"));
    shard.ok("own", &conv, ConversationOp::Invite { who: u("dan") });
    assert_eq!(shard.no("dan", &conv, react(6, "x", true)), ErrorCode::NotFound);
    assert_eq!(shard.no("eve", &conv, react(6, "x", true)), ErrorCode::NotMember);
    assert_eq!(shard.no("eve", &conv, edit(99, "x")), ErrorCode::NotMember);
}

#[test]
fn only_author_edits_and_only_author_or_moderator_deletes() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    assert_eq!(shard.no("own", &conv, edit(4, "x")), ErrorCode::Forbidden);
    assert_eq!(shard.no("cat", &conv, edit(4, "x")), ErrorCode::Forbidden);
    assert_eq!(
        shard.no("cat", &conv, ConversationOp::Delete { of: 4 }),
        ErrorCode::Forbidden
    );
    shard.ok("own", &conv, ConversationOp::Delete { of: 4 });
    // A reader reacts, and no more.
    let channel = shard.group("ch_1", &["own", "bob"]);
    shard.ok("own", &channel, text("news"));
    shard.ok("bob", &channel, react(3, "+1", true));
    assert_eq!(shard.no("bob", &channel, edit(3, "x")), ErrorCode::Forbidden);
    assert_eq!(
        shard.no("bob", &channel, ConversationOp::Delete { of: 3 }),
        ErrorCode::Forbidden
    );
    assert_eq!(
        shard.no("bob", &channel, ConversationOp::Delete { of: 99 }),
        ErrorCode::Forbidden
    );
    assert_eq!(shard.no("bob", &channel, reply(3)), ErrorCode::Forbidden);
}

#[test]
fn reactions_are_counted_once_per_user_and_kind() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    let set = shard.ok("cat", &conv, react(4, "+1", true));
    shard.ok("own", &conv, react(4, "+1", true));
    shard.ok("cat", &conv, react(4, "ø", true));
    let counts = |shard: &TestShard| messages(shard, &conv, "bob").remove(0).reactions;
    assert_eq!(counts(&shard), [("+1".to_owned(), 2), ("ø".to_owned(), 1)].into());
    // What is so already is acknowledged with the event that made it so.
    let again = shard.ok("cat", &conv, react(4, "+1", true));
    assert_eq!(summary(&again), (set.s, 0, 0, true));
    assert_eq!(counts(&shard)["+1"], 2);
    let off = shard.ok("cat", &conv, react(4, "+1", false));
    assert!(matches!(event(&off.events[0]), Event::React(react) if !react.active && react.reaction == "+1"));
    assert_eq!(counts(&shard)["+1"], 1);
    let again = shard.ok("cat", &conv, react(4, "+1", false));
    assert_eq!(summary(&again), (0, 0, 0, true));
    shard.ok("own", &conv, react(4, "+1", false));
    assert_eq!(counts(&shard), [("ø".to_owned(), 1)].into());
}

#[test]
fn reused_key_returns_the_first_result_even_without_an_event() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    let run = |shard: &mut TestShard, op: &ConversationOp| {
        done(shard.apply(TestCommand {
            conv: conv.clone(),
            user: u("bob"),
            cid: Some("same".parse().unwrap()),
            skip: 0,
            op: op.clone(),
        }))
    };
    let first = run(&mut shard, &react(4, "+1", false));
    shard.now_ms += 1_000;
    for op in [
        react(4, "+1", true),
        edit(4, "x"),
        ConversationOp::Delete { of: 4 },
        text("x"),
    ] {
        let again = run(&mut shard, &op);
        assert_eq!(
            again,
            TestResult {
                dup: true,
                ..first.clone()
            }
        );
    }
    assert_eq!(messages(&shard, &conv, "bob").len(), 1);
}

#[test]
fn what_grows_with_a_message_is_bounded() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    for i in 0..limits::REACTIONS {
        shard.ok("bob", &conv, react(4, &format!("k{i}"), true));
    }
    assert_eq!(
        shard.no("bob", &conv, react(4, "one more", true)),
        ErrorCode::Conflict
    );
    shard.ok("cat", &conv, react(4, "k0", true));
    for i in 0..limits::EDITS {
        shard.ok("bob", &conv, edit(4, &format!("s3cret {i}")));
    }
    assert_eq!(shard.no("bob", &conv, edit(4, "one more")), ErrorCode::Conflict);
    for k in ["", "a\nb", &"x".repeat(limits::REACTION_BYTES + 1)] {
        assert_eq!(shard.no("bob", &conv, react(4, k, true)), ErrorCode::BadRequest);
    }
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat(limits::BODY_BYTES)).into();
    assert_eq!(
        shard.no(
            "bob",
            &conv,
            ConversationOp::Edit {
                of: 4,
                body,
                mentions: None
            }
        ),
        ErrorCode::TooLarge
    );
    let body = "{\"x\"}".into();
    assert!(matches!(
        shard.run(
            "bob",
            &conv,
            ConversationOp::Edit {
                of: 4,
                body,
                mentions: None
            }
        ),
        ShardOutcome::Refused(ErrorCode::BadRequest, _)
    ));
    shard.ok("bob", &conv, ConversationOp::Delete { of: 4 });
    assert!(!stored(&shard, "s3cret"));
}

#[test]
fn a_mention_counts_for_members_until_it_is_read_or_deleted() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    let counts = |shard: &TestShard, user: &str| {
        let summary = query::summary(&shard.rows, &conv, &u(user)).unwrap();
        (summary.unread, summary.mentions)
    };
    let first = shard
        .ok("own", &conv, mention("hey", &["bob", "cat", "eve", "own", "bob"]))
        .s;
    let second = shard.ok("own", &conv, mention("hey", &["bob"])).s;
    assert_eq!((counts(&shard, "bob"), counts(&shard, "cat")), ((2, 2), (3, 1)));
    assert_eq!(counts(&shard, "own"), (0, 0));
    // An edit that doesn't say whom it mentions changes nothing of it.
    shard.ok("own", &conv, edit(first, "ho"));
    assert_eq!(counts(&shard, "bob"), (2, 2));
    // A deleted message is nothing to be read, and mentions nobody.
    shard.ok("own", &conv, ConversationOp::Delete { of: first });
    assert_eq!((counts(&shard, "bob"), counts(&shard, "cat")), ((1, 1), (2, 0)));
    shard.ok("bob", &conv, ConversationOp::Read { s: second });
    assert_eq!(counts(&shard, "bob"), (0, 0));
    shard.ok("own", &conv, ConversationOp::Delete { of: second });
    assert_eq!(counts(&shard, "bob"), (0, 0));
}

#[test]
fn messages_are_paged_however_many_other_events_lie_between() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["own", "bob"]);
    let mut sent = Vec::new();
    for round in 0..6u64 {
        for i in 0..round * 40 {
            shard.ok("bob", &conv, react(3, &format!("k{}", i % 2), i % 4 < 2));
        }
        sent.push(shard.ok("own", &conv, text("x")).s);
        if round == 0 {
            assert_eq!(sent, [3]);
        }
    }
    for i in 0..100u64 {
        shard.ok("bob", &conv, react(3, "z", i % 2 == 0));
    }
    let page = |page, limit| {
        let page = query::messages(&shard.rows, &conv, &u("bob"), page, limit).unwrap();
        let items = page.page(&conv).unwrap().items;
        (
            items.iter().map(|message| message.seq).collect::<Vec<_>>(),
            page.more,
        )
    };
    assert_eq!(page(HistoryRange::Newest, 100), (sent.clone(), false));
    assert_eq!(page(HistoryRange::After(0), 100), (sent.clone(), false));
    for limit in 1..=6 {
        assert_eq!(
            page(HistoryRange::Newest, limit),
            (sent[6 - limit..].to_vec(), limit < 6)
        );
        assert_eq!(
            page(HistoryRange::After(0), limit),
            (sent[..limit].to_vec(), limit < 6)
        );
    }
    for (i, s) in sent.iter().enumerate() {
        assert_eq!(page(HistoryRange::Before(*s), 100), (sent[..i].to_vec(), false));
        assert_eq!(
            page(HistoryRange::After(*s), 100),
            (sent[i + 1..].to_vec(), false)
        );
    }
    assert_eq!(page(HistoryRange::After(u64::MAX), 5), (vec![], false));
    assert_eq!(page(HistoryRange::Before(0), 5), (vec![], false));
}

#[test]
fn a_new_member_reads_no_earlier_words_in_an_edit() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    shard.ok("own", &conv, ConversationOp::Invite { who: u("new") });
    shard.ok("bob", &conv, edit(4, "s3cret old words"));
    let later = shard.ok("bob", &conv, text("for all")).s;
    let last = shard.ok("bob", &conv, edit(later, "for all, edited")).s;
    let words = |user: &str| {
        let (rows, who) = (&shard.rows, u(user));
        let history = |page| query::history(rows, &conv, &who, page, 50).unwrap().events;
        let mut visible = vec![
            history(HistoryRange::Newest),
            history(HistoryRange::After(3)),
            history(HistoryRange::Before(u64::MAX)),
            query::sync(rows, &conv, &who, Some(3), 50).unwrap().events,
            query::open(rows, &conv, &who, Some(0)).unwrap().events.unwrap(),
        ];
        visible
            .iter_mut()
            .for_each(|events| events.retain(|tail| tail.starts_with(b"\"t\":\"edit\"")));
        let visible = visible.into_iter().map(|events| {
            let bodies = events.iter().map(|tail| match super::parse(tail) {
                Event::Edit(edit) => (edit.body.as_str().to_owned(), edit.deleted),
                other => panic!("{other:?}"),
            });
            bodies.collect::<Vec<_>>()
        });
        visible.collect::<Vec<_>>()
    };
    let edited = |text: &str, deleted| (text.to_owned(), deleted);
    let new = [edited("{}", true), edited(r#"{"text":"for all, edited"}"#, false)];
    assert!(
        words("new").iter().all(|visible| *visible == new),
        "{:?}",
        words("new")
    );
    let old = [edited(r#"{"text":"s3cret old words"}"#, false), new[1].clone()];
    assert!(
        words("cat").iter().all(|visible| *visible == old),
        "{:?}",
        words("cat")
    );
    // Where everybody reads everything, so does the newcomer.
    let history = Some(protocol::HistoryVisibility::All);
    let (title, muted, pinned) = (None, None, None);
    shard.ok(
        "own",
        &conv,
        ConversationOp::Set {
            title,
            history,
            muted,
            pinned,
            data: None,
        },
    );
    let page = query::history(&shard.rows, &conv, &u("new"), HistoryRange::Before(last), 50).unwrap();
    assert!(
        page.events
            .iter()
            .any(|tail| tail.windows(6).any(|part| part == b"s3cret"))
    );
}

#[test]
fn a_new_members_list_shows_no_earlier_words() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    shard.ok("own", &conv, ConversationOp::Invite { who: u("new") });
    shard.ok("bob", &conv, edit(4, "s3cret old words"));
    let holds = |user: &str| {
        let line = query::summary(&shard.rows, &conv, &u(user))
            .unwrap()
            .page()
            .unwrap();
        line.last.is_some_and(|last| last.as_str().contains("s3cret"))
    };
    assert!(!holds("new") && holds("bob"));
}

#[test]
fn spellings_of_one_reaction_are_counted_together() {
    let mut shard = TestShard::new();
    let conv = group(&mut shard);
    let (coloured, plain) = ("\u{2764}\u{fe0f}", "\u{2764}");
    shard.ok("own", &conv, react(4, coloured, true));
    let second = shard.ok("bob", &conv, react(4, plain, true));
    // Whoever comes first says how it is spelled, so that everybody counts the same.
    assert!(matches!(event(&second.events[0]), Event::React(react) if react.reaction == coloured));
    assert_eq!(
        messages(&shard, &conv, "cat")[0].reactions,
        [(coloured.to_owned(), 2)].into()
    );
    assert!(shard.ok("bob", &conv, react(4, coloured, true)).dup);
    shard.ok("own", &conv, react(4, plain, false));
    assert_eq!(
        messages(&shard, &conv, "cat")[0].reactions,
        [(coloured.to_owned(), 1)].into()
    );
    shard.ok("bob", &conv, react(4, coloured, false));
    assert!(messages(&shard, &conv, "cat")[0].reactions.is_empty());
    shard.ok("bob", &conv, react(4, plain, true));
    assert_eq!(
        messages(&shard, &conv, "cat")[0].reactions,
        [(plain.to_owned(), 1)].into()
    );
    for k in ["\u{fe0f}", "\u{200b}", "a\u{202e}"] {
        assert_eq!(
            shard.no("bob", &conv, react(4, k, true)),
            ErrorCode::BadRequest,
            "{k:?}"
        );
    }
}
