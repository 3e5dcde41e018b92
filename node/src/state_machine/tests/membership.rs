//! Who comes, who goes, and who may.

use protocol::event::MemberEvent;
use protocol::{ConversationId, ConversationKind, ErrorCode, Event, FieldPatch, MembershipChange, Role};

use super::query;
use super::{TestCommand, TestShard, create, event, text, u};
use crate::state_machine::{ConversationOp, ShardOutcome};

fn invite(who: &str) -> ConversationOp {
    ConversationOp::Invite { who: u(who) }
}

fn kick(who: &str) -> ConversationOp {
    ConversationOp::Kick { who: u(who) }
}

fn role(shard: &TestShard, conv: &ConversationId, user: &str) -> Option<Role> {
    query::role(&shard.rows, conv, &u(user)).unwrap()
}

/// A group with an owner, an admin and two members.
fn ranked(shard: &mut TestShard) -> ConversationId {
    let conv = shard.group("g_1", &["owner", "admin", "bob", "carol"]);
    shard.ok("owner", &conv, set_role("admin", Role::Admin));
    conv
}

fn set_role(who: &str, role: Role) -> ConversationOp {
    ConversationOp::SetRole {
        who: u(who),
        role: Some(role),
        data: None,
    }
}

#[test]
fn create_makes_one_event_per_initial_member_creator_first() {
    let mut shard = TestShard::new();
    let conv = ConversationId::parse("g_1").unwrap();
    let applied = shard.ok(
        "alice",
        &conv,
        create(ConversationKind::Group, &["bob", "alice", "bob", "carol"]),
    );
    let expected = [
        ("alice", Role::Owner),
        ("bob", Role::Member),
        ("carol", Role::Member),
    ];
    assert_eq!((applied.s, applied.events.len()), (3, 3));
    for (i, (published, (who, role))) in applied.events.iter().zip(expected).enumerate() {
        let s = i as u64 + 1;
        let (c, u_, who) = (conv.clone(), u("alice"), u(who));
        let member = MemberEvent {
            conversation: c,
            seq: s,
            timestamp_ms: shard.now_ms,
            user: u_,
            member: who.clone(),
            role: Some(role),
            change: MembershipChange::Create,
            data: FieldPatch::Keep,
        };
        assert_eq!(event(published), Event::Member(member));
        assert_eq!(
            (published.seq, &published.adds, &published.removes),
            (s, &Some(who), &None)
        );
    }
}

#[test]
fn channels_make_readers_who_do_not_write() {
    let mut shard = TestShard::new();
    let conv = shard.group("ch_1", &["alice", "bob"]);
    assert_eq!(role(&shard, &conv, "bob"), Some(Role::Reader));
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::Forbidden);
    shard.ok("alice", &conv, text("x"));
}

#[test]
fn a_non_member_learns_nothing() {
    let mut shard = TestShard::new();
    let there = shard.group("g_1", &["alice", "bob"]);
    let missing = ConversationId::parse("g_2").unwrap();
    for conv in [&there, &missing] {
        for op in [
            text("x"),
            invite("eve"),
            kick("bob"),
            ConversationOp::Leave,
            ConversationOp::Read { s: 1 },
            ConversationOp::Delivered { s: 1 },
        ] {
            let outcome = shard.run("eve", conv, op);
            let expected = "not a member of this conversation".to_owned();
            assert_eq!(outcome, ShardOutcome::Refused(ErrorCode::NotMember, expected));
        }
    }
    // Not even by making it again.
    assert_eq!(
        shard.no("eve", &there, create(ConversationKind::Group, &[])),
        ErrorCode::NotMember
    );
}

#[test]
fn invite_adds_once_and_only_by_owners_and_admins() {
    let mut shard = TestShard::new();
    let conv = ranked(&mut shard);
    assert_eq!(shard.no("bob", &conv, invite("dave")), ErrorCode::Forbidden);
    let applied = shard.ok("admin", &conv, invite("dave"));
    assert_eq!((applied.s, applied.events[0].adds.clone()), (6, Some(u("dave"))));
    assert_eq!(shard.no("owner", &conv, invite("dave")), ErrorCode::Conflict);
    assert_eq!(role(&shard, &conv, "dave"), Some(Role::Member));
}

