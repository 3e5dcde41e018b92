//! Whose direct messages a user accepts.

use protocol::{ConversationId, ConversationKind, ErrorCode};

use super::query;
use super::{ShardOutcome, TestCommand, TestShard, create, text, u};
use crate::state_machine::{ApplyEffect, ConversationOp};

fn block(who: &str, on: bool) -> ConversationOp {
    ConversationOp::Block { who: u(who), on }
}

fn to(peer: &str) -> ConversationOp {
    ConversationOp::Send {
        direct: Some(u(peer)),
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    }
}

fn direct() -> ConversationId {
    ConversationId::direct(&u("alice"), &u("bob"))
}

#[test]
fn blocked_user_can_send_neither_by_user_nor_by_conversation() {
    let mut shard = TestShard::new();
    let conv = direct();
    shard.ok("alice", &conv, to("bob"));
    shard.ok("bob", &conv, to("alice"));
    shard.ok("alice", &conv, block("bob", true));
    assert_eq!(shard.no("bob", &conv, to("alice")), ErrorCode::Forbidden);
    assert_eq!(shard.no("bob", &conv, text("by c")), ErrorCode::Forbidden);
    // Old messages and cursors are left alone, and so is the one who blocks.
    let view = query::open(&shard.rows, &conv, &u("bob"), Some(0)).unwrap();
    assert_eq!(view.events.unwrap().len(), 4);
    shard.ok("bob", &conv, ConversationOp::Read { s: 4 });
    shard.ok("alice", &conv, text("she may"));
    shard.ok("alice", &conv, block("bob", false));
    shard.ok("bob", &conv, text("again"));
}

#[test]
fn a_block_is_there_before_the_conversation_is() {
    let mut shard = TestShard::new();
    let conv = direct();
    shard.ok("alice", &conv, block("bob", true));
    assert_eq!(shard.no("bob", &conv, to("alice")), ErrorCode::Forbidden);
    assert_eq!(
        shard.no("bob", &conv, create(ConversationKind::Direct, &["alice"])),
        ErrorCode::Forbidden
    );
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::NotMember);
    assert!(query::last(&shard.rows, &conv).unwrap().is_none());
    // The conversation that the other side makes keeps it.
    shard.ok("alice", &conv, to("bob"));
    assert_eq!(shard.no("bob", &conv, to("alice")), ErrorCode::Forbidden);
    shard.ok("alice", &conv, block("bob", false));
    shard.ok("bob", &conv, to("alice"));
}

#[test]
fn a_block_takes_effect_between_two_messages_of_one_batch() {
    let mut shard = TestShard::new();
    let conv = direct();
    shard.ok("alice", &conv, to("bob"));
    let commands = [
        ("bob", text("a")),
        ("alice", block("bob", true)),
        ("bob", text("b")),
    ];
    let commands = commands.map(|(user, op)| TestCommand {
        conv: conv.clone(),
        user: u(user),
        cid: Some(shard.cid()),
        skip: 0,
        op,
    });
    let outcomes = shard.batch(&commands);
    assert!(matches!(&outcomes[0], ShardOutcome::Conversation(applied) if applied.mn == Some(2)));
    assert!(matches!(&outcomes[1], ShardOutcome::Conversation(_)));
    assert!(matches!(
        &outcomes[2],
        ShardOutcome::Refused(ErrorCode::Forbidden, _)
    ));
}

#[test]
fn groups_are_left_alone() {
    let mut shard = TestShard::new();
    shard.ok("alice", &direct(), block("bob", true));
    let group = shard.group("g_1", &["alice", "bob"]);
    shard.ok("bob", &group, text("x"));
}

#[test]
fn no_self_block_and_a_block_names_its_own_conversation() {
    let mut shard = TestShard::new();
    let own = ConversationId::direct(&u("alice"), &u("alice"));
    assert_eq!(
        shard.no("alice", &own, block("alice", true)),
        ErrorCode::BadRequest
    );
    assert!(matches!(
        shard.run("alice", &direct(), block("carol", true)),
        ShardOutcome::Refused(ErrorCode::BadRequest, _)
    ));
}

#[test]
fn the_list_of_blocks_follows_in_any_order_of_changes() {
    let mut shard = TestShard::new();
    shard.ok("alice", &direct(), block("bob", true));
    shard.ok("alice", &direct(), block("bob", true));
    shard.ok("alice", &direct(), block("bob", false));
    shard.ok("alice", &direct(), block("bob", true));
    let carol = ConversationId::direct(&u("alice"), &u("carol"));
    shard.ok("alice", &carol, block("carol", true));
    let changes = query::outbox(&shard.rows, None, 10).unwrap();
    assert_eq!(changes.len(), 4, "what changes nothing is no news");
    let mut users = TestShard::new();
    for at in [3, 2, 0, 1, 2, 0] {
        users.apply(changes[at].command.clone());
    }
    let first = query::blocks(&users.rows, &u("alice"), None, 1).unwrap();
    let second = query::blocks(&users.rows, &u("alice"), first.next.as_ref(), 1).unwrap();
    assert_eq!(
        (first.items, second.items, second.next),
        (vec![u("bob")], vec![u("carol")], None)
    );
    assert!(
        query::blocks(&users.rows, &u("bob"), None, 1)
            .unwrap()
            .items
            .is_empty()
    );
}

#[test]
fn one_who_is_blocked_sees_the_cursors_of_the_other_stand_still() {
    let mut shard = TestShard::new();
    let conv = direct();
    for _ in 0..3 {
        shard.ok("bob", &conv, to("alice"));
    }
    shard.ok("alice", &conv, ConversationOp::Read { s: 3 });
    let sees = |shard: &TestShard, user: &str, other: &str| {
        let view = query::open(&shard.rows, &conv, &u(user), None).unwrap();
        let row = query::summary(&shard.rows, &conv, &u(user)).unwrap();
        assert_eq!(row.peer, view.peer);
        let page = query::members(&shard.rows, &conv, &u(user), None, 9).unwrap();
        let member = page.items.into_iter().find(|item| item.user == u(other)).unwrap();
        let (peer, cursors) = (view.peer.unwrap(), member.cursors.unwrap());
        assert_eq!((peer.delivered, peer.read), (cursors.delivered, cursors.read));
        peer.read
    };
    assert_eq!(sees(&shard, "bob", "alice"), 3);
    shard.ok("alice", &conv, block("bob", true));
    let has_receipt = |applied: super::TestResult| match applied.effect {
        ApplyEffect::Cursors { members, .. } => members <= 256,
        other => panic!("{other:?}"),
    };
    assert!(
        !has_receipt(shard.ok("alice", &conv, ConversationOp::Read { s: 5 })),
        "a receipt tells that she is there"
    );
    assert_eq!(sees(&shard, "bob", "alice"), 3);
    assert!(!query::may_type(&shard.rows, &conv, &u("alice"), 256).unwrap());
    // The other way nothing is hidden.
    shard.ok("alice", &conv, text("she may"));
    assert!(has_receipt(shard.ok("bob", &conv, ConversationOp::Read { s: 6 })));
    assert_eq!(sees(&shard, "alice", "bob"), 6);
    // A second block changes nothing, and afterwards all is as it is.
    shard.ok("alice", &conv, block("bob", true));
    assert_eq!(sees(&shard, "bob", "alice"), 3);
    shard.ok("alice", &conv, block("bob", false));
    assert_eq!(sees(&shard, "bob", "alice"), 6);
    assert!(query::may_type(&shard.rows, &conv, &u("alice"), 256).unwrap());
}
