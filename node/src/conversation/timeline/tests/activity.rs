//! The list of a user's conversations in the order of what was sent last, and how the user's shard learns of it.

use protocol::ConvId;
use protocol::answer::Last;

use super::super::read::{self, Direction};
use super::super::{Activity, Command, Effect, Op, OutboxId, Outcome};
use super::{World, done, event, text, u};

fn last(s: u64, ts: u64) -> Last {
    Last { s, mn: s, ts }
}

fn joins(id: &str, at_ms: u64) -> Command {
    Command {
        conv: ConvId::parse(id).unwrap(),
        user: u("al"),
        cid: None,
        skip: 0,
        op: Op::IndexPut {
            member: true,
            version: OutboxId { index: at_ms, n: 0 },
            at_ms,
        },
    }
}

fn active(id: &str, last: Last) -> Command {
    let items = vec![Activity {
        conv: ConvId::parse(id).unwrap(),
        last,
        large: false,
        users: vec![u("al")],
    }];
    Command::active(Op::Active { items })
}

fn list(world: &World) -> Vec<(String, u64)> {
    let placed = read::placed(&world.rows, &u("al"), None, Direction::Older, usize::MAX).unwrap();
    placed
        .into_iter()
        .map(|placed| (placed.conv.to_string(), placed.ms))
        .collect()
}

fn expected(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(id, ms)| ((*id).to_owned(), *ms)).collect()
}

fn moved(outcome: Outcome) -> usize {
    match done(outcome).effect {
        Effect::Moved(moved) => moved.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_conversation_stands_by_its_last_message_or_by_the_joining() {
    let mut world = World::new();
    for (id, at_ms) in [("g_a", 10), ("g_b", 20), ("g_c", 30)] {
        world.apply(joins(id, at_ms));
    }
    assert_eq!(list(&world), expected(&[("g_c", 30), ("g_b", 20), ("g_a", 10)]));
    assert_eq!(moved(world.apply(active("g_a", last(5, 40)))), 1);
    assert_eq!(list(&world), expected(&[("g_a", 40), ("g_c", 30), ("g_b", 20)]));
    // Told twice, or late.
    assert_eq!(moved(world.apply(active("g_a", last(5, 40)))), 0);
    assert_eq!(moved(world.apply(active("g_a", last(4, 35)))), 0);
    assert_eq!(list(&world), expected(&[("g_a", 40), ("g_c", 30), ("g_b", 20)]));
    // Put out and brought in again.
    let mut left = joins("g_a", 50);
    let Op::IndexPut { member, .. } = &mut left.op else {
        panic!()
    };
    *member = false;
    world.apply(left);
    assert_eq!(list(&world), expected(&[("g_c", 30), ("g_b", 20)]));
    world.apply(joins("g_a", 60));
    assert_eq!(list(&world), expected(&[("g_a", 60), ("g_c", 30), ("g_b", 20)]));
}

#[test]
fn a_message_that_is_told_before_the_membership_is_not_forgotten() {
    let mut world = World::new();
    assert_eq!(moved(world.apply(active("g_a", last(5, 40)))), 0);
    assert_eq!(list(&world), expected(&[]));
    world.apply(joins("g_a", 10));
    assert_eq!(list(&world), expected(&[("g_a", 40)]));
}

#[test]
fn a_brand_new_conversation_among_nine_thousand_comes_first() {
    let mut world = World::new();
    for i in 0..9_000 {
        world.apply(joins(&format!("g_{i:05}"), 1_000 + i));
    }
    // Its id sorts behind all others.
    world.apply(joins("g_z", 50_000));
    let first = read::placed(&world.rows, &u("al"), None, Direction::Older, 2).unwrap();
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
            let page = read::placed(&world.rows, &u("al"), at, direction, 700).unwrap();
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
    let mut world = World::new();
    let conv = world.group("g_1", &["al", "bo"]);
    assert_eq!(read::watched(&world.rows, &conv).unwrap(), None);
    assert_eq!(world.ok("al", &conv, text("a")).effect, Effect::Watched);
    for _ in 0..10 {
        assert_eq!(world.ok("bo", &conv, text("b")).effect, Effect::None);
    }
    assert_eq!(
        read::watches(&world.rows, None, 9).unwrap(),
        std::slice::from_ref(&conv)
    );
    let watched = read::watched(&world.rows, &conv).unwrap().unwrap();
    assert_eq!((watched.last.s, watched.last.mn, watched.members), (13, 11, 2));
    assert_eq!(
        read::members_after(&world.rows, &conv, None, 9).unwrap(),
        [u("al"), u("bo")]
    );
    assert_eq!(
        read::members_after(&world.rows, &conv, Some(&u("al")), 1).unwrap(),
        [u("bo")]
    );

    // A message that came since keeps the watch.
    let end_watch = |s| {
        Command::active(Op::EndWatch {
            items: vec![(conv.clone(), s)],
        })
    };
    world.apply(end_watch(12));
    assert!(read::watched(&world.rows, &conv).unwrap().is_some());
    world.apply(end_watch(13));
    assert_eq!(read::watched(&world.rows, &conv).unwrap(), None);
    assert_eq!(read::watches(&world.rows, None, 9).unwrap(), []);
    assert_eq!(world.ok("bo", &conv, text("c")).effect, Effect::Watched);
    // What waits for other shards is not among the entries of memberships.
    assert_eq!(read::outbox(&world.rows, None, 9).unwrap().len(), 2);
}

#[test]
fn nothing_but_a_message_moves_a_conversation() {
    let mut world = World::new();
    let conv = world.group("g_1", &["al", "bo"]);
    world.now_ms = 2_000_000;
    let s = world.ok("al", &conv, text("a")).s;
    world.now_ms = 3_000_000;
    let react = Op::React {
        of: s,
        k: "+1".into(),
        on: true,
        who: None,
    };
    let edit = Op::Edit {
        of: s,
        body: "{\"text\":\"b\"}".into(),
        mentions: None,
    };
    world.ok("bo", &conv, react);
    world.ok("al", &conv, Op::Invite { who: u("cy") });
    world.ok("al", &conv, edit);
    let line = read::summary(&world.rows, &conv, &u("bo")).unwrap();
    assert_eq!((line.last.s, line.last.ts), (s, 2_000_000));
    // And `last` is that message as it is now.
    let item = line.wire().unwrap();
    let shown = item.last.unwrap();
    assert!(
        shown.as_str().contains(r#""b":{"text":"b"}"#),
        "{}",
        shown.as_str()
    );
    // Who came in later is not shown what was before.
    let line = read::summary(&world.rows, &conv, &u("cy")).unwrap();
    assert_eq!(line.wire().unwrap().last, None);
    world.ok("al", &conv, Op::Delete { of: s });
    let item = read::summary(&world.rows, &conv, &u("bo"))
        .unwrap()
        .wire()
        .unwrap();
    assert!(item.last.unwrap().as_str().contains(r#""deleted":true"#));
    let watched = read::watched(&world.rows, &conv).unwrap().unwrap();
    assert_eq!((watched.last.s, watched.last.ts), (s, 2_000_000));
    // Nothing was sent in this one.
    let other = world.group("g_2", &["al"]);
    let line = read::summary(&world.rows, &other, &u("al")).unwrap();
    assert_eq!((line.last, line.message), (Last::default(), None));
    let joined = world.ok("al", &other, Op::Invite { who: u("bo") });
    assert!(matches!(event(&joined.events[0]), protocol::Event::Member(_)));
}
