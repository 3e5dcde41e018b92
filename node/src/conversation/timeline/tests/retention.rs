//! What is left when old events go, and what everybody is told of it.

use std::time::Duration;

use protocol::{ConvId, ErrorCode, Event};
use storage::{Order, Table};

use super::super::apply::RETAIN_STEP;
use super::super::door::Rows;
use super::super::read::{self, Logged, Page, Policies, Policy};
use super::super::{Command, Op, Outcome};
use super::{World, done, parse, text, u};

fn seqs(tails: &[bytes::Bytes]) -> Vec<u64> {
    tails.iter().map(|tail| parse(tail).place().unwrap().1).collect()
}

fn places(events: &[Logged]) -> Vec<u64> {
    events.iter().map(|event| event.s).collect()
}

/// Lets go of events below `below` until nothing is left to be removed.
fn retain(world: &mut World, conv: &ConvId, below: u64) -> usize {
    for steps in 0.. {
        let before = world.rows.clone();
        done(world.apply(Command::retain(conv.clone(), below)));
        if world.rows == before {
            return steps;
        }
    }
    unreachable!("it ends")
}

/// The first event that is still there.
fn floor(world: &World, conv: &ConvId) -> u64 {
    read::open(&world.rows, conv, &u("bob"), Some(0), 50)
        .unwrap()
        .floor
}

/// The rows of the log, and of what belongs to its messages.
fn rows(world: &World, conv: &ConvId) -> usize {
    let start = conv.as_str().as_bytes();
    let end = [start, &[3]].concat();
    let rows = world
        .rows
        .scan(Table::Message, start..&end, Order::Ascending, usize::MAX);
    rows.unwrap().len()
}

/// A group of alice and bob with messages 3 to `last`.
fn group(world: &mut World, last: u64) -> ConvId {
    let conv = world.group("g_1", &["alice", "bob"]);
    for s in 3..=last {
        assert_eq!(world.ok("alice", &conv, text(&format!("{s}"))).s, s);
    }
    conv
}

#[test]
fn what_goes_is_said_to_be_gone_and_never_skipped_in_silence() {
    let mut world = World::new();
    let conv = group(&mut world, 20);
    retain(&mut world, &conv, 11);
    let (rows, alice) = (&world.rows, u("alice"));
    let history = |page| {
        let page = read::history(rows, &conv, &alice, page, 50).unwrap();
        (seqs(&page.events), page.more)
    };
    assert_eq!(history(Page::Newest), ((11..=20).collect(), false));
    assert_eq!(history(Page::Before(11)), (vec![], false));
    assert_eq!(history(Page::After(15)), ((16..=20).collect(), false));
    // Events name their places: a client that asked from 4 sees that they begin later.
    assert_eq!(history(Page::After(4)), ((11..=20).collect(), false));
    for (have, gap) in [(4, true), (9, true), (10, false), (15, false)] {
        let window = read::sync(rows, &conv, &alice, Some(have), 50).unwrap();
        assert_eq!((window.gap, window.as_of), (gap, 20), "{have}");
        assert_eq!(
            seqs(&window.events),
            ((have + 1).max(11)..=20).collect::<Vec<_>>()
        );
        let view = read::open(rows, &conv, &alice, Some(have), 50).unwrap();
        assert_eq!((view.gap, view.floor), (gap, 11));
    }
    assert!(read::sync(rows, &conv, &alice, None, 50).unwrap().gap);
    // A node that missed the live events is told where they go on.
    let events = read::range(rows, &conv, 4, 3).unwrap();
    assert_eq!(places(&events), [11, 12, 13]);
    assert_eq!(read::range(rows, &conv, 20, 3).unwrap(), []);
    // The numbers go on.
    let applied = world.ok("bob", &conv, text("on"));
    assert_eq!((applied.s, applied.mn), (21, 19));
}

#[test]
fn unread_counts_what_is_there() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let mention = || Op::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: vec![u("bob")],
    };
    for _ in 3..=12 {
        world.ok("alice", &conv, mention());
    }
    let unread = |world: &World| {
        let line = read::summary(&world.rows, &conv, &u("bob")).unwrap();
        (line.unread, line.mentions, line.read)
    };
    assert_eq!(unread(&world), (10, 10, 2));
    retain(&mut world, &conv, 8);
    assert_eq!(unread(&world), (5, 5, 2));
    // A place that is gone can be read: it says no more than that.
    world.ok("bob", &conv, Op::Read { s: 5 });
    assert_eq!(unread(&world), (5, 5, 5));
    world.ok("bob", &conv, Op::Read { s: 9 });
    assert_eq!(unread(&world), (3, 3, 9));
    retain(&mut world, &conv, 13);
    assert_eq!(unread(&world), (0, 0, 9));
    world.ok("alice", &conv, mention());
    assert_eq!(unread(&world), (1, 1, 9));
}

