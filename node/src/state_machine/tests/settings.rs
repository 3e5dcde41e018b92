//! Title, settings, roles, and what is a member's own.

use protocol::event::{MemberEvent, MetadataEvent};
use protocol::{
    ConversationId, ConversationKind, ErrorCode, Event, FieldPatch, HistoryVisibility, MembershipChange,
    Role, limits,
};

use super::query;
use super::{TestShard, create, event, text, u};
use crate::state_machine::ConversationOp;
use crate::state_machine::query::{HistoryRange, ScatterQuery, SummariesQuery};

const NOTHING: ConversationOp = ConversationOp::Set {
    title: None,
    history: None,
    muted: None,
    pinned: None,
    data: None,
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
    ConversationOp::SetRole {
        who: u(who),
        role: Some(role),
        data: None,
    }
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

fn data(text: &str) -> ConversationOp {
    let mut op = NOTHING;
    if let ConversationOp::Set { data, .. } = &mut op {
        *data = Some(text.into());
    }
    op
}

fn member_data(who: &str, text: &str) -> ConversationOp {
    ConversationOp::SetRole {
        who: u(who),
        role: None,
        data: Some(text.into()),
    }
}

#[test]
fn custom_data_of_a_conversation_is_an_event_of_the_log() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let applied = shard.ok("alice", &conv, data(r#"{"kind" : "support"}"#));
    let Event::Meta(meta) = event(&applied.events[0]) else {
        panic!()
    };
    assert_eq!(meta.data.new_value().unwrap().as_str(), r#"{"kind" : "support"}"#);
    assert_eq!((meta.seq, meta.title), (3, None));
    let seen = |shard: &TestShard| query::open(&shard.rows, &conv, &u("bob"), None).unwrap().data;
    assert_eq!(seen(&shard).as_deref(), Some(r#"{"kind" : "support"}"#));
    assert_eq!(shard.no("bob", &conv, data("{}")), ErrorCode::Forbidden);
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(limits::DATA_BYTES));
    assert_eq!(shard.no("alice", &conv, data(&large)), ErrorCode::BadRequest);
    // One's own settings leave it alone, and show it to one's other devices.
    let own = shard.ok("bob", &conv, own(Some(true), None));
    let Event::Conv(view) = event(&own.events[0]) else {
        panic!()
    };
    assert!(view.data.is_some() && view.muted);
    let removed = shard.ok("alice", &conv, data(""));
    let Event::Meta(meta) = event(&removed.events[0]) else {
        panic!()
    };
    assert_eq!(meta.data, FieldPatch::Remove);
    assert_eq!(seen(&shard), None);
}

#[test]
fn custom_data_of_a_member_ends_with_the_membership() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["owner", "admin", "bob", "carol"]);
    shard.ok("owner", &conv, role("admin", Role::Admin));
    let applied = shard.ok("admin", &conv, member_data("bob", r#"{"desk":7}"#));
    let Event::Member(member) = event(&applied.events[0]) else {
        panic!()
    };
    assert_eq!(
        (member.role, member.change),
        (Some(Role::Member), MembershipChange::Role)
    );
    assert_eq!(member.data.new_value().unwrap().as_str(), r#"{"desk":7}"#);
    let seen = |shard: &TestShard, who: &str| {
        let page = query::members(&shard.rows, &conv, &u("carol"), None, 9).unwrap();
        let entry = page.items.into_iter().find(|entry| entry.user == u(who));
        entry.unwrap().data
    };
    assert_eq!(seen(&shard, "bob").as_deref(), Some(r#"{"desk":7}"#));
    assert_eq!(seen(&shard, "carol"), None);
    // A new role leaves the data, and both can change at once.
    shard.ok("owner", &conv, role("bob", Role::Reader));
    assert_eq!(seen(&shard, "bob").as_deref(), Some(r#"{"desk":7}"#));
    let both = ConversationOp::SetRole {
        who: u("bob"),
        role: Some(Role::Member),
        data: Some("{}".into()),
    };
    shard.ok("owner", &conv, both);
    assert_eq!(seen(&shard, "bob").as_deref(), Some("{}"));
    // The last owner may have data, too: its role does not change.
    shard.ok("owner", &conv, member_data("owner", r#"{"boss":true}"#));
    for (by, who) in [
        ("bob", "bob"),
        ("carol", "bob"),
        ("admin", "owner"),
        ("admin", "admin"),
    ] {
        assert_eq!(
            shard.no(by, &conv, member_data(who, "{}")),
            ErrorCode::Forbidden,
            "{by}"
        );
    }
    assert_eq!(
        shard.no("owner", &conv, member_data("nobody", "{}")),
        ErrorCode::NotFound
    );
    shard.ok("owner", &conv, ConversationOp::Kick { who: u("bob") });
    shard.ok("owner", &conv, ConversationOp::Invite { who: u("bob") });
    assert_eq!(seen(&shard, "bob"), None);
}

#[test]
fn only_a_direct_conversation_has_no_custom_data() {
    let mut shard = TestShard::new();
    let conv = ConversationId::parse("g_1").unwrap();
    let with = |kind, members: &[&str]| {
        let mut op = create(kind, members);
        if let ConversationOp::Create { data, .. } = &mut op {
            *data = Some(r#"{"kind":"support"}"#.into());
        }
        op
    };
    shard.ok("alice", &conv, with(ConversationKind::Group, &["bob"]));
    let of_kind = |kind: &str| {
        let question = SummariesQuery {
            user: u("bob"),
            convs: vec![conv.clone()],
            data_kind: Some(kind.into()),
        };
        question.read(&shard.rows, &conv).unwrap().is_some()
    };
    assert!(of_kind("support") && !of_kind("sales"));
    let direct = ConversationId::direct(&u("alice"), &u("bob"));
    let refused = shard.no("alice", &direct, with(ConversationKind::Direct, &["bob"]));
    assert_eq!(refused, ErrorCode::BadRequest);
}

#[test]
fn each_page_of_members_has_the_custom_data_of_its_own() {
    let mut shard = TestShard::new();
    // Ids of which one begins another, with data at the first and the last member of a page.
    let conv = shard.group("g_1", &["a", "ab", "abc", "b", "c"]);
    for who in ["ab", "abc", "c"] {
        shard.ok("a", &conv, member_data(who, &format!(r#"{{"of":"{who}"}}"#)));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = query::members(&shard.rows, &conv, &u("a"), after.as_ref(), 2).unwrap();
        seen.extend(
            page.items
                .into_iter()
                .map(|entry| (entry.user.to_string(), entry.data)),
        );
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected = [
        ("a", false),
        ("ab", true),
        ("abc", true),
        ("b", false),
        ("c", true),
    ];
    let expected = expected.map(|(who, has)| {
        let data = has.then(|| format!(r#"{{"of":"{who}"}}"#).into_boxed_str());
        (who.to_owned(), data)
    });
    assert_eq!(seen, expected);
}
