//! Direct conversations and `create`'s key.

use protocol::{Cid, ConvId, ErrorCode, Event, Kind, Role};

use super::super::read;
use super::super::{Command, Effect, Op};
use super::{World, create, done, event, text, u};

fn to(peer: &str, body: &str) -> Op {
    Op::Send {
        direct: Some(u(peer)),
        body: body.into(),
        reply_to: None,
        mentions: vec![],
    }
}

#[test]
fn a_send_to_a_user_makes_the_direct_conversation_once() {
    let mut world = World::new();
    let conv = ConvId::direct(&u("alice"), &u("bob"));
    assert_eq!(
        world.no("alice", &conv, text("by c, before it is there")),
        ErrorCode::NotMember
    );
    let applied = world.ok("alice", &conv, to("bob", "{}"));
    assert_eq!((applied.s, applied.mn, applied.events.len()), (3, 1, 3));
    assert_eq!(applied.events[0].adds, Some(u("alice")));
    assert_eq!(applied.events[1].adds, Some(u("bob")));
    assert!(matches!(event(&applied.events[2]), Event::Msg(msg) if msg.s == 3 && msg.mn == 1));

    let back = world.ok("bob", &conv, to("alice", "{}"));
    assert_eq!((back.s, back.mn, back.events.len()), (4, 2, 1));
    assert_eq!(world.ok("bob", &conv, text("by c")).s, 5);
    assert_eq!(
        read::role(&world.rows, &conv, &u("bob")).unwrap(),
        Some(Role::Member)
    );
}

#[test]
fn a_direct_conversation_keeps_its_two_members() {
    let mut world = World::new();
    let conv = ConvId::direct(&u("alice"), &u("bob"));
    world.ok("alice", &conv, create(Kind::Direct, &["bob"]));
    for op in [
        Op::Leave,
        Op::Kick { who: u("bob") },
        Op::Invite { who: u("eve") },
    ] {
        assert_eq!(world.no("alice", &conv, op), ErrorCode::Forbidden);
    }
    assert_eq!(world.no("eve", &conv, to("bob", "{}")), ErrorCode::NotMember);
}

#[test]
fn both_sides_may_create_it_and_get_the_same() {
    let mut world = World::new();
    let conv = ConvId::direct(&u("alice"), &u("bob"));
    assert!(!world.ok("alice", &conv, create(Kind::Direct, &["bob"])).dup);
    let again = world.ok("bob", &conv, create(Kind::Direct, &["alice"]));
    assert!(again.dup && again.events.is_empty());
}

#[test]
fn a_direct_conversation_needs_exactly_one_user() {
    let mut world = World::new();
    let conv = ConvId::direct(&u("alice"), &u("bob"));
    for members in [&[][..], &["alice"], &["bob", "carol"], &["alice", "carol"]] {
        assert_eq!(
            world.no("alice", &conv, create(Kind::Direct, members)),
            ErrorCode::BadRequest
        );
    }
    let own = ConvId::direct(&u("alice"), &u("alice"));
    assert_eq!(world.no("alice", &own, to("bob", "{}")), ErrorCode::BadRequest);
    assert_eq!(world.no("bob", &own, to("alice", "{}")), ErrorCode::BadRequest);
    assert_eq!(world.no("alice", &conv, to("carol", "{}")), ErrorCode::BadRequest);
    assert!(world.rows.0.is_empty());
}

#[test]
fn the_key_of_a_create_stands_for_the_first_conversation() {
    let mut world = World::new();
    let reserve = |user: &str, conv: &str| {
        let (conv, cid) = (ConvId::parse(conv).unwrap(), Some(Cid::parse("k").unwrap()));
        Command {
            conv,
            user: u(user),
            cid,
            skip: 0,
            op: Op::Reserve,
        }
    };
    let g1 = Effect::Reserved(ConvId::parse("g_1").unwrap());
    let first = done(world.apply(reserve("alice", "g_1")));
    assert_eq!((first.effect, first.dup), (g1.clone(), false));
    let again = done(world.apply(reserve("alice", "ch_2")));
    assert_eq!((again.effect, again.dup), (g1, true));
    let other = done(world.apply(reserve("bob", "g_3")));
    assert_eq!(other.effect, Effect::Reserved(ConvId::parse("g_3").unwrap()));
}
