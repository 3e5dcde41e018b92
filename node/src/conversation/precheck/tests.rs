use bytes::Bytes;
use protocol::ConversationId;

use super::*;
use crate::conversation::state_machine::{
    CommandKind, CommandOrigin, ConversationOp, OutboxOp, ShardCommand, UserOp,
};

fn command(user: &str, cid: &str, op: ConversationOp) -> Bytes {
    let (conv, user) = (
        ConversationId::parse("g_1").unwrap(),
        UserId::parse(user).unwrap(),
    );
    ShardCommand::Conversation {
        conversation: conv,
        origin: CommandOrigin {
            user,
            cid: Some(ClientMessageId::parse(cid).unwrap()),
            exclude_session: 7,
        },
        op,
    }
    .encode()
}

fn send() -> ConversationOp {
    ConversationOp::Send {
        direct: None,
        body: "{}".into(),
        reply_to: None,
        mentions: vec![],
    }
}

fn done(seq: u64, dup: bool) -> CommandReply {
    CommandReply::Done(AppliedReply::Conversation {
        seq: Some(seq),
        mn: Some(seq),
        ts: 1,
        dup,
    })
}

#[test]
fn a_header_is_read_as_it_was_encoded() {
    let bytes = command("alice", "c1", send());
    let header = CommandHeader::check(&bytes).unwrap();
    assert_eq!(
        (
            header.conversation(),
            header.user,
            header.cid,
            header.exclude_session
        ),
        (Some("g_1"), Some("alice"), Some("c1"), 7)
    );
    assert_eq!(header.kind, CommandKind::Send);
    assert!(!needs(&header).may_create);
    let ids = vec![];
    let of_shard = ShardCommand::Outbox(OutboxOp::OutboxDone { ids }).encode();
    assert_eq!(CommandHeader::check(&of_shard).unwrap().conversation(), None);
    let user = UserId::parse("alice").unwrap();
    let of_user = ShardCommand::User {
        user,
        op: UserOp::Seen { at_ms: 1 },
    }
    .encode();
    let header = CommandHeader::check(&of_user).unwrap();
    assert_eq!((header.conversation(), header.user), (None, Some("alice")));
    for kind in CommandKind::ALL {
        assert_eq!(CommandKind::from_number(*kind as u8), Some(*kind));
        assert_eq!(kind.first_level(), 1);
    }
}

#[test]
fn a_repeat_gets_the_first_result_until_the_user_is_removed() {
    let bytes = command("alice", "c1", send());
    let header = CommandHeader::read(&bytes).unwrap();
    let mut memory = PrecheckCache::default();
    assert_eq!(memory.answers(&header), None);
    memory.decided(&header, &done(5, false));
    assert_eq!(memory.answers(&header), Some(done(5, true)));
    let other = command("bob", "c1", send());
    assert_eq!(
        memory.answers(&CommandHeader::read(&other).unwrap()),
        None,
        "another user's id"
    );
    memory.published(&EventEnvelope {
        conv: ConversationId::parse("g_1").unwrap(),
        seq: 6,
        tail: Bytes::new(),
        removes: Some(UserId::parse("alice").unwrap()),
        adds: None,
        skip: 0,
        only: None,
    });
    assert_eq!(memory.answers(&header), None, "the rules decide");
}

#[test]
fn a_non_member_is_refused_until_added() {
    let bytes = command("alice", "c1", send());
    let header = CommandHeader::read(&bytes).unwrap();
    let mut memory = PrecheckCache::default();
    let refused = CommandReply::refused(
        ErrorCode::NotMember,
        "not a member of this conversation".to_owned(),
    );
    memory.decided(&header, &refused);
    assert_eq!(memory.answers(&header), Some(refused));
    memory.published(&EventEnvelope {
        conv: ConversationId::parse("g_1").unwrap(),
        seq: 6,
        tail: Bytes::new(),
        removes: None,
        adds: Some(UserId::parse("alice").unwrap()),
        skip: 0,
        only: None,
    });
    assert_eq!(memory.answers(&header), None);
}

#[test]
fn a_proposed_member_is_no_longer_refused() {
    let (send, join) = (
        command("alice", "c1", send()),
        command("alice", "c2", ConversationOp::Join),
    );
    let (send, join) = (
        CommandHeader::read(&send).unwrap(),
        CommandHeader::read(&join).unwrap(),
    );
    let mut memory = PrecheckCache::default();
    let refused = CommandReply::refused(
        ErrorCode::NotMember,
        "not a member of this conversation".to_owned(),
    );
    memory.decided(&send, &refused);
    assert_eq!(memory.answers(&join), None, "the rules decide");
    memory.proposed(&join);
    memory.decided(&send, &refused);
    assert_eq!(memory.answers(&send), None, "behind the join");
    memory.decided(&join, &refused);
    assert_eq!(memory.answers(&send), Some(refused), "it was in vain");
}

#[test]
fn a_block_needs_no_conversation() {
    let who = UserId::parse("bob").unwrap();
    let bytes = command("alice", "c1", ConversationOp::Block { who, on: true });
    let mut memory = PrecheckCache::default();
    memory.activated(false);
    assert_eq!(memory.answers(&CommandHeader::read(&bytes).unwrap()), None);
}

#[test]
fn in_a_missing_conversation_everybody_is_refused() {
    let bytes = command("alice", "c1", send());
    let header = CommandHeader::read(&bytes).unwrap();
    let mut memory = PrecheckCache::default();
    memory.activated(false);
    assert!(memory.answers(&header).is_some());
    let create = command(
        "bob",
        "c2",
        ConversationOp::Create {
            kind: protocol::ConversationKind::Group,
            members: vec![],
            title: None,
        },
    );
    memory.proposed(&CommandHeader::read(&create).unwrap());
    assert_eq!(memory.answers(&header), None, "it is being made");
    memory.decided(&CommandHeader::read(&create).unwrap(), &done(1, false));
    assert_eq!(memory.answers(&header), None);
}
