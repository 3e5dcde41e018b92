use bytes::Bytes;
use cluster::FeatureLevel;
use protocol::ConversationId;

use super::*;
use crate::state_machine::{CommandKind, CommandOrigin, ConversationOp, OutboxOp, ShardCommand, UserOp};

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

fn header(bytes: &[u8]) -> PendingHeader {
    PendingHeader::validate(bytes, FeatureLevel::SUPPORTED).unwrap()
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
    let read = header(&bytes);
    assert_eq!(
        (
            read.conversation().map(ConversationId::as_str),
            read.user().map(UserId::as_str),
            read.cid.as_ref().map(ClientMessageId::as_str),
            read.exclude_session
        ),
        (Some("g_1"), Some("alice"), Some("c1"), 7)
    );
    assert_eq!(read.kind, CommandKind::Send);
    assert!(!needs(&read).may_create);
    let ids = vec![];
    let of_shard = ShardCommand::Outbox(OutboxOp::OutboxDone { ids }).encode();
    assert_eq!(header(&of_shard).conversation(), None);
    let user = UserId::parse("alice").unwrap();
    let of_user = ShardCommand::User {
        user,
        op: UserOp::Seen { at_ms: 1 },
    }
    .encode();
    let read = header(&of_user);
    assert_eq!(read.conversation(), None);
    assert_eq!(read.user().map(UserId::as_str), Some("alice"));
    for kind in CommandKind::ALL {
        assert_eq!(CommandKind::from_number(*kind as u8), Some(*kind));
        assert_eq!(kind.first_level(), FeatureLevel(1));
    }
}

#[test]
fn a_repeat_gets_the_first_result_until_the_user_is_removed() {
    let bytes = command("alice", "c1", send());
    let read = header(&bytes);
    let mut memory = PrecheckCache::default();
    assert_eq!(memory.answers(&read), None);
    memory.decided(&read, &done(5, false));
    assert_eq!(memory.answers(&read), Some(done(5, true)));
    let other = command("bob", "c1", send());
    assert_eq!(memory.answers(&header(&other)), None, "another user's id");
    memory.published(&EventEnvelope {
        conv: ConversationId::parse("g_1").unwrap(),
        seq: 6,
        tail: Bytes::new(),
        removes: Some(UserId::parse("alice").unwrap()),
        adds: None,
        skip: 0,
        only: None,
    });
    assert_eq!(memory.answers(&read), None, "the rules decide");
}

#[test]
fn a_non_member_is_refused_until_added() {
    let bytes = command("alice", "c1", send());
    let read = header(&bytes);
    let mut memory = PrecheckCache::default();
    let refused = CommandReply::refused(
        ErrorCode::NotMember,
        "not a member of this conversation".to_owned(),
    );
    memory.decided(&read, &refused);
    assert_eq!(memory.answers(&read), Some(refused));
    memory.published(&EventEnvelope {
        conv: ConversationId::parse("g_1").unwrap(),
        seq: 6,
        tail: Bytes::new(),
        removes: None,
        adds: Some(UserId::parse("alice").unwrap()),
        skip: 0,
        only: None,
    });
    assert_eq!(memory.answers(&read), None);
}

#[test]
fn a_proposed_member_is_no_longer_refused() {
    let (send, join) = (
        command("alice", "c1", send()),
        command("alice", "c2", ConversationOp::Join),
    );
    let (send, join) = (header(&send), header(&join));
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
    assert_eq!(memory.answers(&header(&bytes)), None);
}

#[test]
fn in_a_missing_conversation_everybody_is_refused() {
    let bytes = command("alice", "c1", send());
    let read = header(&bytes);
    let mut memory = PrecheckCache::default();
    memory.activated(false);
    assert!(memory.answers(&read).is_some());
    let create = command(
        "bob",
        "c2",
        ConversationOp::Create {
            kind: protocol::ConversationKind::Group,
            members: vec![],
            title: None,
            data: None,
        },
    );
    memory.proposed(&header(&create));
    assert_eq!(memory.answers(&read), None, "it is being made");
    memory.decided(&header(&create), &done(1, false));
    assert_eq!(memory.answers(&read), None);
}

#[test]
fn emptied_cache_does_not_refuse_what_follows_a_join() {
    let join = header(&command("bob", "j", ConversationOp::Join));
    let message = |cid: &str| header(&command("bob", cid, send()));
    let refused = CommandReply::refused(ErrorCode::NotMember, String::new());
    let mut cache = PrecheckCache::default();
    cache.decided(&message("1"), &refused);
    assert!(cache.answers(&message("2")).is_some());
    cache.proposed(&join);
    cache.forget();
    // A command from before the join, decided after the loss.
    cache.decided(&message("2"), &refused);
    assert_eq!(cache.answers(&message("3")), None);
    cache.decided(&join, &refused);
    cache.decided(&message("3"), &refused);
    assert!(cache.answers(&message("4")).is_some());
}
