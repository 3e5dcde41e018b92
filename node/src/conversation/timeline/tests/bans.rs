//! Who is kept out, and who comes by itself.

use protocol::event::Member;
use protocol::{ErrorCode, Event, Role, Why};

use super::super::Op;
use super::super::read::{self, Denied};
use super::{World, event, text, u};

fn ban(who: &str) -> Op {
    Op::Ban { who: u(who) }
}

fn unban(who: &str) -> Op {
    Op::Unban { who: u(who) }
}

fn banned(world: &World, conv: &protocol::ConvId) -> Vec<String> {
    let page = read::bans(&world.rows, conv, &u("alice"), None, 10).unwrap();
    page.items
        .into_iter()
        .map(|ban| format!("{} by {}", ban.user, ban.by))
        .collect()
}

#[test]
fn a_channel_is_joined_by_anybody_as_a_reader_and_a_group_by_nobody() {
    let mut world = World::new();
    let channel = world.group("ch_1", &["alice"]);
    let group = world.group("g_1", &["alice"]);
    let applied = world.ok("bob", &channel, Op::Join);
    assert_eq!((applied.s, applied.events[0].adds.clone()), (2, Some(u("bob"))));
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(Member {
            role: Some(Role::Reader),
            why: Why::Join,
            ..
        })
    ));
    assert_eq!(world.no("bob", &channel, Op::Join), ErrorCode::Conflict);
    assert_eq!(world.no("bob", &channel, text("x")), ErrorCode::Forbidden);
    assert_eq!(world.no("bob", &group, Op::Join), ErrorCode::NotMember);
    let nowhere = protocol::ConvId::parse("ch_2").unwrap();
    assert_eq!(world.no("bob", &nowhere, Op::Join), ErrorCode::NotMember);
}

#[test]
fn a_ban_removes_and_keeps_out_until_it_is_taken_back() {
    let mut world = World::new();
    let conv = world.group("ch_1", &["alice", "bob"]);
    let applied = world.ok("alice", &conv, ban("bob"));
    assert_eq!(applied.events[0].removes, Some(u("bob")));
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(Member {
            role: None,
            why: Why::Ban,
            ..
        })
    ));
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::NotMember);
    assert_eq!(world.no("bob", &conv, Op::Join), ErrorCode::Forbidden);
    assert_eq!(
        world.no("alice", &conv, Op::Invite { who: u("bob") }),
        ErrorCode::Conflict
    );
    assert_eq!(world.no("alice", &conv, ban("bob")), ErrorCode::Conflict);
    assert_eq!(banned(&world, &conv), ["bob by alice"]);

    world.ok("alice", &conv, unban("bob"));
    assert_eq!(world.no("alice", &conv, unban("bob")), ErrorCode::NotFound);
    assert!(banned(&world, &conv).is_empty());
    world.ok("bob", &conv, Op::Join);
    // He comes as he would have come at first, whatever he was before.
    assert_eq!(
        read::role(&world.rows, &conv, &u("bob")).unwrap(),
        Some(Role::Reader)
    );
}

#[test]
fn one_who_was_never_there_can_be_banned_beforehand() {
    let mut world = World::new();
    let conv = world.group("ch_1", &["alice"]);
    let applied = world.ok("alice", &conv, ban("eve"));
    assert_eq!((applied.s, applied.events.len()), (2, 1));
    assert_eq!(world.no("eve", &conv, Op::Join), ErrorCode::Forbidden);
    assert_eq!(world.no("eve", &conv, text("x")), ErrorCode::NotMember);
}

#[test]
fn the_list_of_bans_is_for_owners_and_admins_and_comes_in_pages() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    for name in ["c", "a", "b"] {
        world.ok("alice", &conv, ban(name));
    }
    let first = read::bans(&world.rows, &conv, &u("alice"), None, 2).unwrap();
    let second = read::bans(&world.rows, &conv, &u("alice"), first.next.as_ref(), 2).unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|ban| ban.user.clone())
        .collect();
    assert_eq!((names, second.next), (vec![u("a"), u("b"), u("c")], None));
    assert!(matches!(
        read::bans(&world.rows, &conv, &u("bob"), None, 2),
        Err(Denied::Forbidden(_))
    ));
    assert!(matches!(
        read::bans(&world.rows, &conv, &u("eve"), None, 2),
        Err(Denied::NotMember)
    ));
}

#[test]
fn nobody_bans_a_higher_or_equal_role_nor_themselves() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob", "carol"]);
    world.ok(
        "alice",
        &conv,
        Op::SetRole {
            who: u("bob"),
            role: Role::Admin,
        },
    );
    assert_eq!(world.no("bob", &conv, ban("alice")), ErrorCode::Forbidden);
    assert_eq!(world.no("bob", &conv, ban("bob")), ErrorCode::BadRequest);
    assert_eq!(world.no("carol", &conv, ban("nobody")), ErrorCode::Forbidden);
    assert_eq!(world.no("carol", &conv, unban("nobody")), ErrorCode::Forbidden);
    world.ok("bob", &conv, ban("carol"));
    world.ok("alice", &conv, ban("bob"));
}
