//! Limits, codes, lines of refresh tokens and signing keys, with the time passed in.

use super::query;
use crate::state_machine::ChatTable;
use storage::ScanOrder;

use super::{TestShard, id16, login_key};
use crate::state_machine::login::{
    AttemptLimit, KeyRotationPolicy, Keyring, LoginCodeId, LoginOutcome, SecretBytes, SigningKey,
    TokenFamilyId,
};
use crate::state_machine::row_store::RowReader;
use crate::state_machine::{LoginOp, RetentionOp, RetentionOutcome, ShardCommand, ShardOutcome};

const MINUTE: u64 = 60_000;
const LIMIT: AttemptLimit = AttemptLimit {
    most: 3,
    window_ms: 60 * MINUTE,
};
const PACE: KeyRotationPolicy = KeyRotationPolicy {
    period_ms: 1_000,
    overlap_ms: 100,
    keep_ms: 300,
};

fn step(shard: &mut TestShard, name: &str, op: LoginOp) -> LoginOutcome {
    let key = login_key(name);
    match shard.apply(ShardCommand::Login { key, op }) {
        ShardOutcome::Login(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn family(id: &str) -> TokenFamilyId {
    TokenFamilyId(id16(id))
}

fn hash(n: u8) -> SecretBytes {
    SecretBytes([n; 32])
}

fn put(shard: &mut TestShard, id: &str, code: u8) -> LoginOutcome {
    let code = hash(code);
    let put = LoginOp::PutCode {
        id: LoginCodeId(id16(id)),
        code,
        valid_ms: 5 * MINUTE,
        limit: LIMIT,
    };
    step(shard, "to_a", put)
}

fn attempt(shard: &mut TestShard, id: &str, code: u8, attempt: u64) -> LoginOutcome {
    let (code, tries) = (hash(code), 5);
    let attempt = LoginOp::TryCode {
        id: LoginCodeId(id16(id)),
        code,
        attempt,
        tries,
    };
    step(shard, "to_a", attempt)
}

fn open(shard: &mut TestShard, id: &str, token: u8) -> LoginOutcome {
    let token = hash(token);
    let valid_ms = 60 * MINUTE;
    let id = family(id);
    step(shard, "u_a", LoginOp::OpenLine { id, token, valid_ms })
}

fn turn(shard: &mut TestShard, token: u8, next: u8) -> LoginOutcome {
    let turn = LoginOp::TurnLine {
        id: family("l"),
        token: hash(token),
        next: hash(next),
        valid_ms: 60 * MINUTE,
        grace_ms: MINUTE,
    };
    step(shard, "u_a", turn)
}

fn rows(shard: &TestShard) -> usize {
    let all = shard.rows.scan(
        ChatTable::Login,
        &b""[..]..&[0xff; 80][..],
        ScanOrder::Ascending,
        10_000,
    );
    all.unwrap().len()
}

#[test]
fn attempts_above_the_limit_of_a_window_get_a_retry_time() {
    let mut shard = TestShard::new();
    let start = shard.now_ms;
    let count = |shard: &mut TestShard, nonce| step(shard, "ip_a", LoginOp::Count { nonce, limit: LIMIT });
    for i in 0..3 {
        shard.now_ms = start + i * MINUTE;
        assert_eq!(count(&mut shard, i), LoginOutcome::Accepted);
    }
    assert_eq!(
        count(&mut shard, 9),
        LoginOutcome::Limited { wait_ms: 58 * MINUTE }
    );
    assert_eq!(
        count(&mut shard, 1),
        LoginOutcome::Accepted,
        "a repeat is the same one"
    );
    shard.now_ms = start + 60 * MINUTE;
    assert_eq!(count(&mut shard, 9), LoginOutcome::Accepted);
    assert_eq!(count(&mut shard, 10), LoginOutcome::Limited { wait_ms: MINUTE });
    let other = LoginOp::Count {
        nonce: 1,
        limit: LIMIT,
    };
    assert_eq!(step(&mut shard, "ip_b", other), LoginOutcome::Accepted);
}

#[test]
fn a_code_is_right_once_and_until_its_end() {
    let mut shard = TestShard::new();
    assert_eq!(put(&mut shard, "c", 1), LoginOutcome::Accepted);
    assert_eq!(
        attempt(&mut shard, "other", 1, 1),
        LoginOutcome::Refused,
        "another challenge"
    );
    assert_eq!(attempt(&mut shard, "c", 1, 2), LoginOutcome::Accepted);
    assert_eq!(
        attempt(&mut shard, "c", 1, 2),
        LoginOutcome::Accepted,
        "the lane sent it again"
    );
    assert_eq!(
        attempt(&mut shard, "c", 1, 3),
        LoginOutcome::Refused,
        "it was used"
    );
    put(&mut shard, "d", 2);
    shard.now_ms += 5 * MINUTE - 1;
    assert_eq!(attempt(&mut shard, "d", 9, 4), LoginOutcome::Refused);
    assert_eq!(
        attempt(&mut shard, "d", 2, 5),
        LoginOutcome::Accepted,
        "at the last moment"
    );
    put(&mut shard, "e", 3);
    shard.now_ms += 5 * MINUTE;
    assert_eq!(attempt(&mut shard, "e", 3, 6), LoginOutcome::Refused, "too late");
}

#[test]
fn released_code_is_usable_once_more() {
    let mut shard = TestShard::new();
    put(&mut shard, "c", 1);
    let release = |shard: &mut TestShard, attempt| {
        let id = LoginCodeId(id16("c"));
        step(shard, "to_a", LoginOp::ReleaseCode { id, attempt })
    };
    assert_eq!(release(&mut shard, 1), LoginOutcome::Refused, "it was not used");
    assert_eq!(attempt(&mut shard, "c", 1, 1), LoginOutcome::Accepted);
    assert_eq!(release(&mut shard, 2), LoginOutcome::Refused, "by another one");
    assert_eq!(attempt(&mut shard, "c", 1, 2), LoginOutcome::Refused);
    assert_eq!(release(&mut shard, 1), LoginOutcome::Accepted);
    assert_eq!(release(&mut shard, 1), LoginOutcome::Refused, "a repetition");
    assert_eq!(attempt(&mut shard, "c", 1, 3), LoginOutcome::Accepted);
    assert_eq!(
        release(&mut shard, 1),
        LoginOutcome::Refused,
        "the tokens are out"
    );
    assert_eq!(attempt(&mut shard, "c", 1, 4), LoginOutcome::Refused);
    shard.now_ms += 5 * MINUTE;
    assert_eq!(release(&mut shard, 3), LoginOutcome::Accepted);
    assert_eq!(attempt(&mut shard, "c", 1, 5), LoginOutcome::Refused, "too late");
}

#[test]
fn five_wrong_tries_spend_a_code_and_a_repeat_is_no_try() {
    let mut shard = TestShard::new();
    put(&mut shard, "c", 1);
    for i in 1..=4 {
        assert_eq!(attempt(&mut shard, "c", 9, i), LoginOutcome::Refused);
        assert_eq!(attempt(&mut shard, "c", 9, i), LoginOutcome::Refused);
    }
    let mut fifth = TestShard {
        rows: shard.rows.clone(),
        ..TestShard::new()
    };
    assert_eq!(
        attempt(&mut fifth, "c", 1, 5),
        LoginOutcome::Accepted,
        "four were wrong"
    );
    assert_eq!(attempt(&mut shard, "c", 9, 5), LoginOutcome::Refused);
    assert_eq!(
        attempt(&mut shard, "c", 1, 6),
        LoginOutcome::Refused,
        "five were wrong"
    );
}

#[test]
fn codes_of_one_address_are_limited_and_live_side_by_side() {
    let mut shard = TestShard::new();
    let start = shard.now_ms;
    for (id, code) in [("c", 1), ("d", 2), ("e", 3)] {
        assert_eq!(put(&mut shard, id, code), LoginOutcome::Accepted);
        assert_eq!(
            put(&mut shard, id, code),
            LoginOutcome::Accepted,
            "the lane sent it again"
        );
        shard.now_ms += MINUTE;
    }
    let refused = put(&mut shard, "f", 4);
    assert_eq!(refused, LoginOutcome::Limited { wait_ms: 57 * MINUTE });
    assert_eq!(
        attempt(&mut shard, "f", 4, 1),
        LoginOutcome::Refused,
        "it was not kept"
    );
    assert_eq!(attempt(&mut shard, "d", 2, 2), LoginOutcome::Accepted);
    assert_eq!(
        attempt(&mut shard, "c", 1, 3),
        LoginOutcome::Accepted,
        "a newer one takes nothing away"
    );
    shard.now_ms = start + LIMIT.window_ms;
    assert_eq!(put(&mut shard, "g", 5), LoginOutcome::Accepted);
}

#[test]
fn refresh_token_rotates_and_its_reuse_revokes_the_family() {
    let mut shard = TestShard::new();
    assert_eq!(open(&mut shard, "l", 1), LoginOutcome::Accepted);
    assert_eq!(
        open(&mut shard, "l", 1),
        LoginOutcome::Accepted,
        "the lane sent it again"
    );
    assert_eq!(turn(&mut shard, 1, 2), LoginOutcome::Accepted);
    assert_eq!(
        turn(&mut shard, 1, 2),
        LoginOutcome::Accepted,
        "the lane sent it again"
    );
    assert_eq!(turn(&mut shard, 2, 3), LoginOutcome::Accepted);
    shard.now_ms += MINUTE;
    assert_eq!(
        turn(&mut shard, 1, 9),
        LoginOutcome::Reused(family("l")),
        "two tokens ago"
    );
    assert_eq!(
        turn(&mut shard, 3, 4),
        LoginOutcome::Refused,
        "the present one has gone with it"
    );
    assert_eq!(rows(&shard), 0);
}

#[test]
fn a_client_that_lost_the_answer_asks_again_for_a_short_time() {
    let mut shard = TestShard::new();
    open(&mut shard, "l", 1);
    assert_eq!(turn(&mut shard, 1, 2), LoginOutcome::Accepted);
    shard.now_ms += MINUTE - 1;
    assert_eq!(turn(&mut shard, 1, 3), LoginOutcome::Accepted, "2 was lost");
    assert_eq!(
        turn(&mut shard, 1, 3),
        LoginOutcome::Accepted,
        "the lane sent it again"
    );
    assert_eq!(turn(&mut shard, 3, 4), LoginOutcome::Accepted);
    shard.now_ms += 1;
    assert_eq!(
        turn(&mut shard, 1, 5),
        LoginOutcome::Reused(family("l")),
        "a minute after 1 was used"
    );
    assert_eq!(
        turn(&mut shard, 4, 6),
        LoginOutcome::Refused,
        "all of them have gone with it"
    );
    assert_eq!(turn(&mut shard, 2, 6), LoginOutcome::Refused);
    assert_eq!(rows(&shard), 0);
}

#[test]
fn two_tabs_that_use_one_token_at_once_both_stay_logged_in() {
    let mut shard = TestShard::new();
    open(&mut shard, "l", 1);
    assert_eq!(turn(&mut shard, 1, 2), LoginOutcome::Accepted, "one tab");
    assert_eq!(
        turn(&mut shard, 2, 3),
        LoginOutcome::Accepted,
        "which goes on at once"
    );
    shard.now_ms += MINUTE - 1;
    assert_eq!(turn(&mut shard, 1, 11), LoginOutcome::Accepted, "the other tab");
    for i in 3..9 {
        shard.now_ms += 30 * MINUTE;
        assert_eq!(turn(&mut shard, i, i + 1), LoginOutcome::Accepted);
        assert_eq!(turn(&mut shard, 8 + i, 9 + i), LoginOutcome::Accepted);
    }
    // Each of them is guarded by itself, and theft of one ends both.
    assert_eq!(
        turn(&mut shard, 13, 99),
        LoginOutcome::Reused(family("l")),
        "long ago"
    );
    assert_eq!(turn(&mut shard, 9, 10), LoginOutcome::Refused);
    assert_eq!(turn(&mut shard, 17, 18), LoginOutcome::Refused);
    assert_eq!(rows(&shard), 0);
}

#[test]
fn a_tab_that_was_closed_leaves_no_token_behind_for_ever() {
    let mut shard = TestShard::new();
    open(&mut shard, "l", 1);
    turn(&mut shard, 1, 2);
    assert_eq!(turn(&mut shard, 1, 3), LoginOutcome::Accepted);
    shard.now_ms += 40 * MINUTE;
    assert_eq!(turn(&mut shard, 3, 4), LoginOutcome::Accepted);
    shard.now_ms += 40 * MINUTE;
    let mut thief = TestShard {
        rows: shard.rows.clone(),
        now_ms: shard.now_ms,
        ..TestShard::new()
    };
    assert_eq!(turn(&mut thief, 2, 9), LoginOutcome::Refused, "it has expired");
    assert_eq!(turn(&mut thief, 4, 5), LoginOutcome::Accepted, "and ends nothing");
    assert_eq!(turn(&mut shard, 4, 5), LoginOutcome::Accepted);
}

#[test]
fn refresh_beyond_the_bound_is_refused_and_ends_nothing() {
    let mut shard = TestShard::new();
    open(&mut shard, "l", 1);
    for next in 2..=17 {
        assert_eq!(turn(&mut shard, 1, next), LoginOutcome::Accepted);
    }
    let row = shard.rows.0.values().map(bytes::Bytes::len).max().unwrap();
    assert!(row < 2_000, "{row} bytes");
    assert_eq!(turn(&mut shard, 1, 18), LoginOutcome::Refused, "16 are usable");
    shard.now_ms += 10 * MINUTE;
    assert_eq!(
        turn(&mut shard, 2, 41),
        LoginOutcome::Accepted,
        "the first of them"
    );
    assert_eq!(turn(&mut shard, 17, 42), LoginOutcome::Accepted, "and the last");
    // Expired ones, which nobody has used, make room.
    shard.now_ms += 50 * MINUTE;
    assert_eq!(turn(&mut shard, 41, 43), LoginOutcome::Accepted);
    assert_eq!(turn(&mut shard, 41, 44), LoginOutcome::Accepted);
    assert_eq!(turn(&mut shard, 44, 45), LoginOutcome::Accepted);
}

#[test]
fn a_token_family_ends_when_idle_or_revoked() {
    let mut shard = TestShard::new();
    open(&mut shard, "l", 1);
    shard.now_ms += 60 * MINUTE - 1;
    assert_eq!(turn(&mut shard, 1, 2), LoginOutcome::Accepted);
    shard.now_ms += 60 * MINUTE;
    assert_eq!(turn(&mut shard, 2, 3), LoginOutcome::Refused);

    let mut shard = TestShard::new();
    for id in ["l", "m", "n"] {
        open(&mut shard, id, 1);
    }
    for _ in 0..2 {
        let id = family("m");
        step(&mut shard, "u_a", LoginOp::EndLine { id, all: false });
    }
    assert_eq!(rows(&shard), 4, "a line and its end, twice");
    assert_eq!(turn(&mut shard, 1, 2), LoginOutcome::Accepted);
    let id = family("l");
    step(&mut shard, "u_a", LoginOp::EndLine { id, all: true });
    assert_eq!(rows(&shard), 0);
}

#[test]
fn user_over_the_limit_loses_the_first_family_to_expire() {
    let mut shard = TestShard::new();
    for i in 0..70 {
        shard.now_ms += 1;
        open(&mut shard, &format!("l{i:02}"), 1);
    }
    assert_eq!(rows(&shard), 2 * 64);
    let live = |shard: &mut TestShard, id: &str| {
        let turn = LoginOp::TurnLine {
            id: family(id),
            token: hash(1),
            next: hash(2),
            valid_ms: MINUTE,
            grace_ms: 0,
        };
        step(shard, "u_a", turn)
    };
    assert_eq!(live(&mut shard, "l05"), LoginOutcome::Refused);
    assert_eq!(live(&mut shard, "l06"), LoginOutcome::Accepted);
}

#[test]
fn login_sweep_removes_only_expired_rows_in_bounded_steps() {
    let mut shard = TestShard::new();
    for i in 0..400 {
        let name = format!("ip_{i}");
        step(
            &mut shard,
            &name,
            LoginOp::Count {
                nonce: 1,
                limit: LIMIT,
            },
        );
    }
    put(&mut shard, "c", 1);
    open(&mut shard, "l", 1);
    let before = rows(&shard);
    let sweep = |shard: &mut TestShard| match shard.apply(ShardCommand::Retention(RetentionOp::SweepLogins)) {
        ShardOutcome::Retention(RetentionOutcome::Swept { rows, more }) => (rows, more),
        other => panic!("{other:?}"),
    };
    assert!(!query::is_over(&shard.rows, shard.now_ms).unwrap());
    assert_eq!(sweep(&mut shard).0, 0);
    assert_eq!(rows(&shard), before);
    shard.now_ms += 5 * MINUTE;
    assert!(query::is_over(&shard.rows, shard.now_ms).unwrap());
    assert_eq!(sweep(&mut shard).0, 1, "the code");
    turn(&mut shard, 1, 2);
    shard.now_ms += 55 * MINUTE;
    let swept = sweep(&mut shard);
    assert_eq!(swept, (256, true));
    let swept = sweep(&mut shard);
    assert_eq!(swept, (145, false), "400 addresses of IP, one of a phone");
    assert_eq!(rows(&shard), 2, "the line was used meanwhile");
    assert_eq!(turn(&mut shard, 2, 3), LoginOutcome::Accepted);
    shard.now_ms += 60 * MINUTE;
    sweep(&mut shard);
    assert_eq!(rows(&shard), 0);
}

#[test]
fn keys_are_known_before_they_sign_and_retained_after() {
    let mut shard = TestShard::new();
    let turn = |shard: &mut TestShard, seed| {
        let step_of = LoginOp::TurnKeys {
            seed: hash(seed),
            pepper: hash(seed),
            pace: PACE,
        };
        step(shard, "keys", step_of)
    };
    let ring = |shard: &TestShard| query::keyring(&shard.rows).unwrap().unwrap();
    let seeds = |shard: &TestShard| {
        ring(shard)
            .keys
            .iter()
            .map(|key| key.seed.0[0])
            .collect::<Vec<_>>()
    };
    let start = shard.now_ms;
    assert_eq!(turn(&mut shard, 1), LoginOutcome::Accepted);
    assert_eq!(
        turn(&mut shard, 2),
        LoginOutcome::Refused,
        "another node was first"
    );
    assert_eq!(seeds(&shard), [1]);
    shard.now_ms = start + 899;
    assert_eq!(turn(&mut shard, 3), LoginOutcome::Refused);
    shard.now_ms = start + 900;
    assert_eq!(turn(&mut shard, 4), LoginOutcome::Accepted);
    assert_eq!(turn(&mut shard, 5), LoginOutcome::Refused);
    assert_eq!(seeds(&shard), [1, 4]);
    assert_eq!(ring(&shard).keys[1].from_ms, start + 1_000);
    assert_eq!(ring(&shard).signing(start + 999), Some(0));
    assert_eq!(ring(&shard).signing(start + 1_000), Some(1));
    shard.now_ms = start + 1_299;
    assert_eq!(turn(&mut shard, 6), LoginOutcome::Refused);
    shard.now_ms = start + 1_300;
    assert_eq!(turn(&mut shard, 7), LoginOutcome::Accepted);
    assert_eq!(seeds(&shard), [4], "no token of the first lives any more");
    // A cluster that was off for long publishes the next key before it uses it, as ever.
    shard.now_ms = start + 50_000;
    assert_eq!(turn(&mut shard, 8), LoginOutcome::Accepted);
    assert_eq!(ring(&shard).keys[1].from_ms, start + 50_100);
    assert_eq!(ring(&shard).signing(start + 50_099), Some(0));
    assert_eq!(ring(&shard).pepper, hash(1), "it is for ever");
}

#[test]
fn a_clock_that_lags_behind_still_signs() {
    let seed = hash(1);
    let ring = Keyring {
        pepper: hash(0),
        keys: vec![SigningKey { seed, from_ms: 1_000 }],
    };
    assert_eq!(ring.signing(0), Some(0));
}

#[test]
fn secrets_do_not_print() {
    let login = LoginOp::TurnKeys {
        seed: hash(0x41),
        pepper: hash(0x42),
        pace: PACE,
    };
    let printed = format!("{login:?}");
    assert!(!printed.contains("65") && !printed.contains("66"), "{printed}");
}
