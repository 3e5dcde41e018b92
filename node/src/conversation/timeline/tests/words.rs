//! What becomes of messages: edits, deletions, reactions, replies and mentions.

use protocol::{ConvId, ErrorCode, Event, Message, limits};

use super::super::read::{self, Page};
use super::super::{Applied, Command, Op, Outcome};
use super::{World, done, event, text, u};

fn edit(of: u64, text: &str) -> Op {
    let body = format!("{{\"text\":\"{text}\"}}").into();
    Op::Edit {
        of,
        body,
        mentions: None,
    }
}

fn react(of: u64, k: &str, on: bool) -> Op {
    let k = k.into();
    Op::React { of, k, on, who: None }
}

fn reply(to: u64) -> Op {
    let Op::Send { body, .. } = text("re") else {
        panic!()
    };
    Op::Send {
        direct: None,
        body,
        reply_to: Some(to),
        mentions: vec![],
    }
}

fn mention(text_: &str, who: &[&str]) -> Op {
    let Op::Send { body, .. } = text(text_) else {
        panic!()
    };
    Op::Send {
        direct: None,
        body,
        reply_to: None,
        mentions: who.iter().map(|who| u(who)).collect(),
    }
}

/// A group of an owner, an admin made such by hand, two members, with one message of `bob` at `s` = 4.
fn group(world: &mut World) -> ConvId {
    let conv = world.group("g_1", &["own", "bob", "cat"]);
    assert_eq!(world.ok("bob", &conv, text("s3cret words")).s, 4);
    conv
}

fn messages(world: &World, conv: &ConvId, user: &str) -> Vec<Message> {
    let page = read::messages(&world.rows, conv, &u(user), Page::Newest, 100).unwrap();
    page.wire(conv).unwrap().items
}

/// Whether any row holds the text.
fn stored(world: &World, text: &str) -> bool {
    let mut rows = world.rows.0.values();
    rows.any(|row| row.windows(text.len()).any(|part| part == text.as_bytes()))
}

fn place(applied: &Applied) -> (u64, u64, usize, bool) {
    (applied.s, applied.mn, applied.events.len(), applied.dup)
}

