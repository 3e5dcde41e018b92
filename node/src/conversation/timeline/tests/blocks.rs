//! Whose direct messages a user accepts.

use protocol::{ConvId, ErrorCode, Kind};

use super::super::{Effect, Op, read};
use super::{Command, Outcome, World, create, text, u};

fn block(who: &str, on: bool) -> Op {
    Op::Block { who: u(who), on }
}

fn to(peer: &str) -> Op {
    Op::Send {
        direct: Some(u(peer)),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    }
}

fn direct() -> ConvId {
    ConvId::direct(&u("alice"), &u("bob"))
}

#[test]
fn one_who_is_blocked_writes_neither_by_name_nor_by_conversation() {
    let mut world = World::new();
    let conv = direct();
    world.ok("alice", &conv, to("bob"));
    world.ok("bob", &conv, to("alice"));
    world.ok("alice", &conv, block("bob", true));
    assert_eq!(world.no("bob", &conv, to("alice")), ErrorCode::Forbidden);
    assert_eq!(world.no("bob", &conv, text("by c")), ErrorCode::Forbidden);
    // Old messages and cursors are left alone, and so is the one who blocks.
    let view = read::open(&world.rows, &conv, &u("bob"), Some(0), 10).unwrap();
    assert_eq!(view.events.unwrap().len(), 4);
    world.ok("bob", &conv, Op::Read { s: 4 });
    world.ok("alice", &conv, text("she may"));
    world.ok("alice", &conv, block("bob", false));
    world.ok("bob", &conv, text("again"));
}

#[test]
fn a_block_is_there_before_the_conversation_is() {
    let mut world = World::new();
    let conv = direct();
    world.ok("alice", &conv, block("bob", true));
    assert_eq!(world.no("bob", &conv, to("alice")), ErrorCode::Forbidden);
    assert_eq!(
        world.no("bob", &conv, create(Kind::Direct, &["alice"])),
        ErrorCode::Forbidden
    );
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::NotMember);
    assert!(read::last(&world.rows, &conv).unwrap().is_none());
    // The conversation that the other side makes keeps it.
    world.ok("alice", &conv, to("bob"));
    assert_eq!(world.no("bob", &conv, to("alice")), ErrorCode::Forbidden);
    world.ok("alice", &conv, block("bob", false));
    world.ok("bob", &conv, to("alice"));
}

#[test]
fn a_block_takes_effect_between_two_messages_of_one_batch() {
    let mut world = World::new();
    let conv = direct();
    world.ok("alice", &conv, to("bob"));
    let commands = [
        ("bob", text("a")),
        ("alice", block("bob", true)),
        ("bob", text("b")),
    ];
    let commands = commands.map(|(user, op)| Command {
        conv: conv.clone(),
        user: u(user),
        cid: Some(world.cid()),
        skip: 0,
        op,
    });
    let outcomes = world.batch(&commands);
    assert!(matches!(&outcomes[0], Outcome::Done(applied) if applied.mn == 2));
    assert!(matches!(&outcomes[1], Outcome::Done(_)));
    assert!(matches!(&outcomes[2], Outcome::Refused(ErrorCode::Forbidden, _)));
}

#[test]
fn groups_are_left_alone() {
    let mut world = World::new();
    world.ok("alice", &direct(), block("bob", true));
    let group = world.group("g_1", &["alice", "bob"]);
    world.ok("bob", &group, text("x"));
}

#[test]
fn nobody_blocks_themselves_and_a_block_names_its_own_conversation() {
    let mut world = World::new();
    let own = ConvId::direct(&u("alice"), &u("alice"));
    assert_eq!(
        world.no("alice", &own, block("alice", true)),
        ErrorCode::BadRequest
    );
    assert!(matches!(
        world.run("alice", &direct(), block("carol", true)),
        Outcome::Bad(_)
    ));
}

#[test]
fn the_list_of_blocks_follows_whatever_the_order_of_the_news() {
    let mut world = World::new();
    world.ok("alice", &direct(), block("bob", true));
    world.ok("alice", &direct(), block("bob", true));
    world.ok("alice", &direct(), block("bob", false));
    world.ok("alice", &direct(), block("bob", true));
    let carol = ConvId::direct(&u("alice"), &u("carol"));
    world.ok("alice", &carol, block("carol", true));
    let news = read::outbox(&world.rows, None, 10).unwrap();
    assert_eq!(news.len(), 4, "what changes nothing is no news");
    let mut users = World::new();
    for at in [3, 2, 0, 1, 2, 0] {
        users.apply(news[at].command.clone());
    }
    let first = read::blocks(&users.rows, &u("alice"), None, 1).unwrap();
    let second = read::blocks(&users.rows, &u("alice"), first.next.as_ref(), 1).unwrap();
    assert_eq!(
        (first.items, second.items, second.next),
        (vec![u("bob")], vec![u("carol")], None)
    );
    assert!(
        read::blocks(&users.rows, &u("bob"), None, 1)
            .unwrap()
            .items
            .is_empty()
    );
}

#[test]
fn one_who_is_blocked_sees_the_cursors_of_the_other_stand_still() {
    let mut world = World::new();
    let conv = direct();
    for _ in 0..3 {
        world.ok("bob", &conv, to("alice"));
    }
    world.ok("alice", &conv, Op::Read { s: 3 });
    let sees = |world: &World, user: &str, other: &str| {
        let view = read::open(&world.rows, &conv, &u(user), None, 1).unwrap();
        let row = read::summary(&world.rows, &conv, &u(user)).unwrap();
        assert_eq!(row.peer, view.peer);
        let page = read::members(&world.rows, &conv, &u(user), None, 9).unwrap();
        let member = page.items.into_iter().find(|item| item.user == u(other)).unwrap();
        let (peer, cursors) = (view.peer.unwrap(), member.cursors.unwrap());
        assert_eq!((peer.delivered, peer.read), (cursors.delivered, cursors.read));
        peer.read
    };
    assert_eq!(sees(&world, "bob", "alice"), 3);
    world.ok("alice", &conv, block("bob", true));
    let told = |applied: super::Applied| match applied.effect {
        Effect::Cursors { members, .. } => members <= 256,
        other => panic!("{other:?}"),
    };
    assert!(
        !told(world.ok("alice", &conv, Op::Read { s: 5 })),
        "a receipt tells that she is there"
    );
    assert_eq!(sees(&world, "bob", "alice"), 3);
    assert!(!read::may_type(&world.rows, &conv, &u("alice"), 256).unwrap());
    // The other way nothing is hidden.
    world.ok("alice", &conv, text("she may"));
    assert!(told(world.ok("bob", &conv, Op::Read { s: 6 })));
    assert_eq!(sees(&world, "alice", "bob"), 6);
    // A second block changes nothing, and afterwards all is as it is.
    world.ok("alice", &conv, block("bob", true));
    assert_eq!(sees(&world, "bob", "alice"), 3);
    world.ok("alice", &conv, block("bob", false));
    assert_eq!(sees(&world, "bob", "alice"), 6);
    assert!(read::may_type(&world.rows, &conv, &u("alice"), 256).unwrap());
}
