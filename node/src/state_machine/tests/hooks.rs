//! What the hook is to be told, and what becomes of it.

use protocol::{ConversationId, ErrorCode, Role};

use super::query;
use super::{TestShard, done, text, u};
use crate::state_machine::query::QueuedWebhook;
use crate::state_machine::{ConversationOp, ShardCommand, WebhookOp};

fn switch(shard: &mut TestShard, members: u64) {
    done(shard.apply(ShardCommand::Webhook(WebhookOp::HooksOn { members })));
}

fn waiting(shard: &TestShard) -> (u64, Vec<QueuedWebhook>) {
    let found = query::queued(&shard.rows, 100).unwrap();
    (found.all, found.oldest)
}

fn hook(name: &str, on: bool) -> ConversationOp {
    let name = name.into();
    ConversationOp::Hook { name, on }
}

fn send(shard: &mut TestShard, conv: &ConversationId) -> u64 {
    shard.ok("alice", conv, text("x")).s
}

#[test]
fn each_message_queues_a_webhook_once_the_policy_is_set() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob", "carol"]);
    send(&mut shard, &conv);
    assert_eq!(waiting(&shard), (0, vec![]), "nobody has asked for it");
    switch(&mut shard, 256);
    let s = send(&mut shard, &conv);
    shard.ok(
        "bob",
        &conv,
        ConversationOp::React {
            of: s,
            k: "+1".into(),
            on: true,
            who: None,
        },
    );
    shard.ok(
        "carol",
        &conv,
        ConversationOp::Set {
            title: None,
            history: None,
            muted: Some(true),
            pinned: None,
            data: None,
        },
    );
    let (all, oldest) = waiting(&shard);
    let [queued] = &oldest[..] else {
        panic!("one message: {oldest:?}")
    };
    assert_eq!((all, &queued.conv, queued.tail.is_some()), (1, &conv, true));
    let members: Vec<_> = queued
        .members
        .iter()
        .map(|member| (member.user.as_str(), member.muted))
        .collect();
    assert_eq!(members, [("bob", false), ("carol", true)], "all but the author");
    // One who has read it is not told of it.
    shard.ok("bob", &conv, ConversationOp::Read { s });
    assert_eq!(waiting(&shard).1[0].members.len(), 1);
    // The outbox of memberships is another one.
    assert!(query::outbox(&shard.rows, None, 100).unwrap().len() == 3);
    let id = queued.id;
    for _ in 0..2 {
        done(shard.apply(ShardCommand::Webhook(WebhookOp::WebhookDelivered {
            ids: vec![id],
        })));
        assert_eq!(waiting(&shard), (0, vec![]), "and a repetition does no harm");
    }
    switch(&mut shard, 0);
    send(&mut shard, &conv);
    assert_eq!(waiting(&shard).0, 0);
}

#[test]
fn the_hooks_of_a_conversation_need_no_word_of_the_owner() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let before = send(&mut shard, &conv);
    shard.ok("alice", &conv, hook("ci", true));
    let first = send(&mut shard, &conv);
    let second = send(&mut shard, &conv);
    let (all, oldest) = waiting(&shard);
    let count_of = |s: u64| {
        let position = format!("\"s\":{s},");
        let holds = |queued: &&QueuedWebhook| {
            String::from_utf8_lossy(queued.tail.as_ref().unwrap()).contains(&position)
        };
        oldest.iter().filter(holds).count()
    };
    assert_eq!(
        (all, count_of(before), count_of(first), count_of(second)),
        (2, 0, 1, 1)
    );
    assert!(
        oldest.iter().all(|queued| queued.members.is_empty()),
        "nobody is said to be away"
    );
    switch(&mut shard, 0);
    send(&mut shard, &conv);
    assert_eq!(waiting(&shard).0, 3, "whatever an owner without a hook says");
}

#[test]
fn a_removed_message_is_not_in_its_webhook() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    switch(&mut shard, 256);
    let first = send(&mut shard, &conv);
    let second = send(&mut shard, &conv);
    shard.ok("alice", &conv, ConversationOp::Delete { of: second });
    for _ in 0..4 {
        done(shard.apply(super::retain(conv.clone(), first + 1)));
    }
    let (all, oldest) = waiting(&shard);
    assert_eq!(all, 2);
    assert!(
        oldest
            .iter()
            .all(|queued| queued.tail.is_none() && queued.members.is_empty())
    );
}

#[test]
fn a_large_conversation_queues_only_for_its_own_webhooks() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob", "carol"]);
    switch(&mut shard, 2);
    send(&mut shard, &conv);
    assert_eq!(waiting(&shard).0, 0);
    shard.ok("alice", &conv, hook("ci", true));
    shard.ok("alice", &conv, hook("archive", true));
    send(&mut shard, &conv);
    let (all, oldest) = waiting(&shard);
    assert_eq!(
        (all, &oldest[0].hooks[..]),
        (1, &["archive".to_owned(), "ci".to_owned()][..])
    );
    assert!(oldest[0].members.is_empty());
    shard.ok("alice", &conv, hook("ci", false));
    shard.ok("alice", &conv, hook("archive", false));
    send(&mut shard, &conv);
    assert_eq!(waiting(&shard).0, 1);
}

#[test]
fn owners_and_admins_set_the_webhooks() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob", "carol"]);
    assert_eq!(shard.no("bob", &conv, hook("ci", true)), ErrorCode::Forbidden);
    assert_eq!(shard.no("mallory", &conv, hook("ci", true)), ErrorCode::NotMember);
    let role = Role::Admin;
    shard.ok(
        "alice",
        &conv,
        ConversationOp::SetRole {
            who: u("bob"),
            role: Some(role),
            data: None,
        },
    );
    let applied = shard.ok("bob", &conv, hook("ci", true));
    assert_eq!((applied.s, applied.events.len()), (0, 0), "no event");
    for name in ["", "a b", "x/y", &"n".repeat(33)] {
        assert_eq!(
            shard.no("bob", &conv, hook(name, true)),
            ErrorCode::BadRequest,
            "{name}"
        );
    }
    for i in 1..8 {
        shard.ok("bob", &conv, hook(&format!("h{i}"), true));
    }
    assert_eq!(shard.no("bob", &conv, hook("h9", true)), ErrorCode::Conflict);
    // What is so already is no conflict.
    shard.ok("bob", &conv, hook("h1", true));
    shard.ok("bob", &conv, hook("none", false));
}