#[test]
fn the_last_event_keeps_its_place_and_loses_its_words() {
    let mut world = World::new();
    let conv = group(&mut world, 6);
    retain(&mut world, &conv, 100);
    let line = read::summary(&world.rows, &conv, &u("bob")).unwrap();
    let Event::Msg(last) = parse(&line.message.unwrap().tail) else {
        panic!("a message")
    };
    assert_eq!((last.s, last.b.as_str(), last.deleted), (6, "{}", true));
    assert_eq!((line.unread, line.last.s), (0, 6));
    let page = read::messages(&world.rows, &conv, &u("bob"), Page::Newest, 50).unwrap();
    assert!(page.wire(&conv).unwrap().items[0].deleted);
    let react = Op::React {
        of: 6,
        k: "+1".into(),
        on: true,
        who: None,
    };
    assert_eq!(world.no("bob", &conv, react), ErrorCode::Conflict);
    // The next one frees its place.
    assert_eq!(world.ok("bob", &conv, text("next")).s, 7);
    retain(&mut world, &conv, 7);
    assert_eq!(rows(&world, &conv), 1);
}

#[test]
fn edits_and_reactions_go_with_their_message() {
    let mut world = World::new();
    let conv = group(&mut world, 4);
    let react = |of| Op::React {
        of,
        k: "+1".into(),
        on: true,
        who: None,
    };
    let edit = |of| Op::Edit {
        of,
        body: "{\"text\":\"secret\"}".into(),
        mentions: None,
    };
    world.ok("bob", &conv, react(3));
    world.ok("bob", &conv, react(4));
    world.ok("alice", &conv, edit(3));
    assert_eq!(world.ok("alice", &conv, edit(4)).s, 8);
    retain(&mut world, &conv, 4);
    // Events 4 to 8, what has become of 4, and bob's reaction to it.
    assert_eq!(rows(&world, &conv), 7);
    let page = read::history(&world.rows, &conv, &u("bob"), Page::Newest, 50).unwrap();
    let words: Vec<_> = page.events.iter().map(parse).collect();
    assert!(
        matches!(&words[3], Event::Edit(edit) if edit.of == 3 && edit.deleted && edit.b.as_str() == "{}")
    );
    assert!(matches!(&words[4], Event::Edit(edit) if edit.of == 4 && !edit.deleted));
    let shown = read::messages(&world.rows, &conv, &u("bob"), Page::Newest, 50).unwrap();
    let shown = shown.wire(&conv).unwrap().items;
    assert_eq!((shown.len(), shown[0].reactions["+1"]), (1, 1));
    // What is gone can't be answered, changed or taken back.
    let reply = Op::Send {
        direct: None,
        body: "{}".into(),
        reply_to: Some(3),
        mentions: vec![],
    };
    for op in [react(3), edit(3), Op::Delete { of: 3 }, reply] {
        assert_eq!(
            world.no("alice", &conv, op.clone()),
            ErrorCode::NotFound,
            "{op:?}"
        );
    }
}

#[test]
fn rows_go_in_bounded_steps_while_everything_below_is_hidden_at_once() {
    let mut world = World::new();
    let last = 8 * RETAIN_STEP as u64;
    let conv = group(&mut world, last);
    let before = rows(&world, &conv);
    let below = last / 4 + 1;
    done(world.apply(Command::retain(conv.clone(), below)));
    assert_eq!(rows(&world, &conv), before - RETAIN_STEP);
    let page = read::history(&world.rows, &conv, &u("bob"), Page::Before(9), 50).unwrap();
    assert_eq!((page.events.len(), page.more), (0, false));
    let there = read::range(&world.rows, &conv, 4, 2).unwrap();
    assert_eq!(places(&there), [below, below + 1]);
    assert_eq!(retain(&mut world, &conv, below), 1);
    assert_eq!(rows(&world, &conv), before - 2 * RETAIN_STEP);
}

