//! What there is to read: unread messages and mentions, and positions that the log doesn't have.

use protocol::{ConvId, ErrorCode, Event, Kind};
use storage::{Order, Table};

use super::super::door::Rows;
use super::super::read::{self, Page};
use super::super::{Command, Op, keys};
use super::{World, create, done, event, text, u};

/// A group whose messages `ann` writes, the first at `s` = 3.
fn group(world: &mut World, messages: u64) -> ConvId {
    let conv = world.group("g_1", &["ann", "bob"]);
    for i in 0..messages {
        world.ok("ann", &conv, text(&format!("m{i}")));
    }
    conv
}

fn unread(world: &World, conv: &ConvId, user: &str) -> (u64, u64) {
    let row = read::summary(&world.rows, conv, &u(user)).unwrap();
    (row.unread, row.mentions)
}

#[test]
fn a_deleted_message_is_not_unread() {
    let mut world = World::new();
    let conv = group(&mut world, 3);
    assert_eq!(unread(&world, &conv, "bob").0, 3);
    for (of, left) in [(4, 2), (3, 1), (5, 0)] {
        world.ok("ann", &conv, Op::Delete { of });
        assert_eq!(unread(&world, &conv, "bob").0, left);
    }
    world.ok("ann", &conv, text("more"));
    assert_eq!(unread(&world, &conv, "bob").0, 1);
}

#[test]
fn what_was_read_before_it_was_deleted_is_not_taken_off_twice() {
    let mut world = World::new();
    let conv = group(&mut world, 4);
    world.ok("bob", &conv, Op::Read { s: 4 });
    world.ok("ann", &conv, Op::Delete { of: 3 });
    assert_eq!(unread(&world, &conv, "bob").0, 2);
    world.ok("ann", &conv, Op::Delete { of: 6 });
    assert_eq!(unread(&world, &conv, "bob").0, 1);
}

#[test]
fn unread_is_exact_however_many_messages_were_deleted() {
    let mut world = World::new();
    let count = 5_000;
    let conv = group(&mut world, count);
    // `s` is the ordinal and 2.
    let is_deleted = |mn: u64| mn.is_multiple_of(3) || (1_000..1_400).contains(&mn) || mn == count;
    for mn in (1..=count).filter(|mn| is_deleted(*mn)) {
        world.ok("ann", &conv, Op::Delete { of: mn + 2 });
    }
    let mut at = 2;
    for step in [0, 1, 61, 64, 700, 300, 2_000, 1, 1_800] {
        at += step;
        world.ok("bob", &conv, Op::Read { s: at });
        let expected = (at - 1..=count).filter(|mn| !is_deleted(*mn)).count();
        assert_eq!(
            unread(&world, &conv, "bob").0 as usize,
            expected,
            "read up to {at}"
        );
    }
}

#[test]
fn what_counts_deleted_messages_goes_with_them() {
    let mut world = World::new();
    let conv = group(&mut world, 400);
    for of in 3..=400 {
        world.ok("ann", &conv, Op::Delete { of });
    }
    let counts = |world: &World| {
        let (start, end) = (keys::deleted(&conv, 0, 0), keys::deleted(&conv, u8::MAX, 0));
        let rows = world
            .rows
            .scan(Table::Message, &start..&end, Order::Ascending, usize::MAX);
        rows.unwrap().len()
    };
    // One each, and one for each 64 but the first.
    assert_eq!(counts(&world), 398 + 6);
    let last = world.ok("ann", &conv, text("the last")).s;
    for _ in 0..40 {
        done(world.apply(Command::retain(conv.clone(), last)));
    }
    // What stands for others too is left.
    assert_eq!(counts(&world), 1);
    assert_eq!(unread(&world, &conv, "bob").0, 1);
}

#[test]
fn mentions_follow_edits() {
    let mut world = World::new();
    let conv = world.group("g_1", &["ann", "bob", "cat"]);
    let mention = |who: &[&str]| who.iter().map(|who| u(who)).collect::<Vec<_>>();
    let edit = |of, mentions: Option<Vec<_>>| Op::Edit {
        of,
        body: "{}".into(),
        mentions,
    };
    let of = world.ok("ann", &conv, text("hi")).s;
    let counted = |world: &World| ["ann", "bob", "cat"].map(|user| unread(world, &conv, user).1);
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
        world.ok("ann", &conv, edit(of, mentions.clone()));
        assert_eq!(counted(&world), expected, "{mentions:?}");
    }
    let page = read::messages(&world.rows, &conv, &u("cat"), Page::Newest, 9).unwrap();
    assert_eq!(
        page.wire(&conv).unwrap().items[0].mentions,
        mention(&["bob", "eve"])
    );
    // An older message comes after a newer one, and is before it.
    let newer = world.ok("ann", &conv, text("newer")).s;
    world.ok("ann", &conv, edit(newer, Some(mention(&["bob"]))));
    assert_eq!(counted(&world), [0, 2, 0]);
    world.ok("bob", &conv, Op::Read { s: of });
    assert_eq!(counted(&world), [0, 1, 0]);
    // What was read alerts nobody any more.
    world.ok("ann", &conv, edit(of, Some(mention(&["bob", "cat"]))));
    assert_eq!(counted(&world), [0, 1, 1]);
    world.ok("ann", &conv, Op::Delete { of: newer });
    world.ok("ann", &conv, Op::Delete { of });
    assert_eq!(counted(&world), [0, 0, 0]);
}

