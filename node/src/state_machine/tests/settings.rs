//! Title, settings, roles, and what is a member's own.

use protocol::event::{MemberEvent, MetadataEvent};
use protocol::{ErrorCode, Event, HistoryVisibility, MembershipChange, Role};

use super::query;
use super::{TestShard, event, text, u};
use crate::state_machine::ConversationOp;
use crate::state_machine::query::HistoryRange;

const NOTHING: ConversationOp = ConversationOp::Set {
    title: None,
    history: None,
    muted: None,
    pinned: None,
};

fn title(text: &str) -> ConversationOp {
    let mut op = NOTHING;
    if let ConversationOp::Set { title, .. } = &mut op {
        *title = Some(text.to_owned());
    }
    op
}

fn history(to: HistoryVisibility) -> ConversationOp {
    let mut op = NOTHING;
    if let ConversationOp::Set { history, .. } = &mut op {
        *history = Some(to);
    }
    op
}

fn own(mute: Option<bool>, pin: Option<bool>) -> ConversationOp {
    let mut op = NOTHING;
    if let ConversationOp::Set { muted, pinned, .. } = &mut op {
        (*muted, *pinned) = (mute, pin);
    }
    op
}

fn role(who: &str, role: Role) -> ConversationOp {
    ConversationOp::SetRole { who: u(who), role }
}

#[test]
fn a_new_title_is_an_event_of_the_log() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let applied = shard.ok("alice", &conv, title("Lunch"));
    assert_eq!(applied.s, 3);
    assert!(
        matches!(event(&applied.events[0]), Event::Meta(MetadataEvent { seq: 3, title: Some(t), history: None, .. }) if t == "Lunch")
    );
    let current_title = || query::summary(&shard.rows, &conv, &u("bob")).unwrap().title;
    assert_eq!(current_title().as_deref(), Some("Lunch"));
    assert_eq!(shard.no("bob", &conv, title("x")), ErrorCode::Forbidden);
    assert_eq!(
        shard.no("alice", &conv, title(&"x".repeat(257))),
        ErrorCode::BadRequest
    );
    shard.ok("alice", &conv, title(""));
    assert_eq!(query::summary(&shard.rows, &conv, &u("bob")).unwrap().title, None);
}

#[test]
fn history_opens_and_closes_for_those_who_came_later() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice"]);
    shard.ok("alice", &conv, text("before"));
    shard.ok("alice", &conv, ConversationOp::Invite { who: u("bob") });
    let first = |shard: &TestShard| {
        let page = query::history(&shard.rows, &conv, &u("bob"), HistoryRange::Newest, 100).unwrap();
        query::open(&shard.rows, &conv, &u("bob"), None).unwrap().last.seq + 1 - page.events.len() as u64
    };
    assert_eq!(first(&shard), 3);
    shard.ok("alice", &conv, history(HistoryVisibility::All));
    assert_eq!(first(&shard), 1);
    shard.ok("alice", &conv, history(HistoryVisibility::Joined));
    assert_eq!(first(&shard), 3);
}

#[test]
fn mute_and_pin_are_ones_own_and_make_no_event() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["alice", "bob"]);
    let applied = shard.ok("bob", &conv, own(Some(true), None));
    assert_eq!((applied.s, applied.mn, applied.events.len()), (0, 0, 1));
    let update = &applied.events[0];
    assert_eq!((update.seq, update.only.clone()), (0, Some(u("bob"))));
    assert!(matches!(event(update), Event::Conv(conv) if conv.muted && !conv.pinned && conv.last.seq == 2));
    shard.ok("bob", &conv, own(None, Some(true)));
    let of = |shard: &TestShard, user| {
        let view = query::open(&shard.rows, &conv, &u(user), None).unwrap();
        let summary = query::summary(&shard.rows, &conv, &u(user)).unwrap();
        assert_eq!((view.muted, view.pinned), (summary.muted, summary.pinned));
        (view.muted, view.pinned, view.last.seq)
    };
    assert_eq!(of(&shard, "bob"), (true, true, 2));
    assert_eq!(of(&shard, "alice"), (false, false, 2));
    shard.ok("bob", &conv, own(Some(false), None));
    assert_eq!(of(&shard, "bob"), (false, true, 2));
}

#[test]
fn an_admin_gives_roles_up_to_member_and_only_below_admin() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["owner", "admin", "bob", "carol"]);
    let applied = shard.ok("owner", &conv, role("admin", Role::Admin));
    assert!(applied.events[0].adds.is_none() && applied.events[0].removes.is_none());
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(MemberEvent {
            role: Some(Role::Admin),
            change: MembershipChange::Role,
            ..
        })
    ));
    shard.ok("admin", &conv, role("bob", Role::Reader));
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::Forbidden);
    shard.ok("admin", &conv, role("bob", Role::Member));
    shard.ok("bob", &conv, text("x"));
    for (who, to) in [
        ("bob", Role::Admin),
        ("bob", Role::Owner),
        ("admin", Role::Member),
        ("owner", Role::Member),
    ] {
        assert_eq!(
            shard.no("admin", &conv, role(who, to)),
            ErrorCode::Forbidden,
            "{who}"
        );
    }
    assert_eq!(
        shard.no("bob", &conv, role("carol", Role::Reader)),
        ErrorCode::Forbidden
    );
    assert_eq!(
        shard.no("owner", &conv, role("nobody", Role::Reader)),
        ErrorCode::NotFound
    );
    assert_eq!(
        shard.no("owner", &conv, role("bob", Role::Member)),
        ErrorCode::Conflict
    );
}

#[test]
fn the_last_owner_steps_down_only_after_naming_another() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    assert_eq!(
        shard.no("alice", &conv, role("alice", Role::Member)),
        ErrorCode::Conflict
    );
    shard.ok("alice", &conv, role("bob", Role::Owner));
    shard.ok("alice", &conv, role("alice", Role::Member));
    assert_eq!(
        shard.no("bob", &conv, role("bob", Role::Admin)),
        ErrorCode::Conflict
    );
    // Owners act on one another.
    shard.ok("bob", &conv, role("alice", Role::Owner));
    shard.ok("alice", &conv, role("bob", Role::Reader));
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::Forbidden);
}