#[test]
fn one_step_lets_go_of_a_quarter_at_most_so_that_no_mistake_empties_a_conversation() {
    for last in [3, 4, 7, 20, 100] {
        let mut world = World::new();
        let conv = group(&mut world, last);
        let mut steps = 0;
        while floor(&world, &conv) < last {
            let (before, there) = (floor(&world, &conv), last + 1 - floor(&world, &conv));
            // The worst mistake there is: everything goes, and the words of the last event with it.
            done(world.apply(Command::retain(conv.clone(), u64::MAX)));
            let gone = floor(&world, &conv) - before;
            assert!(gone >= 1 && gone <= there.div_ceil(4), "{gone} of {there}");
            let line = read::summary(&world.rows, &conv, &u("bob")).unwrap();
            assert!(matches!(parse(&line.message.unwrap().tail), Event::Msg(message) if !message.deleted));
            steps += 1;
        }
        assert!(steps >= last.ilog2());
        done(world.apply(Command::retain(conv.clone(), u64::MAX)));
        let line = read::summary(&world.rows, &conv, &u("bob")).unwrap();
        assert!(matches!(parse(&line.message.unwrap().tail), Event::Msg(message) if message.deleted));
    }
}

#[test]
fn a_key_outlives_its_message() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let command = Command {
        conv: conv.clone(),
        user: u("alice"),
        cid: Some(world.cid()),
        skip: 0,
        op: text("once"),
    };
    let first = done(world.apply(command.clone()));
    world.ok("bob", &conv, text("x"));
    retain(&mut world, &conv, 4);
    let again = done(world.apply(command));
    assert_eq!((again.s, again.mn, again.dup), (first.s, first.mn, true));
}

#[test]
fn of_a_conversation_that_is_not_there_nothing_goes() {
    let mut world = World::new();
    let conv = ConvId::parse("g_9").unwrap();
    assert!(matches!(
        world.apply(Command::retain(conv, 5)),
        Outcome::Refused(ErrorCode::NotMember, _)
    ));
}

#[test]
fn the_policy_of_its_kind_says_what_goes() {
    let mut world = World::new();
    let group = world.group("g_1", &["alice", "bob"]);
    let channel = world.group("ch_1", &["alice"]);
    let start = world.now_ms;
    for i in 0..10 {
        world.now_ms = start + i * 1_000;
        world.ok("alice", &group, text("x"));
        world.ok("alice", &channel, text("x"));
        world.ok(
            "bob",
            &group,
            Op::React {
                of: 3,
                k: "+1".into(),
                on: i % 2 == 0,
                who: None,
            },
        );
    }
    let now = world.now_ms;
    let due = |world: &World, policies: Policies, now| {
        let due = read::due(&world.rows, None, 100, &policies, now).unwrap();
        due.items
            .into_iter()
            .map(|(conv, below)| (conv.to_string(), below))
            .collect::<Vec<_>>()
    };
    let count = |most| Policy {
        max_messages: Some(most),
        ..Policy::default()
    };
    let age = |secs| Policy {
        max_age: Some(Duration::from_secs(secs)),
        ..Policy::default()
    };
    assert_eq!(due(&world, Policies::default(), now), []);
    // Messages of the group stand at 3, 5, … 21; of the channel at 2, 3, … 11.
    let policies = Policies {
        group: count(3),
        channel: count(10),
        ..Policies::default()
    };
    assert_eq!(due(&world, policies, now), [("g_1".to_owned(), 17)]);
    let policies = Policies {
        channel: age(4),
        ..Policies::default()
    };
    assert_eq!(due(&world, policies, now), [("ch_1".to_owned(), 7)]);
    assert_eq!(due(&world, policies, start + 100_000), [("ch_1".to_owned(), 12)]);
    // The stricter of the two counts, and once it is done nothing is due.
    let both = Policy {
        max_messages: Some(2),
        ..age(4)
    };
    let policies = Policies {
        channel: both,
        ..Policies::default()
    };
    assert_eq!(due(&world, policies, now), [("ch_1".to_owned(), 10)]);
    retain(&mut world, &channel, 10);
    assert_eq!(due(&world, policies, now), []);
    retain(&mut world, &channel, 12);
    assert_eq!(due(&world, policies, start + 100_000), []);
}

#[test]
fn conversations_are_looked_at_in_pages() {
    let mut world = World::new();
    for i in 0..5 {
        let conv = world.group(&format!("g_{i}"), &["alice"]);
        world.ok("alice", &conv, text("x"));
        world.ok("alice", &conv, text("y"));
    }
    let policy = Policy {
        max_messages: Some(1),
        ..Policy::default()
    };
    let policies = Policies {
        group: policy,
        ..Policies::default()
    };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let due = read::due(&world.rows, after.as_ref(), 2, &policies, 0).unwrap();
        seen.extend(due.items.into_iter().map(|(conv, _)| conv.to_string()));
        after = due.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["g_0", "g_1", "g_2", "g_3", "g_4"]);
}
