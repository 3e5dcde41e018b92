//! Who comes, who goes, and who may.

use protocol::event::Member;
use protocol::{ConvId, ErrorCode, Event, Kind, Role, Why};

use super::super::read;
use super::super::{Op, Outcome};
use super::{World, create, event, text, u};

fn invite(who: &str) -> Op {
    Op::Invite { who: u(who) }
}

fn kick(who: &str) -> Op {
    Op::Kick { who: u(who) }
}

fn role(world: &World, conv: &ConvId, user: &str) -> Option<Role> {
    read::role(&world.rows, conv, &u(user)).unwrap()
}

/// A group with an owner, an admin and two members.
fn ranked(world: &mut World) -> ConvId {
    let conv = world.group("g_1", &["owner", "admin", "bob", "carol"]);
    world.ok("owner", &conv, set_role("admin", Role::Admin));
    conv
}

fn set_role(who: &str, role: Role) -> Op {
    Op::SetRole { who: u(who), role }
}

#[test]
fn create_makes_one_event_per_initial_member_creator_first() {
    let mut world = World::new();
    let conv = ConvId::parse("g_1").unwrap();
    let applied = world.ok(
        "alice",
        &conv,
        create(Kind::Group, &["bob", "alice", "bob", "carol"]),
    );
    let expected = [
        ("alice", Role::Owner),
        ("bob", Role::Member),
        ("carol", Role::Member),
    ];
    assert_eq!((applied.s, applied.events.len()), (3, 3));
    for (i, (published, (who, role))) in applied.events.iter().zip(expected).enumerate() {
        let s = i as u64 + 1;
        let (c, u_, who) = (conv.clone(), u("alice"), u(who));
        let member = Member {
            c,
            s,
            ts: world.now_ms,
            u: u_,
            who: who.clone(),
            role: Some(role),
            why: Why::Create,
        };
        assert_eq!(event(published), Event::Member(member));
        assert_eq!(
            (published.seq, &published.adds, &published.removes),
            (s, &Some(who), &None)
        );
    }
}

#[test]
fn channels_make_readers_who_do_not_write() {
    let mut world = World::new();
    let conv = world.group("ch_1", &["alice", "bob"]);
    assert_eq!(role(&world, &conv, "bob"), Some(Role::Reader));
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::Forbidden);
    world.ok("alice", &conv, text("x"));
}

#[test]
fn a_stranger_learns_nothing() {
    let mut world = World::new();
    let there = world.group("g_1", &["alice", "bob"]);
    let nowhere = ConvId::parse("g_2").unwrap();
    for conv in [&there, &nowhere] {
        for op in [
            text("x"),
            invite("eve"),
            kick("bob"),
            Op::Leave,
            Op::Read { s: 1 },
            Op::Delivered { s: 1 },
        ] {
            let outcome = world.run("eve", conv, op);
            let expected = "not a member of this conversation".to_owned();
            assert_eq!(outcome, Outcome::Refused(ErrorCode::NotMember, expected));
        }
    }
    // Not even by making it again.
    assert_eq!(
        world.no("eve", &there, create(Kind::Group, &[])),
        ErrorCode::NotMember
    );
}

#[test]
fn invite_adds_once_and_only_by_owners_and_admins() {
    let mut world = World::new();
    let conv = ranked(&mut world);
    assert_eq!(world.no("bob", &conv, invite("dave")), ErrorCode::Forbidden);
    let applied = world.ok("admin", &conv, invite("dave"));
    assert_eq!((applied.s, applied.events[0].adds.clone()), (6, Some(u("dave"))));
    assert_eq!(world.no("owner", &conv, invite("dave")), ErrorCode::Conflict);
    assert_eq!(role(&world, &conv, "dave"), Some(Role::Member));
}

#[test]
fn nobody_removes_a_higher_or_equal_role() {
    let mut world = World::new();
    let conv = ranked(&mut world);
    assert_eq!(world.no("bob", &conv, kick("carol")), ErrorCode::Forbidden);
    assert_eq!(world.no("bob", &conv, kick("nobody")), ErrorCode::Forbidden);
    assert_eq!(world.no("admin", &conv, kick("owner")), ErrorCode::Forbidden);
    assert_eq!(world.no("admin", &conv, kick("nobody")), ErrorCode::NotFound);
    assert_eq!(world.no("admin", &conv, kick("admin")), ErrorCode::BadRequest);
    world.ok("admin", &conv, kick("bob"));
    let applied = world.ok("owner", &conv, kick("admin"));
    assert_eq!(applied.events[0].removes, Some(u("admin")));
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(Member {
            role: None,
            why: Why::Kick,
            ..
        })
    ));
}

#[test]
fn after_a_kick_nothing_of_the_user_is_accepted_even_in_the_same_batch() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let commands: Vec<_> = [
        ("bob", text("before")),
        ("alice", kick("bob")),
        ("bob", text("after")),
    ]
    .map(|(user, op)| {
        let cid = Some(world.cid());
        super::Command {
            conv: conv.clone(),
            user: u(user),
            cid,
            skip: 0,
            op,
        }
    })
    .into();
    let outcomes = world.batch(&commands);
    assert!(matches!(&outcomes[0], Outcome::Done(applied) if applied.s == 3));
    assert!(matches!(&outcomes[1], Outcome::Done(applied) if applied.s == 4));
    assert!(matches!(&outcomes[2], Outcome::Refused(ErrorCode::NotMember, _)));
    assert_eq!(world.no("bob", &conv, Op::Read { s: 1 }), ErrorCode::NotMember);
}

#[test]
fn the_last_owner_leaves_to_the_oldest_admin_else_the_oldest_member() {
    let mut world = World::new();
    let conv = ranked(&mut world);
    world.ok("owner", &conv, set_role("carol", Role::Admin));
    let applied = world.ok("owner", &conv, Op::Leave);
    // All of them are as old as the group, so the smaller id decides; the admin comes before the member.
    let events: Vec<_> = applied.events.iter().map(event).collect();
    let [Event::Member(heir), Event::Member(gone)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (&heir.who, heir.role, heir.why),
        (&u("admin"), Some(Role::Owner), Why::Role)
    );
    assert_eq!(
        (&gone.who, gone.role, gone.why, gone.s),
        (&u("owner"), None, Why::Leave, applied.s)
    );
    assert_eq!(role(&world, &conv, "admin"), Some(Role::Owner));
    world.ok("admin", &conv, Op::Leave);
    assert_eq!(role(&world, &conv, "carol"), Some(Role::Owner));
    world.ok("carol", &conv, Op::Leave);
    assert_eq!(role(&world, &conv, "bob"), Some(Role::Owner));
    world.ok("bob", &conv, Op::Leave);
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::NotMember);
}

#[test]
fn one_who_comes_again_starts_anew() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    world.ok("bob", &conv, Op::Leave);
    world.ok("alice", &conv, text("while away"));
    let s = world.ok("alice", &conv, invite("bob")).s;
    let view = read::open(&world.rows, &conv, &u("bob"), Some(0), 100).unwrap();
    assert_eq!((view.floor, view.read, view.delivered, view.last.s), (s, s, s, s));
    assert_eq!(view.events.map(|events| events.len()), Some(1));
    let summary = read::summary(&world.rows, &conv, &u("bob")).unwrap();
    assert_eq!(summary.unread, 0);
}

#[test]
fn time_never_goes_back_within_a_conversation() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let first = world.ok("alice", &conv, text("x")).ts;
    world.now_ms -= 500_000;
    assert_eq!(world.ok("bob", &conv, text("y")).ts, first);
}
