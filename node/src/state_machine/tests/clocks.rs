//! Two times come with a batch: what happens is stamped with one, what ends by time ends by the other.

use protocol::ClientMessageId;

use super::query;
use super::{TestCommand, TestShard, done, id16, login_key, of_user, text, u};
use crate::state_machine::apply::apply_batch;
use crate::state_machine::apply_context::Time;
use crate::state_machine::login::{
    AttemptLimit, KeyRotationPolicy, Keyring, LoginCodeId, LoginOutcome, SecretBytes, TokenFamilyId,
};
use crate::state_machine::{LoginOp, RetentionOp, RetentionOutcome, ShardCommand, ShardOutcome, UserOp};

const TEN_DAYS: u64 = 10 * 24 * 3600 * 1000;
const MINUTE: u64 = 60_000;

/// Applies a command of a proposer whose time is far ahead of what a majority's clocks have reached.
fn ahead(shard: &mut TestShard, command: impl Into<ShardCommand>) -> ShardOutcome {
    shard.index += 1;
    let time = Time {
        now_ms: shard.now_ms + TEN_DAYS,
        reached_ms: shard.now_ms,
    };
    let mut outcomes = apply_batch(
        &mut shard.rows,
        shard.index,
        super::LEVEL,
        time,
        &[command.into().encode()],
    )
    .unwrap();
    outcomes.remove(0)
}

fn login(name: &str, op: LoginOp) -> ShardCommand {
    ShardCommand::Login {
        key: login_key(name),
        op,
    }
}

const SWEEP: ShardCommand = ShardCommand::Retention(RetentionOp::SweepLogins);

#[test]
fn login_expiry_follows_majority_time_and_not_the_proposers() {
    let mut shard = TestShard::new();
    let hash = |n: u8| SecretBytes([n; 32]);
    let limit = AttemptLimit {
        most: 3,
        window_ms: MINUTE,
    };
    let put = LoginOp::PutCode {
        id: LoginCodeId(id16("c")),
        code: hash(1),
        valid_ms: MINUTE,
        limit,
    };
    done(shard.apply(login("to_a", put)));
    let open = LoginOp::OpenLine {
        id: TokenFamilyId(id16("l")),
        token: hash(2),
        valid_ms: MINUTE,
    };
    done(shard.apply(login("u_a", open)));
    let pace = KeyRotationPolicy {
        period_ms: MINUTE,
        overlap_ms: 100,
        keep_ms: 100,
    };
    let turn = |seed| LoginOp::TurnKeys {
        seed: hash(seed),
        pepper: hash(9),
        pace,
    };
    done(shard.apply(login("keys", turn(3))));
    let keys = |shard: &TestShard| -> Keyring { query::keyring(&shard.rows).unwrap().unwrap() };
    let before = keys(&shard);

    assert_eq!(
        ahead(&mut shard, SWEEP),
        ShardOutcome::Retention(RetentionOutcome::Swept { rows: 0, more: false }),
        "nothing is over"
    );
    assert_eq!(
        ahead(&mut shard, login("keys", turn(4))),
        ShardOutcome::Login(LoginOutcome::Refused)
    );
    assert_eq!(keys(&shard), before);
    let attempt = LoginOp::TryCode {
        id: LoginCodeId(id16("c")),
        code: hash(1),
        attempt: 1,
        tries: 3,
    };
    assert_eq!(
        ahead(&mut shard, login("to_a", attempt)),
        ShardOutcome::Login(LoginOutcome::Accepted)
    );
    let next = LoginOp::TurnLine {
        id: TokenFamilyId(id16("l")),
        token: hash(2),
        next: hash(5),
        valid_ms: MINUTE,
        grace_ms: MINUTE,
    };
    assert_eq!(
        ahead(&mut shard, login("u_a", next)),
        ShardOutcome::Login(LoginOutcome::Accepted)
    );

    // Once a majority is there, all of it is over.
    shard.now_ms += TEN_DAYS + 2 * MINUTE;
    assert_eq!(
        shard.apply(login("keys", turn(4))),
        ShardOutcome::Login(LoginOutcome::Accepted)
    );
    assert!(matches!(
        shard.apply(SWEEP),
        ShardOutcome::Retention(RetentionOutcome::Swept { rows, .. }) if rows > 0
    ));
}

#[test]
fn keys_of_commands_last_three_days_that_a_majority_has_seen() {
    let mut shard = TestShard::new();
    let conv = shard.group("g_1", &["alice", "bob"]);
    let command = TestCommand {
        conv: conv.clone(),
        user: u("alice"),
        cid: ClientMessageId::parse("first").ok(),
        skip: 0,
        op: text("x"),
    };
    let first = done(shard.apply(command.clone()));
    for n in 0..3_000 {
        let next = TestCommand {
            cid: ClientMessageId::parse(&format!("n{n}")).ok(),
            ..command.clone()
        };
        done(ahead(&mut shard, next));
    }
    let again = done(shard.apply(command));
    assert_eq!((again.s, again.dup), (first.s, true));
}

fn seen_at(at_ms: u64) -> ShardCommand {
    of_user(u("bob"), UserOp::Seen { at_ms })
}

#[test]
fn no_user_was_seen_at_a_time_that_is_to_come() {
    let mut shard = TestShard::new();
    let now = shard.now_ms;
    done(shard.apply(seen_at(now + TEN_DAYS)));
    let seen = |shard: &TestShard| query::standing(&shard.rows, &u("bob"), &u("alice")).unwrap().seen;
    assert_eq!(seen(&shard), Some(now));
    shard.now_ms += MINUTE;
    done(shard.apply(seen_at(now + 1_000)));
    assert_eq!(seen(&shard), Some(now + 1_000));
}
