//! Title, settings, roles, and what is a member's own.

use protocol::event::{Member, Meta};
use protocol::{ErrorCode, Event, History, Role, Why};

use super::super::Op;
use super::super::read::{self, Page};
use super::{World, event, text, u};

const NOTHING: Op = Op::Set {
    title: None,
    history: None,
    muted: None,
    pinned: None,
};

fn title(text: &str) -> Op {
    let mut op = NOTHING;
    if let Op::Set { title, .. } = &mut op {
        *title = Some(text.to_owned());
    }
    op
}

fn history(to: History) -> Op {
    let mut op = NOTHING;
    if let Op::Set { history, .. } = &mut op {
        *history = Some(to);
    }
    op
}

fn own(mute: Option<bool>, pin: Option<bool>) -> Op {
    let mut op = NOTHING;
    if let Op::Set { muted, pinned, .. } = &mut op {
        (*muted, *pinned) = (mute, pin);
    }
    op
}

fn role(who: &str, role: Role) -> Op {
    Op::SetRole { who: u(who), role }
}

#[test]
fn a_new_title_is_an_event_of_the_log() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    let applied = world.ok("alice", &conv, title("Lunch"));
    assert_eq!(applied.s, 3);
    assert!(
        matches!(event(&applied.events[0]), Event::Meta(Meta { s: 3, title: Some(t), history: None, .. }) if t == "Lunch")
    );
    let shown = || read::summary(&world.rows, &conv, &u("bob")).unwrap().title;
    assert_eq!(shown().as_deref(), Some("Lunch"));
    assert_eq!(world.no("bob", &conv, title("x")), ErrorCode::Forbidden);
    assert_eq!(
        world.no("alice", &conv, title(&"x".repeat(257))),
        ErrorCode::BadRequest
    );
    world.ok("alice", &conv, title(""));
    assert_eq!(read::summary(&world.rows, &conv, &u("bob")).unwrap().title, None);
}

#[test]
fn history_opens_and_closes_for_those_who_came_later() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice"]);
    world.ok("alice", &conv, text("before"));
    world.ok("alice", &conv, Op::Invite { who: u("bob") });
    let first = |world: &World| {
        let page = read::history(&world.rows, &conv, &u("bob"), Page::Newest, 100).unwrap();
        read::open(&world.rows, &conv, &u("bob"), None, 1).unwrap().last.s + 1 - page.events.len() as u64
    };
    assert_eq!(first(&world), 3);
    world.ok("alice", &conv, history(History::All));
    assert_eq!(first(&world), 1);
    world.ok("alice", &conv, history(History::Joined));
    assert_eq!(first(&world), 3);
}

#[test]
fn mute_and_pin_are_ones_own_and_make_no_event() {
    let mut world = World::new();
    let conv = world.group("ch_1", &["alice", "bob"]);
    let applied = world.ok("bob", &conv, own(Some(true), None));
    assert_eq!((applied.s, applied.mn, applied.events.len()), (0, 0, 1));
    let told = &applied.events[0];
    assert_eq!((told.seq, told.only.clone()), (0, Some(u("bob"))));
    assert!(matches!(event(told), Event::Conv(conv) if conv.muted && !conv.pinned && conv.last.s == 2));
    world.ok("bob", &conv, own(None, Some(true)));
    let of = |world: &World, user| {
        let view = read::open(&world.rows, &conv, &u(user), None, 1).unwrap();
        let summary = read::summary(&world.rows, &conv, &u(user)).unwrap();
        assert_eq!((view.muted, view.pinned), (summary.muted, summary.pinned));
        (view.muted, view.pinned, view.last.s)
    };
    assert_eq!(of(&world, "bob"), (true, true, 2));
    assert_eq!(of(&world, "alice"), (false, false, 2));
    world.ok("bob", &conv, own(Some(false), None));
    assert_eq!(of(&world, "bob"), (false, true, 2));
}

#[test]
fn an_admin_gives_roles_up_to_member_and_only_below_admin() {
    let mut world = World::new();
    let conv = world.group("g_1", &["owner", "admin", "bob", "carol"]);
    let applied = world.ok("owner", &conv, role("admin", Role::Admin));
    assert!(applied.events[0].adds.is_none() && applied.events[0].removes.is_none());
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(Member {
            role: Some(Role::Admin),
            why: Why::Role,
            ..
        })
    ));
    world.ok("admin", &conv, role("bob", Role::Reader));
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::Forbidden);
    world.ok("admin", &conv, role("bob", Role::Member));
    world.ok("bob", &conv, text("x"));
    for (who, to) in [
        ("bob", Role::Admin),
        ("bob", Role::Owner),
        ("admin", Role::Member),
        ("owner", Role::Member),
    ] {
        assert_eq!(
            world.no("admin", &conv, role(who, to)),
            ErrorCode::Forbidden,
            "{who}"
        );
    }
    assert_eq!(
        world.no("bob", &conv, role("carol", Role::Reader)),
        ErrorCode::Forbidden
    );
    assert_eq!(
        world.no("owner", &conv, role("nobody", Role::Reader)),
        ErrorCode::NotFound
    );
    assert_eq!(
        world.no("owner", &conv, role("bob", Role::Member)),
        ErrorCode::Conflict
    );
}

#[test]
fn the_last_owner_steps_down_only_after_naming_another() {
    let mut world = World::new();
    let conv = world.group("g_1", &["alice", "bob"]);
    assert_eq!(
        world.no("alice", &conv, role("alice", Role::Member)),
        ErrorCode::Conflict
    );
    world.ok("alice", &conv, role("bob", Role::Owner));
    world.ok("alice", &conv, role("alice", Role::Member));
    assert_eq!(
        world.no("bob", &conv, role("bob", Role::Admin)),
        ErrorCode::Conflict
    );
    // Owners act on one another.
    world.ok("bob", &conv, role("alice", Role::Owner));
    world.ok("alice", &conv, role("bob", Role::Reader));
    assert_eq!(world.no("bob", &conv, text("x")), ErrorCode::Forbidden);
}
