//! Who may make a user a member, as the user's shard decides it.

use crate::state_machine::ChatTable;
use proptest::prelude::*;
use protocol::{ClientMessageId, ConversationId, ConversationKind, ErrorCode, GroupInvite};
use storage::ScanOrder;

use super::{TestCommand, TestShard, create, done, of_user, text, u};
use crate::state_machine::consent::{AdditionLimits, AdditionVerdict};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::{ConversationOp, OutboxId, ShardOutcome, UserOp, UserOutcome, keys};

const DAY_MS: u64 = 24 * 3600 * 1000;
const BOUNDS: AdditionLimits = AdditionLimits { by_one: 3, by_all: 5 };

/// Asks bob's shard.
fn ask(
    shard: &mut TestShard,
    by: &str,
    conv: &str,
    cid: &str,
    shared: Option<&str>,
    bounds: AdditionLimits,
) -> AdditionVerdict {
    let op = UserOp::MayAdd {
        by: u(by),
        conversation: ConversationId::parse(conv).unwrap(),
        cid: ClientMessageId::parse(cid).unwrap(),
        shared: shared.map(|conv| ConversationId::parse(conv).unwrap()),
        bounds,
    };
    match shard.apply(of_user(u("bob"), op)) {
        ShardOutcome::User(UserOutcome::Addition(verdict)) => verdict,
        other => panic!("{other:?}"),
    }
}

fn apply_op(shard: &mut TestShard, op: UserOp) {
    done(shard.apply(of_user(u("bob"), op)));
}

fn rows(shard: &TestShard) -> usize {
    let (start, end) = keys::added_by_anybody(&u("bob"));
    let rows = shard.rows.scan(
        ChatTable::UserIndex,
        &start..&end,
        ScanOrder::Ascending,
        usize::MAX,
    );
    rows.unwrap().len()
}

#[test]
fn within_a_day_one_adds_so_often_and_all_together_so_often() {
    let mut shard = TestShard::new();
    let add = |shard: &mut TestShard, by, cid: &str| {
        ask(shard, by, "g_1", cid, None, BOUNDS) == AdditionVerdict::Allowed
    };
    for cid in ["1", "2", "3"] {
        assert!(add(&mut shard, "ann", cid));
    }
    assert!(!add(&mut shard, "ann", "4"));
    assert!(add(&mut shard, "ann", "2"), "the same again is the same");
    // One whose name begins alike is another.
    assert!(add(&mut shard, "an", "1") && add(&mut shard, "ann2", "1"));
    assert!(!add(&mut shard, "cat", "1"), "all together");
    shard.now_ms += DAY_MS - 1;
    assert!(!add(&mut shard, "cat", "1"));
    shard.now_ms += 1;
    assert!(add(&mut shard, "cat", "1") && add(&mut shard, "ann", "4"));
    assert_eq!(rows(&shard), 2, "what no longer counts is forgotten");
    let none = AdditionLimits { by_one: 0, by_all: 0 };
    for i in 0..20 {
        assert_eq!(
            ask(&mut shard, "ann", "g_2", &i.to_string(), None, none),
            AdditionVerdict::Allowed
        );
    }
    assert_eq!(rows(&shard), 2);
}

#[test]
fn a_blocked_user_may_not_add_and_others_may() {
    let mut shard = TestShard::new();
    let block = |on, index| UserOp::BlockPut {
        who: u("ann"),
        on,
        version: OutboxId { index, n: 0 },
        at_ms: 1,
    };
    apply_op(&mut shard, block(true, 1));
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "1", None, BOUNDS),
        AdditionVerdict::Declined
    );
    assert_eq!(
        ask(&mut shard, "cat", "g_1", "1", None, BOUNDS),
        AdditionVerdict::Allowed
    );
    apply_op(&mut shard, block(false, 2));
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "1", None, BOUNDS),
        AdditionVerdict::Allowed
    );
}

