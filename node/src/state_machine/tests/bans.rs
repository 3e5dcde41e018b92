//! Who is kept out, and who comes by itself.

use protocol::event::MemberEvent;
use protocol::{ErrorCode, Event, MembershipChange, Role};

use super::query;
use super::{TestShard, event, text, u};
use crate::state_machine::ConversationOp;
use crate::state_machine::query::QueryError;

fn ban(who: &str) -> ConversationOp {
    ConversationOp::Ban { who: u(who) }
}

fn unban(who: &str) -> ConversationOp {
    ConversationOp::Unban { who: u(who) }
}

fn banned(shard: &TestShard, conv: &protocol::ConversationId) -> Vec<String> {
    let page = query::bans(&shard.rows, conv, &u("alice"), None, 10).unwrap();
    page.items
        .into_iter()
        .map(|ban| format!("{} by {}", ban.user, ban.by))
        .collect()
}

#[test]
fn a_channel_can_be_joined_as_a_reader_and_a_group_cannot() {
    let mut shard = TestShard::new();
    let channel = shard.group("ch_1", &["alice"]);
    let group = shard.group("g_1", &["alice"]);
    let applied = shard.ok("bob", &channel, ConversationOp::Join);
    assert_eq!((applied.s, applied.events[0].adds.clone()), (2, Some(u("bob"))));
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(MemberEvent {
            role: Some(Role::Reader),
            change: MembershipChange::Join,
            ..
        })
    ));
    assert_eq!(
        shard.no("bob", &channel, ConversationOp::Join),
        ErrorCode::Conflict
    );
    assert_eq!(shard.no("bob", &channel, text("x")), ErrorCode::Forbidden);
    assert_eq!(
        shard.no("bob", &group, ConversationOp::Join),
        ErrorCode::NotMember
    );
    let missing = protocol::ConversationId::parse("ch_2").unwrap();
    assert_eq!(
        shard.no("bob", &missing, ConversationOp::Join),
        ErrorCode::NotMember
    );
}

#[test]
fn a_ban_removes_and_keeps_out_until_it_is_taken_back() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["alice", "bob"]);
    let applied = shard.ok("alice", &conv, ban("bob"));
    assert_eq!(applied.events[0].removes, Some(u("bob")));
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(MemberEvent {
            role: None,
            change: MembershipChange::Ban,
            ..
        })
    ));
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::NotMember);
    assert_eq!(shard.no("bob", &conv, ConversationOp::Join), ErrorCode::Forbidden);
    assert_eq!(
        shard.no("alice", &conv, ConversationOp::Invite { who: u("bob") }),
        ErrorCode::Conflict
    );
    assert_eq!(shard.no("alice", &conv, ban("bob")), ErrorCode::Conflict);
    assert_eq!(banned(&shard, &conv), ["bob by alice"]);

    shard.ok("alice", &conv, unban("bob"));
    assert_eq!(shard.no("alice", &conv, unban("bob")), ErrorCode::NotFound);
    assert!(banned(&shard, &conv).is_empty());
    shard.ok("bob", &conv, ConversationOp::Join);
    // He comes as he would have come at first, whatever he was before.
    assert_eq!(
        query::role(&shard.rows, &conv, &u("bob")).unwrap(),
        Some(Role::Reader)
    );
}

#[test]
fn one_who_was_never_there_can_be_banned_beforehand() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["alice"]);
    let applied = shard.ok("alice", &conv, ban("eve"));
    assert_eq!((applied.s, applied.events.len()), (2, 1));
    assert_eq!(shard.no("eve", &conv, ConversationOp::Join), ErrorCode::Forbidden);
    assert_eq!(shard.no("eve", &conv, text("x")), ErrorCode::NotMember);
}

#[test]
fn the_list_of_bans_is_for_owners_and_admins_and_comes_in_pages() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    for name in ["c", "a", "b"] {
        shard.ok("alice", &conv, ban(name));
    }
    let first = query::bans(&shard.rows, &conv, &u("alice"), None, 2).unwrap();
    let second = query::bans(&shard.rows, &conv, &u("alice"), first.next.as_ref(), 2).unwrap();
    let names: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|ban| ban.user.clone())
        .collect();
    assert_eq!((names, second.next), (vec![u("a"), u("b"), u("c")], None));
    assert!(matches!(
        query::bans(&shard.rows, &conv, &u("bob"), None, 2),
        Err(QueryError::Forbidden(_))
    ));
    assert!(matches!(
        query::bans(&shard.rows, &conv, &u("eve"), None, 2),
        Err(QueryError::NotMember)
    ));
}

#[test]
fn no_ban_of_a_higher_or_equal_role_nor_of_oneself() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob", "carol"]);
    shard.ok(
        "alice",
        &conv,
        ConversationOp::SetRole {
            who: u("bob"),
            role: Some(Role::Admin),
            data: None,
        },
    );
    assert_eq!(shard.no("bob", &conv, ban("alice")), ErrorCode::Forbidden);
    assert_eq!(shard.no("bob", &conv, ban("bob")), ErrorCode::BadRequest);
    assert_eq!(shard.no("carol", &conv, ban("nobody")), ErrorCode::Forbidden);
    assert_eq!(shard.no("carol", &conv, unban("nobody")), ErrorCode::Forbidden);
    shard.ok("bob", &conv, ban("carol"));
    shard.ok("alice", &conv, ban("bob"));
}
