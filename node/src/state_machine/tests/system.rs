//! The system, in whose name a back end acts: the permissions of an owner without a membership, and nothing done to it.

use protocol::event::MemberEvent;
use protocol::{ConversationId, ConversationKind, ErrorCode, Event, Role, UserId};

use super::query::members;
use super::{TestCommand, TestShard, create, done, event, text, u};
use crate::state_machine::{ConversationOp, ShardOutcome};

fn put(who: &str, role: Option<Role>) -> ConversationOp {
    let who = u(who);
    ConversationOp::PutMember { who, role }
}

fn kick(who: &str) -> ConversationOp {
    ConversationOp::Kick { who: u(who) }
}

fn member_events(events: &[crate::state_machine::EventEnvelope]) -> Vec<MemberEvent> {
    let of_member = |published| match event(published) {
        Event::Member(member) => member,
        other => panic!("{other:?}"),
    };
    events.iter().map(of_member).collect()
}

fn roles(shard: &TestShard, conv: &ConversationId) -> Vec<(UserId, Role)> {
    let page = members(&shard.rows, conv, &UserId::system(), None, 100).unwrap();
    let items = page.items.into_iter();
    items.map(|member| (member.user, member.role)).collect()
}

#[test]
fn system_acts_in_every_group_without_being_a_member() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["al", "bo"]);
    let sent = shard.ok("system", &conv, text("hi"));
    let Event::Msg(message) = event(&sent.events[0]) else {
        panic!("{sent:?}")
    };
    assert!(message.user.is_system() && message.seq == 3);
    assert_eq!(
        roles(&shard, &conv),
        [(u("al"), Role::Owner), (u("bo"), Role::Member)]
    );
    // A retry with the same key repeats the first result.
    let again = TestCommand {
        conv: conv.clone(),
        user: u("system"),
        cid: Some(shard.cid()),
        skip: 0,
        op: text("once"),
    };
    let first = done(shard.apply(again.clone()));
    let second = done(shard.apply(again));
    assert!(!first.dup && second.dup && first.s == second.s);
    let missing = ConversationId::parse("g_2").unwrap();
    assert_eq!(shard.no("system", &missing, text("hi")), ErrorCode::NotMember);
}

#[test]
fn put_of_a_member_changes_the_state_once() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["al"]);
    let added = shard.ok("system", &conv, put("bo", Some(Role::Admin)));
    let [member] = &member_events(&added.events)[..] else {
        panic!("{added:?}")
    };
    assert!(member.user.is_system());
    assert_eq!((member.member.as_str(), member.role), ("bo", Some(Role::Admin)));
    for op in [put("bo", Some(Role::Admin)), put("bo", None)] {
        let repeated = shard.ok("system", &conv, op);
        assert!(repeated.dup && repeated.events.is_empty());
    }
    let changed = shard.ok("system", &conv, put("bo", Some(Role::Owner)));
    assert_eq!(changed.events.len(), 1);
    // Owners among themselves: the first owner may be demoted, the last one not.
    shard.ok("system", &conv, put("al", Some(Role::Reader)));
    assert_eq!(
        shard.no("system", &conv, put("bo", Some(Role::Member))),
        ErrorCode::Conflict
    );
    // The operation has the permissions of any author.
    assert_eq!(shard.no("al", &conv, put("cy", None)), ErrorCode::Forbidden);
    shard.ok("bo", &conv, ConversationOp::Ban { who: u("cy") });
    assert_eq!(shard.no("system", &conv, put("cy", None)), ErrorCode::Conflict);
}

#[test]
fn removed_last_owner_has_a_successor() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["al", "bo"]);
    let removed = shard.ok("system", &conv, kick("al"));
    let events = member_events(&removed.events);
    let changes: Vec<_> = events
        .iter()
        .map(|event| (event.member.as_str(), event.role))
        .collect();
    assert_eq!(changes, [("bo", Some(Role::Owner)), ("al", None)]);
    assert_eq!(shard.no("system", &conv, kick("al")), ErrorCode::NotFound);
    shard.ok("system", &conv, kick("bo"));
    assert!(roles(&shard, &conv).is_empty());
}

#[test]
fn system_creates_for_the_first_of_the_members() {
    let mut shard = TestShard::new();
    let conv = ConversationId::parse("g_1").unwrap();
    let group = create(ConversationKind::Group, &["al", "bo"]);
    let made = shard.ok("system", &conv, group.clone());
    assert!(
        member_events(&made.events)
            .iter()
            .all(|event| event.user.is_system())
    );
    assert_eq!(
        roles(&shard, &conv),
        [(u("al"), Role::Owner), (u("bo"), Role::Member)]
    );
    // Another key of the same back end finds the conversation.
    assert!(shard.ok("system", &conv, group).dup);
    let direct = ConversationId::direct(&u("al"), &u("bo"));
    shard.ok("system", &direct, create(ConversationKind::Direct, &["al", "bo"]));
    assert_eq!(roles(&shard, &direct).len(), 2);
    shard.ok("bo", &direct, text("hi"));
    assert_eq!(
        shard.no("system", &direct, put("cy", None)),
        ErrorCode::Forbidden,
        "two fixed members"
    );
}

#[test]
fn system_cannot_be_added_banned_or_blocked() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["al"]);
    let who = || UserId::system();
    for op in [
        ConversationOp::Invite { who: who() },
        ConversationOp::Ban { who: who() },
        put("system", None),
    ] {
        assert_eq!(shard.no("al", &conv, op), ErrorCode::BadRequest);
    }
    let other = ConversationId::parse("g_2").unwrap();
    let group = create(ConversationKind::Group, &["system"]);
    assert_eq!(shard.no("al", &other, group), ErrorCode::BadRequest);
    let direct = ConversationId::direct(&u("al"), &who());
    let block = ConversationOp::Block { who: who(), on: true };
    assert_eq!(shard.no("al", &direct, block), ErrorCode::BadRequest);
    let write = |to: &str, body: &str| match text(body) {
        ConversationOp::Send { body, .. } => ConversationOp::Send {
            direct: Some(u(to)),
            body,
            reply_to: None,
            mentions: vec![],
        },
        other => other,
    };
    shard.ok("al", &direct, write("system", "hi"));
    let answered = shard.run("system", &direct, write("al", "hello"));
    assert!(matches!(answered, ShardOutcome::Conversation(_)), "{answered:?}");
}