#[test]
fn the_user_says_who_may() {
    let mut shard = TestShard::new();
    let wish = |group_invite| UserOp::Wish { group_invite };
    apply_op(&mut shard, wish(GroupInvite::NoOne));
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "1", None, BOUNDS),
        AdditionVerdict::Declined
    );
    apply_op(&mut shard, wish(GroupInvite::SharesConversation));
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "1", None, BOUNDS),
        AdditionVerdict::SharedOnly
    );
    for (index, conv) in [(1, "g_2"), (2, "ch_2"), (3, "d_2")] {
        let version = OutboxId { index, n: 0 };
        let member = true;
        apply_op(
            &mut shard,
            UserOp::IndexPut {
                conversation: ConversationId::parse(conv).unwrap(),
                member,
                version,
                at_ms: 1,
            },
        );
    }
    // Anybody begins a direct conversation, and joins a channel, without asking.
    for shared in ["g_3", "ch_2", "d_2"] {
        assert_eq!(
            ask(&mut shard, "ann", "g_1", "1", Some(shared), BOUNDS),
            AdditionVerdict::Declined,
            "{shared}"
        );
    }
    assert_eq!(rows(&shard), 0, "what is refused is not counted");
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "1", Some("g_2"), BOUNDS),
        AdditionVerdict::Allowed
    );
    let left = UserOp::IndexPut {
        conversation: ConversationId::parse("g_2").unwrap(),
        member: false,
        version: OutboxId { index: 9, n: 0 },
        at_ms: 2,
    };
    apply_op(&mut shard, left);
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "2", Some("g_2"), BOUNDS),
        AdditionVerdict::Declined
    );
    apply_op(&mut shard, wish(GroupInvite::Anyone));
    assert_eq!(
        ask(&mut shard, "ann", "g_1", "2", None, BOUNDS),
        AdditionVerdict::Allowed
    );
}

#[test]
fn a_refusal_keeps_its_order_and_earlier_results_stay() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["own", "mem"]);
    let not_added = |who: Option<&str>| ConversationOp::NotAdded {
        who: who.map(u),
        why: "can't be added by you: bob".into(),
    };
    let command = |user: &str, cid: &str, op| TestCommand {
        conv: ConversationId::parse("g_1").unwrap(),
        user: u(user),
        cid: ClientMessageId::parse(cid).ok(),
        skip: 0,
        op,
    };
    let invite = command("own", "i", ConversationOp::Invite { who: u("bob") });
    let first = done(shard.apply(invite));
    let again = done(shard.apply(command("own", "i", not_added(Some("bob")))));
    assert_eq!((again.s, again.dup), (first.s, true));
    let refused = |outcome| match outcome {
        ShardOutcome::Refused(code, msg) => (code, msg),
        other => panic!("{other:?}"),
    };
    let (code, msg) = refused(shard.apply(command("own", "j", not_added(Some("cat")))));
    assert_eq!(
        (code, msg.as_str()),
        (ErrorCode::Forbidden, "can't be added by you: bob")
    );
    // Who may not invite hears that, and a stranger that it is one.
    for (user, who, code) in [
        ("mem", "cat", ErrorCode::Forbidden),
        ("out", "cat", ErrorCode::NotMember),
        ("own", "mem", ErrorCode::Conflict),
    ] {
        let (found, msg) = refused(shard.apply(command(user, "k", not_added(Some(who)))));
        assert_eq!(found, code);
        assert!(!msg.contains("bob"), "{msg}");
    }
    // A conversation that was made is made.
    assert!(done(shard.apply(command("own", "made", not_added(None)))).dup);
    assert_eq!(shard.no("mem", &conv, not_added(None)), ErrorCode::Forbidden);
    let new = ConversationId::parse("g_2").unwrap();
    assert_eq!(shard.no("own", &new, not_added(None)), ErrorCode::Forbidden);
    assert_eq!(shard.no("own", &new, text("x")), ErrorCode::NotMember);
    shard.ok("own", &new, create(ConversationKind::Group, &[]));
}

proptest! {
    /// However it is asked, no window of a day has more memberships than the bounds, and nothing is refused that is within.
    #[test]
    fn no_day_has_more_than_the_bounds(asked in prop::collection::vec((0..4usize, 0..6u8, 0..DAY_MS / 3), 1..60)) {
        let mut shard = TestShard::new();
        let mut granted: Vec<(u64, usize, String)> = Vec::new();
        for (by, cid, later) in asked {
            shard.now_ms += later;
            let (by_name, cid) = (["ann", "an", "cat", "dan"][by], cid.to_string());
            let recent: Vec<_> = granted.iter().filter(|(at, ..)| at + DAY_MS > shard.now_ms).cloned().collect();
            let known = recent.iter().any(|(_, known, key)| (*known, key) == (by, &cid));
            let one = recent.iter().filter(|(_, known, _)| *known == by).count();
            let fits = one < 3 && recent.len() < 5;
            let yes = ask(&mut shard, by_name, "g_1", &cid, None, BOUNDS) == AdditionVerdict::Allowed;
            prop_assert_eq!(yes, known || fits);
            if yes && !known {
                granted.push((shard.now_ms, by, cid));
            }
            prop_assert!(rows(&shard) <= 6);
        }
    }
}