#[test]
fn owners_and_admins_take_back_the_reactions_of_those_who_left() {
    let mut world = World::new();
    let conv = world.group("g_1", &["own", "bob", "cat"]);
    let of = world.ok("cat", &conv, text("hi")).s;
    let react = |on, who: Option<&str>| Op::React {
        of,
        k: "+1".into(),
        on,
        who: who.map(u),
    };
    for user in ["bob", "cat"] {
        world.ok(user, &conv, react(true, None));
    }
    world.ok("bob", &conv, Op::Leave);
    assert_eq!(
        world.no("cat", &conv, react(false, Some("bob"))),
        ErrorCode::Forbidden
    );
    assert_eq!(
        world.no("own", &conv, react(true, Some("bob"))),
        ErrorCode::BadRequest
    );
    let taken = world.ok("own", &conv, react(false, Some("bob")));
    let Event::React(shown) = event(&taken.events[0]) else {
        panic!("{taken:?}")
    };
    let by = shown.by.as_ref().map(protocol::UserId::as_str);
    assert_eq!((shown.u.as_str(), by, shown.on), ("bob", Some("own"), false));
    let page = read::messages(&world.rows, &conv, &u("cat"), Page::Newest, 9).unwrap();
    assert_eq!(
        page.wire(&conv).unwrap().items[0].reactions,
        [("+1".to_owned(), 1)].into()
    );
    assert!(
        world.ok("own", &conv, react(false, Some("bob"))).dup,
        "it is so already"
    );
    // One's own by name is one's own.
    let own = world.ok("cat", &conv, react(false, Some("cat")));
    assert!(matches!(event(&own.events[0]), Event::React(own) if own.by.is_none()));
}

#[test]
fn a_position_beyond_the_log_has_a_gap_and_the_newest_events() {
    let mut world = World::new();
    let conv = group(&mut world, 3);
    for have in [6, 100, u64::MAX] {
        let window = read::sync(&world.rows, &conv, &u("bob"), Some(have), 50).unwrap();
        assert_eq!(
            (window.gap, window.events.len(), window.as_of),
            (true, 5, 5),
            "{have}"
        );
        let view = read::open(&world.rows, &conv, &u("bob"), Some(have), 50).unwrap();
        assert_eq!(
            (view.gap, view.events.map(|events| events.len())),
            (true, Some(5))
        );
    }
    let window = read::sync(&world.rows, &conv, &u("bob"), Some(5), 50).unwrap();
    assert_eq!((window.gap, window.events.len()), (false, 0));
    for (after, gap) in [(0, false), (5, false), (6, true), (u64::MAX, true)] {
        let page = read::history(&world.rows, &conv, &u("bob"), Page::After(after), 50).unwrap();
        assert_eq!((page.gap, page.more), (gap, false), "{after}");
        let page = read::messages(&world.rows, &conv, &u("bob"), Page::After(after), 50).unwrap();
        assert_eq!((page.gap, page.more), (gap, false), "{after}");
    }
    let page = read::history(&world.rows, &conv, &u("bob"), Page::Before(u64::MAX), 50).unwrap();
    assert_eq!((page.gap, page.events.len()), (false, 5));
}

#[test]
fn one_may_write_to_oneself() {
    let mut world = World::new();
    let conv = ConvId::direct(&u("ann"), &u("ann"));
    let note = Op::Send {
        direct: Some(u("ann")),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    };
    let sent = world.ok("ann", &conv, note.clone());
    assert_eq!((sent.s, sent.mn, sent.events.len()), (2, 1, 2));
    assert_eq!(world.ok("ann", &conv, note).s, 3);
    let view = read::open(&world.rows, &conv, &u("ann"), Some(0), 50).unwrap();
    assert_eq!((view.members, view.kind, view.gap), (1, Kind::Direct, false));
    let peer = view.peer.expect("whom it is with");
    assert_eq!((peer.user.as_str(), peer.read), ("ann", 3));
    assert_eq!(unread(&world, &conv, "ann"), (0, 0));
    assert!(world.ok("ann", &conv, create(Kind::Direct, &["ann"])).dup);
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::NotMember);
    // Making it is as good as writing to it.
    let own = ConvId::direct(&u("bob"), &u("bob"));
    assert_eq!(world.ok("bob", &own, create(Kind::Direct, &["bob"])).s, 1);
}

#[test]
fn the_author_may_delete_an_own_message_after_leaving_and_coming_back() {
    let mut world = World::new();
    let conv = world.group("g_1", &["own", "bob", "cat"]);
    let (mine, others) = (
        world.ok("bob", &conv, text("mine")).s,
        world.ok("cat", &conv, text("x")).s,
    );
    world.ok("bob", &conv, Op::Leave);
    world.ok("own", &conv, Op::Invite { who: u("bob") });
    assert_eq!(
        world.no("bob", &conv, Op::Delete { of: others }),
        ErrorCode::NotFound
    );
    let first = world.ok("bob", &conv, Op::Delete { of: mine });
    assert!(first.s > 0 && !first.dup);
    // What retention took is not there for the author either.
    let gone = world.ok("bob", &conv, text("gone")).s;
    world.ok("bob", &conv, text("stays"));
    for _ in 0..20 {
        done(world.apply(Command::retain(conv.clone(), gone + 1)));
    }
    assert_eq!(
        world.no("bob", &conv, Op::Delete { of: gone }),
        ErrorCode::NotFound
    );
}