#[test]
fn an_edit_is_an_event_of_its_own_and_the_message_shows_the_last_one() {
    let mut world = World::new();
    let conv = group(&mut world);
    world.now_ms += 5;
    let applied = world.ok("bob", &conv, edit(4, "better"));
    assert_eq!(place(&applied), (5, 0, 1, false));
    let Event::Edit(edited) = event(&applied.events[0]) else {
        panic!()
    };
    assert_eq!(
        (edited.s, edited.of, edited.u.as_str(), edited.b.as_str()),
        (5, 4, "bob", r#"{"text":"better"}"#)
    );
    world.now_ms += 5;
    let last = world.ok("bob", &conv, edit(4, "best"));
    let shown = messages(&world, &conv, "cat");
    assert_eq!(shown.len(), 1);
    assert_eq!(
        (shown[0].s, shown[0].mn, shown[0].b.as_str(), shown[0].edited_ts),
        (4, 1, r#"{"text":"best"}"#, Some(last.ts))
    );
    // The log keeps what was said at the time.
    let log = read::history(&world.rows, &conv, &u("cat"), Page::After(3), 100).unwrap();
    assert_eq!(log.events.len(), 3);
    assert!(log.events[0].ends_with(br#""b":{"text":"s3cret words"}}"#));
}

#[test]
fn a_deleted_message_keeps_its_place_and_its_words_are_in_no_row() {
    let mut world = World::new();
    let conv = group(&mut world);
    world.ok("bob", &conv, edit(4, "s3cret too"));
    world.ok("cat", &conv, react(4, "+1", true));
    let before = messages(&world, &conv, "cat").remove(0);
    assert!(stored(&world, "s3cret"));
    let applied = world.ok("bob", &conv, Op::Delete { of: 4 });
    assert_eq!(place(&applied), (7, 0, 1, false));
    assert!(matches!(event(&applied.events[0]), Event::Del(del) if (del.s, del.of) == (7, 4)));
    assert!(!stored(&world, "s3cret"), "the words are still there");
    let shown = messages(&world, &conv, "cat").remove(0);
    assert_eq!((shown.s, shown.mn, shown.ts), (before.s, before.mn, before.ts));
    assert_eq!(
        (shown.b.as_str(), shown.deleted, shown.edited_ts),
        ("{}", true, None)
    );
    assert!(shown.reactions.is_empty());
    let log = read::history(&world.rows, &conv, &u("cat"), Page::After(3), 100).unwrap();
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
    let rows = world.rows.0.len();
    let again = world.ok("own", &conv, Op::Delete { of: 4 });
    assert_eq!(place(&again), (7, 0, 0, true));
    assert_eq!(world.rows.0.len(), rows + 1, "only the key");
}

#[test]
fn nothing_is_done_to_what_is_not_there_or_deleted() {
    let mut world = World::new();
    let conv = group(&mut world);
    for of in [0, 1, 5, 99, u64::MAX] {
        assert_eq!(world.no("bob", &conv, edit(of, "x")), ErrorCode::NotFound, "{of}");
        assert_eq!(
            world.no("bob", &conv, Op::Delete { of }),
            ErrorCode::NotFound,
            "{of}"
        );
        assert_eq!(
            world.no("bob", &conv, react(of, "x", true)),
            ErrorCode::NotFound,
            "{of}"
        );
        assert_eq!(world.no("bob", &conv, reply(of)), ErrorCode::NotFound, "{of}");
    }
    world.ok("bob", &conv, Op::Delete { of: 4 });
    assert_eq!(world.no("bob", &conv, edit(4, "x")), ErrorCode::Conflict);
    assert_eq!(world.no("cat", &conv, react(4, "x", true)), ErrorCode::Conflict);
    assert_eq!(world.no("cat", &conv, react(4, "x", false)), ErrorCode::Conflict);
    assert_eq!(world.no("cat", &conv, reply(4)), ErrorCode::Conflict);
    // One who joined later sees nothing of before, a stranger nothing at all.
    world.ok("bob", &conv, text("early"));
    world.ok("own", &conv, Op::Invite { who: u("dan") });
    assert_eq!(world.no("dan", &conv, react(6, "x", true)), ErrorCode::NotFound);
    assert_eq!(world.no("eve", &conv, react(6, "x", true)), ErrorCode::NotMember);
    assert_eq!(world.no("eve", &conv, edit(99, "x")), ErrorCode::NotMember);
}

#[test]
fn only_the_author_edits_and_only_the_author_and_the_powerful_delete() {
    let mut world = World::new();
    let conv = group(&mut world);
    assert_eq!(world.no("own", &conv, edit(4, "x")), ErrorCode::Forbidden);
    assert_eq!(world.no("cat", &conv, edit(4, "x")), ErrorCode::Forbidden);
    assert_eq!(world.no("cat", &conv, Op::Delete { of: 4 }), ErrorCode::Forbidden);
    world.ok("own", &conv, Op::Delete { of: 4 });
    // A reader reacts, and no more.
    let channel = world.group("ch_1", &["own", "bob"]);
    world.ok("own", &channel, text("news"));
    world.ok("bob", &channel, react(3, "+1", true));
    assert_eq!(world.no("bob", &channel, edit(3, "x")), ErrorCode::Forbidden);
    assert_eq!(
        world.no("bob", &channel, Op::Delete { of: 3 }),
        ErrorCode::Forbidden
    );
    assert_eq!(
        world.no("bob", &channel, Op::Delete { of: 99 }),
        ErrorCode::Forbidden
    );
    assert_eq!(world.no("bob", &channel, reply(3)), ErrorCode::Forbidden);
}

#[test]
fn reactions_are_counted_once_per_user_and_kind() {
    let mut world = World::new();
    let conv = group(&mut world);
    let set = world.ok("cat", &conv, react(4, "+1", true));
    world.ok("own", &conv, react(4, "+1", true));
    world.ok("cat", &conv, react(4, "ø", true));
    let counts = |world: &World| messages(world, &conv, "bob").remove(0).reactions;
    assert_eq!(counts(&world), [("+1".to_owned(), 2), ("ø".to_owned(), 1)].into());
    // What is so already is acknowledged with the event that made it so.
    let again = world.ok("cat", &conv, react(4, "+1", true));
    assert_eq!(place(&again), (set.s, 0, 0, true));
    assert_eq!(counts(&world)["+1"], 2);
    let off = world.ok("cat", &conv, react(4, "+1", false));
    assert!(matches!(event(&off.events[0]), Event::React(react) if !react.on && react.k == "+1"));
    assert_eq!(counts(&world)["+1"], 1);
    let again = world.ok("cat", &conv, react(4, "+1", false));
    assert_eq!(place(&again), (0, 0, 0, true));
    world.ok("own", &conv, react(4, "+1", false));
    assert_eq!(counts(&world), [("ø".to_owned(), 1)].into());
}

#[test]
fn a_key_used_again_gives_the_first_result_also_of_what_made_no_event() {
    let mut world = World::new();
    let conv = group(&mut world);
    let run = |world: &mut World, op: &Op| {
        done(world.apply(Command {
            conv: conv.clone(),
            user: u("bob"),
            cid: Some("same".parse().unwrap()),
            skip: 0,
            op: op.clone(),
        }))
    };
    let first = run(&mut world, &react(4, "+1", false));
    world.now_ms += 1_000;
    for op in [
        react(4, "+1", true),
        edit(4, "x"),
        Op::Delete { of: 4 },
        text("x"),
    ] {
        let again = run(&mut world, &op);
        assert_eq!(
            again,
            Applied {
                dup: true,
                ..first.clone()
            }
        );
    }
    assert_eq!(messages(&world, &conv, "bob").len(), 1);
}

#[test]
fn what_grows_with_a_message_is_bounded() {
    let mut world = World::new();
    let conv = group(&mut world);
    for i in 0..limits::REACTIONS {
        world.ok("bob", &conv, react(4, &format!("k{i}"), true));
    }
    assert_eq!(
        world.no("bob", &conv, react(4, "one more", true)),
        ErrorCode::Conflict
    );
    world.ok("cat", &conv, react(4, "k0", true));
    for i in 0..limits::EDITS {
        world.ok("bob", &conv, edit(4, &format!("s3cret {i}")));
    }
    assert_eq!(world.no("bob", &conv, edit(4, "one more")), ErrorCode::Conflict);
    for k in ["", "a\nb", &"x".repeat(limits::REACTION_BYTES + 1)] {
        assert_eq!(world.no("bob", &conv, react(4, k, true)), ErrorCode::BadRequest);
    }
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat(limits::BODY_BYTES)).into();
    assert_eq!(
        world.no(
            "bob",
            &conv,
            Op::Edit {
                of: 4,
                body,
                mentions: None
            }
        ),
        ErrorCode::TooLarge
    );
    let body = "{\"x\"}".into();
    assert!(matches!(
        world.run(
            "bob",
            &conv,
            Op::Edit {
                of: 4,
                body,
                mentions: None
            }
        ),
        Outcome::Bad(_)
    ));
    world.ok("bob", &conv, Op::Delete { of: 4 });
    assert!(!stored(&world, "s3cret"));
}

#[test]
fn a_mention_counts_for_members_until_it_is_read_or_deleted() {
    let mut world = World::new();
    let conv = group(&mut world);
    let counts = |world: &World, user: &str| {
        let summary = read::summary(&world.rows, &conv, &u(user)).unwrap();
        (summary.unread, summary.mentions)
    };
    let first = world
        .ok("own", &conv, mention("hey", &["bob", "cat", "eve", "own", "bob"]))
        .s;
    let second = world.ok("own", &conv, mention("hey", &["bob"])).s;
    assert_eq!((counts(&world, "bob"), counts(&world, "cat")), ((2, 2), (3, 1)));
    assert_eq!(counts(&world, "own"), (0, 0));
    // An edit that doesn't say whom it mentions changes nothing of it.
    world.ok("own", &conv, edit(first, "ho"));
    assert_eq!(counts(&world, "bob"), (2, 2));
    // A deleted message is nothing to be read, and mentions nobody.
    world.ok("own", &conv, Op::Delete { of: first });
    assert_eq!((counts(&world, "bob"), counts(&world, "cat")), ((1, 1), (2, 0)));
    world.ok("bob", &conv, Op::Read { s: second });
    assert_eq!(counts(&world, "bob"), (0, 0));
    world.ok("own", &conv, Op::Delete { of: second });
    assert_eq!(counts(&world, "bob"), (0, 0));
}

#[test]
fn messages_are_paged_however_many_other_events_lie_between() {
    let mut world = World::new();
    let conv = world.group("ch_1", &["own", "bob"]);
    let mut sent = Vec::new();
    for round in 0..6u64 {
        for i in 0..round * 40 {
            world.ok("bob", &conv, react(3, &format!("k{}", i % 2), i % 4 < 2));
        }
        sent.push(world.ok("own", &conv, text("x")).s);
        if round == 0 {
            assert_eq!(sent, [3]);
        }
    }
    for i in 0..100u64 {
        world.ok("bob", &conv, react(3, "z", i % 2 == 0));
    }
    let page = |page, limit| {
        let page = read::messages(&world.rows, &conv, &u("bob"), page, limit).unwrap();
        let items = page.wire(&conv).unwrap().items;
        (
            items.iter().map(|message| message.s).collect::<Vec<_>>(),
            page.more,
        )
    };
    assert_eq!(page(Page::Newest, 100), (sent.clone(), false));
    assert_eq!(page(Page::After(0), 100), (sent.clone(), false));
    for limit in 1..=6 {
        assert_eq!(page(Page::Newest, limit), (sent[6 - limit..].to_vec(), limit < 6));
        assert_eq!(page(Page::After(0), limit), (sent[..limit].to_vec(), limit < 6));
    }
    for (i, s) in sent.iter().enumerate() {
        assert_eq!(page(Page::Before(*s), 100), (sent[..i].to_vec(), false));
        assert_eq!(page(Page::After(*s), 100), (sent[i + 1..].to_vec(), false));
    }
    assert_eq!(page(Page::After(u64::MAX), 5), (vec![], false));
    assert_eq!(page(Page::Before(0), 5), (vec![], false));
}

#[test]
fn a_newcomer_reads_no_words_of_a_message_from_before_in_an_edit_of_it() {
    let mut world = World::new();
    let conv = group(&mut world);
    world.ok("own", &conv, Op::Invite { who: u("new") });
    world.ok("bob", &conv, edit(4, "s3cret old words"));
    let later = world.ok("bob", &conv, text("for all")).s;
    let last = world.ok("bob", &conv, edit(later, "for all, edited")).s;
    let words = |user: &str| {
        let (rows, who) = (&world.rows, u(user));
        let history = |page| read::history(rows, &conv, &who, page, 50).unwrap().events;
        let mut shown = vec![
            history(Page::Newest),
            history(Page::After(3)),
            history(Page::Before(u64::MAX)),
            read::sync(rows, &conv, &who, Some(3), 50).unwrap().events,
            read::open(rows, &conv, &who, Some(0), 50)
                .unwrap()
                .events
                .unwrap(),
        ];
        shown
            .iter_mut()
            .for_each(|events| events.retain(|tail| tail.starts_with(b"\"t\":\"edit\"")));
        let shown = shown.into_iter().map(|events| {
            let bodies = events.iter().map(|tail| match super::parse(tail) {
                Event::Edit(edit) => (edit.b.as_str().to_owned(), edit.deleted),
                other => panic!("{other:?}"),
            });
            bodies.collect::<Vec<_>>()
        });
        shown.collect::<Vec<_>>()
    };
    let edited = |text: &str, deleted| (text.to_owned(), deleted);
    let new = [edited("{}", true), edited(r#"{"text":"for all, edited"}"#, false)];
    assert!(
        words("new").iter().all(|shown| *shown == new),
        "{:?}",
        words("new")
    );
    let old = [edited(r#"{"text":"s3cret old words"}"#, false), new[1].clone()];
    assert!(
        words("cat").iter().all(|shown| *shown == old),
        "{:?}",
        words("cat")
    );
    // Where everybody reads everything, so does the newcomer.
    let history = Some(protocol::History::All);
    let (title, muted, pinned) = (None, None, None);
    world.ok(
        "own",
        &conv,
        Op::Set {
            title,
            history,
            muted,
            pinned,
        },
    );
    let page = read::history(&world.rows, &conv, &u("new"), Page::Before(last), 50).unwrap();
    assert!(
        page.events
            .iter()
            .any(|tail| tail.windows(6).any(|part| part == b"s3cret"))
    );
}

#[test]
fn the_last_line_of_a_newcomers_inbox_holds_no_words_from_before() {
    let mut world = World::new();
    let conv = group(&mut world);
    world.ok("own", &conv, Op::Invite { who: u("new") });
    world.ok("bob", &conv, edit(4, "s3cret old words"));
    let holds = |user: &str| {
        let line = read::summary(&world.rows, &conv, &u(user))
            .unwrap()
            .wire()
            .unwrap();
        line.last.is_some_and(|last| last.as_str().contains("s3cret"))
    };
    assert!(!holds("new") && holds("bob"));
}

#[test]
fn spellings_of_one_reaction_are_counted_together() {
    let mut world = World::new();
    let conv = group(&mut world);
    let (coloured, plain) = ("\u{2764}\u{fe0f}", "\u{2764}");
    world.ok("own", &conv, react(4, coloured, true));
    let second = world.ok("bob", &conv, react(4, plain, true));
    // Whoever comes first says how it is spelled, so that everybody counts the same.
    assert!(matches!(event(&second.events[0]), Event::React(react) if react.k == coloured));
    assert_eq!(
        messages(&world, &conv, "cat")[0].reactions,
        [(coloured.to_owned(), 2)].into()
    );
    assert!(world.ok("bob", &conv, react(4, coloured, true)).dup);
    world.ok("own", &conv, react(4, plain, false));
    assert_eq!(
        messages(&world, &conv, "cat")[0].reactions,
        [(coloured.to_owned(), 1)].into()
    );
    world.ok("bob", &conv, react(4, coloured, false));
    assert!(messages(&world, &conv, "cat")[0].reactions.is_empty());
    world.ok("bob", &conv, react(4, plain, true));
    assert_eq!(
        messages(&world, &conv, "cat")[0].reactions,
        [(plain.to_owned(), 1)].into()
    );
    for k in ["\u{fe0f}", "\u{200b}", "a\u{202e}"] {
        assert_eq!(
            world.no("bob", &conv, react(4, k, true)),
            ErrorCode::BadRequest,
            "{k:?}"
        );
    }
}
