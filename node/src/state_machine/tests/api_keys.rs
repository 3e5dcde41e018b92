//! API keys and their audit log: created, listed, bound in number, revoked, recorded.

use super::query::{api_keys, audit};
use super::{TestShard, login_key};
use crate::state_machine::api_keys::{API_KEYS, AUDIT_ENTRIES};
use crate::state_machine::login::{LoginOutcome, SecretBytes};
use crate::state_machine::{ApiKeyId, KeyScope, LoginOp, ShardCommand, ShardOutcome};

fn step(shard: &mut TestShard, op: LoginOp) -> LoginOutcome {
    let key = login_key("keys");
    match shard.apply(ShardCommand::Login { key, op }) {
        ShardOutcome::Login(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn id(n: u8) -> ApiKeyId {
    ApiKeyId([n; 10])
}

fn create(n: u8) -> LoginOp {
    LoginOp::CreateApiKey {
        id: id(n),
        secret: SecretBytes([n; 32]),
        name: "back end".into(),
        scopes: [KeyScope::Messages].into_iter().collect(),
        expires_ms: Some(9),
    }
}

fn record(nonce: u64) -> LoginOp {
    LoginOp::Audit {
        nonce,
        key: id(1),
        act: "messages.send".into(),
        target: "g_1".into(),
        count: 1,
    }
}

fn acts(shard: &TestShard) -> Vec<(u64, String)> {
    let entries = audit(&shard.rows, None, 10).unwrap();
    entries
        .into_iter()
        .map(|entry| (entry.seq, entry.act.into_string()))
        .collect()
}

#[test]
fn api_key_is_listed_until_it_is_revoked() {
    let mut shard = TestShard::new();
    for _ in 0..2 {
        assert_eq!(step(&mut shard, create(1)), LoginOutcome::Accepted);
    }
    assert_eq!(step(&mut shard, create(2)), LoginOutcome::Accepted);
    let listed = api_keys(&shard.rows).unwrap();
    let [first, second] = &listed[..] else {
        panic!("{listed:?}")
    };
    assert_eq!((first.id, second.id), (id(1), id(2)));
    assert_eq!((first.created_ms, first.expires_ms), (1_000_000, Some(9)));
    assert!(first.secret == SecretBytes([1; 32]) && first.scopes.contains(KeyScope::Messages));
    for _ in 0..2 {
        let revoke = LoginOp::RevokeApiKey { id: id(1) };
        assert_eq!(step(&mut shard, revoke), LoginOutcome::ApiKeyRevoked);
    }
    assert_eq!(api_keys(&shard.rows).unwrap().len(), 1);
}

#[test]
fn operator_change_is_recorded_once_with_its_outcome() {
    let mut shard = TestShard::new();
    let change = |nonce: u64, outcome: &str| LoginOp::AuditOperator {
        nonce,
        who: "ci".into(),
        act: "nodes.drain".into(),
        target: "2".into(),
        outcome: outcome.into(),
    };
    for op in [
        change(1, "begun"),
        change(2, "begun"),
        change(1, "begun"),
        change(1, "done"),
        change(1, "failed: late"),
        // A key's entry has no outcome, whoever sends one.
        record(3),
        change(3, "done"),
    ] {
        assert_eq!(step(&mut shard, op), LoginOutcome::Accepted);
    }
    let entries = audit(&shard.rows, None, 10).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.seq, &*entry.who, &*entry.outcome, entry.key))
        .collect();
    let expected = [
        (2, "", "", Some(id(1))),
        (1, "ci", "begun", None),
        (0, "ci", "done", None),
    ];
    assert_eq!(found, expected);
}

#[test]
fn number_of_api_keys_is_bounded() {
    let mut shard = TestShard::new();
    for n in 0..API_KEYS {
        let n = u8::try_from(n).unwrap();
        assert_eq!(step(&mut shard, create(n)), LoginOutcome::Accepted);
    }
    let limited = LoginOutcome::Limited { wait_ms: 0 };
    assert_eq!(step(&mut shard, create(200)), limited);
    step(&mut shard, LoginOp::RevokeApiKey { id: id(3) });
    assert_eq!(step(&mut shard, create(200)), LoginOutcome::Accepted);
}

#[test]
fn newest_changes_with_api_keys_are_recorded_once() {
    let mut shard = TestShard::new();
    for nonce in [1, 1, 2] {
        assert_eq!(step(&mut shard, record(nonce)), LoginOutcome::Accepted);
    }
    assert_eq!(acts(&shard).len(), 2);
    for nonce in 3..=AUDIT_ENTRIES + 5 {
        step(&mut shard, record(nonce));
    }
    let entries = audit(&shard.rows, None, u32::MAX).unwrap();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    let expected: Vec<u64> = (5..AUDIT_ENTRIES + 5).rev().collect();
    assert_eq!(seqs, expected);
    assert_eq!(entries[0].key, Some(id(1)));
    let page = audit(&shard.rows, Some(7), 10).unwrap();
    assert_eq!(page.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [6, 5]);
    // One row per entry, one per number of a request, and the head.
    assert_eq!(shard.rows.0.len() as u64, 2 * AUDIT_ENTRIES + 1);
}
