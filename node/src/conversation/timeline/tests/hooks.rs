//! What the hook is to be told, and what becomes of it.

use protocol::{ConvId, ErrorCode, Role};

use super::super::read::{self, ToTell};
use super::super::{Command, Op};
use super::{World, done, text, u};

fn switch(world: &mut World, members: u64) {
    done(world.apply(Command::hooks(Op::HooksOn { members })));
}

fn waiting(world: &World) -> (u64, Vec<ToTell>) {
    let found = read::to_tell(&world.rows, 100).unwrap();
    (found.all, found.oldest)
}

fn hook(name: &str, on: bool) -> Op {
    let name = name.into();
    Op::Hook { name, on }
}

fn send(world: &mut World, conv: &ConvId) -> u64 {
    world.ok("alice", conv, text("x")).s
}

#[test]
fn an_intent_is_written_with_each_message_once_the_owner_has_said_so() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob", "carol"]);
    send(&mut world, &conv);
    assert_eq!(waiting(&world), (0, vec![]), "nobody has asked for it");
    switch(&mut world, 256);
    let s = send(&mut world, &conv);
    world.ok(
        "bob",
        &conv,
        Op::React {
            of: s,
            k: "+1".into(),
            on: true,
            who: None,
        },
    );
    world.ok(
        "carol",
        &conv,
        Op::Set {
            title: None,
            history: None,
            muted: Some(true),
            pinned: None,
        },
    );
    let (all, oldest) = waiting(&world);
    let [told] = &oldest[..] else {
        panic!("one message: {oldest:?}")
    };
    assert_eq!((all, &told.conv, told.tail.is_some()), (1, &conv, true));
    let members: Vec<_> = told
        .members
        .iter()
        .map(|away| (away.user.as_str(), away.muted))
        .collect();
    assert_eq!(members, [("bob", false), ("carol", true)], "all but the author");
    // One who has read it is not told of it.
    world.ok("bob", &conv, Op::Read { s });
    assert_eq!(waiting(&world).1[0].members.len(), 1);
    // The outbox of memberships is another one.
    assert!(read::outbox(&world.rows, None, 100).unwrap().len() == 3);
    let id = told.id;
    for _ in 0..2 {
        done(world.apply(Command::hooks(Op::HooksTold { ids: vec![id] })));
        assert_eq!(waiting(&world), (0, vec![]), "and a repetition does no harm");
    }
    switch(&mut world, 0);
    send(&mut world, &conv);
    assert_eq!(waiting(&world).0, 0);
}

#[test]
fn the_hooks_of_a_conversation_need_no_word_of_the_owner() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let before = send(&mut world, &conv);
    world.ok("alice", &conv, hook("ci", true));
    let first = send(&mut world, &conv);
    let second = send(&mut world, &conv);
    let (all, oldest) = waiting(&world);
    let told = |s: u64| {
        let place = format!("\"s\":{s},");
        let holds = |told: &&ToTell| String::from_utf8_lossy(told.tail.as_ref().unwrap()).contains(&place);
        oldest.iter().filter(holds).count()
    };
    assert_eq!((all, told(before), told(first), told(second)), (2, 0, 1, 1));
    assert!(
        oldest.iter().all(|told| told.members.is_empty()),
        "nobody is said to be away"
    );
    switch(&mut world, 0);
    send(&mut world, &conv);
    assert_eq!(waiting(&world).0, 3, "whatever an owner without a hook says");
}

#[test]
fn what_is_gone_is_not_told() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    switch(&mut world, 256);
    let first = send(&mut world, &conv);
    let second = send(&mut world, &conv);
    world.ok("alice", &conv, Op::Delete { of: second });
    for _ in 0..4 {
        done(world.apply(Command::retain(conv.clone(), first + 1)));
    }
    let (all, oldest) = waiting(&world);
    assert_eq!(all, 2);
    assert!(
        oldest
            .iter()
            .all(|told| told.tail.is_none() && told.members.is_empty())
    );
}

#[test]
fn of_a_large_conversation_only_those_who_asked_are_told() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob", "carol"]);
    switch(&mut world, 2);
    send(&mut world, &conv);
    assert_eq!(waiting(&world).0, 0);
    world.ok("alice", &conv, hook("ci", true));
    world.ok("alice", &conv, hook("archive", true));
    send(&mut world, &conv);
    let (all, oldest) = waiting(&world);
    assert_eq!(
        (all, &oldest[0].hooks[..]),
        (1, &["archive".to_owned(), "ci".to_owned()][..])
    );
    assert!(oldest[0].members.is_empty());
    world.ok("alice", &conv, hook("ci", false));
    world.ok("alice", &conv, hook("archive", false));
    send(&mut world, &conv);
    assert_eq!(waiting(&world).0, 1);
}

#[test]
fn owners_and_admins_say_who_is_told() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob", "carol"]);
    assert_eq!(world.no("bob", &conv, hook("ci", true)), ErrorCode::Forbidden);
    assert_eq!(world.no("mallory", &conv, hook("ci", true)), ErrorCode::NotMember);
    let role = Role::Admin;
    world.ok("alice", &conv, Op::SetRole { who: u("bob"), role });
    let applied = world.ok("bob", &conv, hook("ci", true));
    assert_eq!((applied.s, applied.events.len()), (0, 0), "no event");
    for name in ["", "a b", "x/y", &"n".repeat(33)] {
        assert_eq!(
            world.no("bob", &conv, hook(name, true)),
            ErrorCode::BadRequest,
            "{name}"
        );
    }
    for i in 1..8 {
        world.ok("bob", &conv, hook(&format!("h{i}"), true));
    }
    assert_eq!(world.no("bob", &conv, hook("h9", true)), ErrorCode::Conflict);
    // What is so already is no conflict.
    world.ok("bob", &conv, hook("h1", true));
    world.ok("bob", &conv, hook("none", false));
}
