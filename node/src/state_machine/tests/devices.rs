//! Device tokens: created, listed, bound in number, revoked, and ended with the login that created them.

use super::query;
use super::{TestShard, id16, login_key, u};
use crate::state_machine::login::{LoginOutcome, SecretBytes, TokenFamilyId};
use crate::state_machine::{LoginOp, RetentionOp, ShardCommand, ShardOutcome};

const MINUTE: u64 = 60_000;

fn step(shard: &mut TestShard, op: LoginOp) -> LoginOutcome {
    let key = login_key("u_a");
    match shard.apply(ShardCommand::Login { key, op }) {
        ShardOutcome::Login(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn id(name: &str) -> TokenFamilyId {
    TokenFamilyId(id16(name))
}

fn hash(n: u8) -> SecretBytes {
    SecretBytes([n; 32])
}

fn open_login(shard: &mut TestShard, name: &str) {
    let open = LoginOp::OpenLine {
        id: id(name),
        token: hash(1),
        valid_ms: 60 * MINUTE,
    };
    assert_eq!(step(shard, open), LoginOutcome::Accepted);
}

fn open(shard: &mut TestShard, name: &str, login: Option<&str>, valid_ms: u64) -> LoginOutcome {
    let open = LoginOp::OpenDevice {
        id: id(name),
        token: hash(9),
        device: "phone".into(),
        name: None,
        login: login.map(id),
        valid_ms,
    };
    step(shard, open)
}

fn listed(shard: &TestShard) -> Vec<TokenFamilyId> {
    let entries = query::device_tokens(&shard.rows, &u("u_a")).unwrap();
    entries.into_iter().map(|entry| entry.id).collect()
}

#[test]
fn device_token_is_found_by_its_hash_until_it_is_revoked() {
    let mut shard = TestShard::new();
    assert_eq!(open(&mut shard, "d", None, 9 * MINUTE), LoginOutcome::Accepted);
    let found = |shard: &TestShard, user: &str, name: &str, n: u8| {
        query::device_token(&shard.rows, &u(user), id(name), &hash(n)).unwrap()
    };
    let entry = found(&shard, "u_a", "d", 9).unwrap();
    assert_eq!((&*entry.device, entry.name), ("phone", None));
    assert_eq!(entry.expires_ms, entry.created_ms + 9 * MINUTE);
    assert_eq!(found(&shard, "u_a", "d", 8), None);
    assert_eq!(found(&shard, "u_a", "e", 9), None);
    assert_eq!(found(&shard, "u_b", "d", 9), None);
    let ended = LoginOutcome::Ended {
        families: vec![id("d")],
        all: false,
    };
    for _ in 0..2 {
        assert_eq!(step(&mut shard, LoginOp::EndDevice { id: id("d") }), ended);
    }
    assert_eq!(found(&shard, "u_a", "d", 9), None);
    assert_eq!(shard.rows.0.len(), 0);
}

#[test]
fn repeated_creation_does_not_extend_a_device_token() {
    let mut shard = TestShard::new();
    open(&mut shard, "d", None, 9 * MINUTE);
    shard.now_ms += MINUTE;
    assert_eq!(open(&mut shard, "d", None, 9 * MINUTE), LoginOutcome::Accepted);
    let entry = &query::device_tokens(&shard.rows, &u("u_a")).unwrap()[0];
    assert_eq!(entry.expires_ms, shard.now_ms + 8 * MINUTE);
}

#[test]
fn ended_login_creates_no_device_token() {
    let mut shard = TestShard::new();
    assert_eq!(open(&mut shard, "d", Some("l"), MINUTE), LoginOutcome::Refused);
    open_login(&mut shard, "l");
    assert_eq!(open(&mut shard, "d", Some("l"), MINUTE), LoginOutcome::Accepted);
    shard.now_ms += 60 * MINUTE;
    assert_eq!(open(&mut shard, "e", Some("l"), MINUTE), LoginOutcome::Refused);
}

#[test]
fn logout_revokes_the_device_tokens_of_its_login_only() {
    let mut shard = TestShard::new();
    open_login(&mut shard, "l");
    open_login(&mut shard, "m");
    for (name, login) in [("a", Some("l")), ("b", Some("m")), ("c", None), ("d", Some("l"))] {
        open(&mut shard, name, login, 9 * MINUTE);
    }
    let end = |id, all| LoginOp::EndLine { id, all };
    let LoginOutcome::Ended { families, all } = step(&mut shard, end(id("l"), false)) else {
        panic!("a logout ends");
    };
    assert_eq!((families, all), (vec![id("l"), id("a"), id("d")], false));
    assert_eq!(listed(&shard), [id("b"), id("c")]);
    let LoginOutcome::Ended { families, all } = step(&mut shard, end(id("m"), true)) else {
        panic!("a logout ends");
    };
    assert_eq!((families, all), (vec![id("m"), id("b"), id("c")], true));
    assert_eq!(shard.rows.0.len(), 0);
}

#[test]
fn reused_refresh_token_revokes_the_device_tokens_of_its_login() {
    let mut shard = TestShard::new();
    open_login(&mut shard, "l");
    open(&mut shard, "d", Some("l"), 9 * MINUTE);
    let turn = |token| LoginOp::TurnLine {
        id: id("l"),
        token: hash(token),
        next: hash(token + 1),
        valid_ms: 60 * MINUTE,
        grace_ms: 0,
    };
    assert_eq!(step(&mut shard, turn(1)), LoginOutcome::Accepted);
    assert_eq!(step(&mut shard, turn(2)), LoginOutcome::Accepted);
    shard.now_ms += 9 * MINUTE - 1;
    let families = vec![id("l"), id("d")];
    assert_eq!(
        step(&mut shard, turn(1)),
        LoginOutcome::ReusedWithDevices { families }
    );
    assert_eq!(listed(&shard), []);
}

#[test]
fn user_has_at_most_64_device_tokens_that_have_not_expired() {
    let mut shard = TestShard::new();
    for i in 0..64 {
        let valid_ms = if i < 2 { MINUTE } else { 9 * MINUTE };
        open(&mut shard, &format!("d{i:02}"), None, valid_ms);
    }
    let limited = LoginOutcome::Limited { wait_ms: MINUTE };
    assert_eq!(open(&mut shard, "e", None, MINUTE), limited);
    assert_eq!(open(&mut shard, "d05", None, MINUTE), LoginOutcome::Accepted);
    shard.now_ms += MINUTE;
    assert_eq!(open(&mut shard, "e", None, MINUTE), LoginOutcome::Accepted);
    assert_eq!(listed(&shard).len(), 63);
    assert_eq!(open(&mut shard, "f", None, MINUTE), LoginOutcome::Accepted);
    let limited = LoginOutcome::Limited { wait_ms: MINUTE };
    assert_eq!(open(&mut shard, "g", None, MINUTE), limited);
}

#[test]
fn sweep_removes_expired_device_tokens() {
    let mut shard = TestShard::new();
    open(&mut shard, "d", None, MINUTE);
    open(&mut shard, "e", None, 2 * MINUTE);
    shard.now_ms += MINUTE;
    shard.apply(ShardCommand::Retention(RetentionOp::SweepLogins));
    assert_eq!(listed(&shard), [id("e")]);
    shard.now_ms += MINUTE;
    shard.apply(ShardCommand::Retention(RetentionOp::SweepLogins));
    assert_eq!(shard.rows.0.len(), 0);
}

#[test]
fn login_id_has_one_text() {
    let login = id("l").login();
    assert_eq!(TokenFamilyId::parse(login.as_str()), Some(id("l")));
    for text in ["", "l", &login.as_str().to_uppercase(), &login.as_str()[1..]] {
        assert_eq!(TokenFamilyId::parse(text), None, "{text}");
    }
}