#[test]
fn no_removal_of_a_higher_or_equal_role() {
    let mut shard = TestShard::new();
    let conv = ranked(&mut shard);
    assert_eq!(shard.no("bob", &conv, kick("carol")), ErrorCode::Forbidden);
    assert_eq!(shard.no("bob", &conv, kick("nobody")), ErrorCode::Forbidden);
    assert_eq!(shard.no("admin", &conv, kick("owner")), ErrorCode::Forbidden);
    assert_eq!(shard.no("admin", &conv, kick("nobody")), ErrorCode::NotFound);
    assert_eq!(shard.no("admin", &conv, kick("admin")), ErrorCode::BadRequest);
    shard.ok("admin", &conv, kick("bob"));
    let applied = shard.ok("owner", &conv, kick("admin"));
    assert_eq!(applied.events[0].removes, Some(u("admin")));
    assert!(matches!(
        event(&applied.events[0]),
        Event::Member(MemberEvent {
            role: None,
            change: MembershipChange::Kick,
            ..
        })
    ));
}

#[test]
fn kicked_user_is_refused_even_within_the_same_batch() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let commands: Vec<_> = [
        ("bob", text("before")),
        ("alice", kick("bob")),
        ("bob", text("after")),
    ]
    .map(|(user, op)| {
        let cid = Some(shard.cid());
        TestCommand {
            conv: conv.clone(),
            user: u(user),
            cid,
            skip: 0,
            op,
        }
    })
    .into();
    let outcomes = shard.batch(&commands);
    assert!(matches!(&outcomes[0], ShardOutcome::Conversation(applied) if applied.seq == Some(3)));
    assert!(matches!(&outcomes[1], ShardOutcome::Conversation(applied) if applied.seq == Some(4)));
    assert!(matches!(
        &outcomes[2],
        ShardOutcome::Refused(ErrorCode::NotMember, _)
    ));
    assert_eq!(
        shard.no("bob", &conv, ConversationOp::Read { s: 1 }),
        ErrorCode::NotMember
    );
}

#[test]
fn last_owner_is_succeeded_by_oldest_admin_else_oldest_member() {
    let mut shard = TestShard::new();
    let conv = ranked(&mut shard);
    shard.ok("owner", &conv, set_role("carol", Role::Admin));
    let applied = shard.ok("owner", &conv, ConversationOp::Leave);
    // All of them are as old as the group, so the smaller id decides; the admin comes before the member.
    let events: Vec<_> = applied.events.iter().map(event).collect();
    let [Event::Member(next_owner), Event::Member(gone)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (&next_owner.member, next_owner.role, next_owner.change),
        (&u("admin"), Some(Role::Owner), MembershipChange::Role)
    );
    assert_eq!(
        (&gone.member, gone.role, gone.change, gone.seq),
        (&u("owner"), None, MembershipChange::Leave, applied.s)
    );
    assert_eq!(role(&shard, &conv, "admin"), Some(Role::Owner));
    shard.ok("admin", &conv, ConversationOp::Leave);
    assert_eq!(role(&shard, &conv, "carol"), Some(Role::Owner));
    shard.ok("carol", &conv, ConversationOp::Leave);
    assert_eq!(role(&shard, &conv, "bob"), Some(Role::Owner));
    shard.ok("bob", &conv, ConversationOp::Leave);
    assert_eq!(shard.no("bob", &conv, text("x")), ErrorCode::NotMember);
}

#[test]
fn one_who_comes_again_starts_anew() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    shard.ok("bob", &conv, ConversationOp::Leave);
    shard.ok("alice", &conv, text("while away"));
    let s = shard.ok("alice", &conv, invite("bob")).s;
    let view = query::open(&shard.rows, &conv, &u("bob"), Some(0)).unwrap();
    assert_eq!(
        (view.floor, view.read, view.delivered, view.last.seq),
        (s, s, s, s)
    );
    assert_eq!(view.events.map(|events| events.len()), Some(1));
    let summary = query::summary(&shard.rows, &conv, &u("bob")).unwrap();
    assert_eq!(summary.unread, 0);
}

#[test]
fn time_never_goes_back_within_a_conversation() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let first = shard.ok("alice", &conv, text("x")).ts;
    shard.now_ms -= 500_000;
    assert_eq!(shard.ok("bob", &conv, text("y")).ts, first);
}
