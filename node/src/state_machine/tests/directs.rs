//! Direct conversations and `create`'s key.

use protocol::{ClientMessageId, ConversationId, ConversationKind, ErrorCode, Event, Role};

use super::query;
use super::{TestShard, create, event, of_user, text, u};
use crate::state_machine::{ConversationOp, ShardOutcome, UserOp, UserOutcome};

fn to(peer: &str, body: &str) -> ConversationOp {
    ConversationOp::Send {
        direct: Some(u(peer)),
        body: body.into(),
        reply_to: None,
        mentions: vec![],
    }
}

#[test]
fn a_send_to_a_user_makes_the_direct_conversation_once() {
    let mut shard = TestShard::new();
    let conv = ConversationId::direct(&u("alice"), &u("bob"));
    assert_eq!(
        shard.no("alice", &conv, text("by c, before it is there")),
        ErrorCode::NotMember
    );
    let applied = shard.ok("alice", &conv, to("bob", "{}"));
    assert_eq!((applied.s, applied.mn, applied.events.len()), (3, 1, 3));
    assert_eq!(applied.events[0].adds, Some(u("alice")));
    assert_eq!(applied.events[1].adds, Some(u("bob")));
    assert!(matches!(event(&applied.events[2]), Event::Msg(msg) if msg.seq == 3 && msg.message_number == 1));

    let back = shard.ok("bob", &conv, to("alice", "{}"));
    assert_eq!((back.s, back.mn, back.events.len()), (4, 2, 1));
    assert_eq!(shard.ok("bob", &conv, text("by c")).s, 5);
    assert_eq!(
        query::role(&shard.rows, &conv, &u("bob")).unwrap(),
        Some(Role::Member)
    );
}

#[test]
fn a_direct_conversation_keeps_its_two_members() {
    let mut shard = TestShard::new();
    let conv = ConversationId::direct(&u("alice"), &u("bob"));
    shard.ok("alice", &conv, create(ConversationKind::Direct, &["bob"]));
    for op in [
        ConversationOp::Leave,
        ConversationOp::Kick { who: u("bob") },
        ConversationOp::Invite { who: u("eve") },
    ] {
        assert_eq!(shard.no("alice", &conv, op), ErrorCode::Forbidden);
    }
    assert_eq!(shard.no("eve", &conv, to("bob", "{}")), ErrorCode::NotMember);
}

#[test]
fn both_sides_may_create_it_and_get_the_same() {
    let mut shard = TestShard::new();
    let conv = ConversationId::direct(&u("alice"), &u("bob"));
    assert!(
        !shard
            .ok("alice", &conv, create(ConversationKind::Direct, &["bob"]))
            .dup
    );
    let again = shard.ok("bob", &conv, create(ConversationKind::Direct, &["alice"]));
    assert!(again.dup && again.events.is_empty());
}

#[test]
fn a_direct_conversation_needs_exactly_one_user() {
    let mut shard = TestShard::new();
    let conv = ConversationId::direct(&u("alice"), &u("bob"));
    for members in [&[][..], &["alice"], &["bob", "carol"], &["alice", "carol"]] {
        assert_eq!(
            shard.no("alice", &conv, create(ConversationKind::Direct, members)),
            ErrorCode::BadRequest
        );
    }
    let own = ConversationId::direct(&u("alice"), &u("alice"));
    assert_eq!(shard.no("alice", &own, to("bob", "{}")), ErrorCode::BadRequest);
    assert_eq!(shard.no("bob", &own, to("alice", "{}")), ErrorCode::BadRequest);
    assert_eq!(shard.no("alice", &conv, to("carol", "{}")), ErrorCode::BadRequest);
    assert!(shard.rows.0.is_empty());
}

#[test]
fn the_key_of_a_create_stands_for_the_first_conversation() {
    let mut shard = TestShard::new();
    let reserve = |user: &str, conv: &str| {
        let op = UserOp::Reserve {
            conversation: ConversationId::parse(conv).unwrap(),
            cid: ClientMessageId::parse("k").unwrap(),
        };
        of_user(u(user), op)
    };
    let reserved = |conv: &str, dup| {
        let conversation = ConversationId::parse(conv).unwrap();
        ShardOutcome::User(UserOutcome::Reserved { conversation, dup })
    };
    assert_eq!(shard.apply(reserve("alice", "g_1")), reserved("g_1", false));
    assert_eq!(shard.apply(reserve("alice", "ch_2")), reserved("g_1", true));
    assert_eq!(shard.apply(reserve("bob", "g_3")), reserved("g_3", false));
}
