//! Access of users: deactivation and the revocation of tokens, with the logins that end by them.

use super::query::{UserAccessQuery, device_tokens};
use super::{TestShard, id16, login_key, of_user, u};
use crate::state_machine::login::{AttemptLimit, LoginOutcome, SecretBytes, TokenFamilyId};
use crate::state_machine::query::ShardQuery;
use crate::state_machine::{LoginOp, ShardCommand, ShardOutcome, UserAccess, UserOp, UserOutcome};

fn step(shard: &mut TestShard, op: LoginOp) -> LoginOutcome {
    let key = login_key("u_a");
    match shard.apply(ShardCommand::Login { key, op }) {
        ShardOutcome::Login(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn put(
    shard: &mut TestShard,
    deactivated: Option<bool>,
    before_s: Option<u64>,
) -> (Vec<TokenFamilyId>, bool) {
    let op = UserOp::PutAccess {
        deactivated,
        before_s,
    };
    match shard.apply(of_user(u("u_a"), op)) {
        ShardOutcome::User(UserOutcome::AccessChanged { logins, closes }) => (logins, closes),
        other => panic!("{other:?}"),
    }
}

fn access(shard: &TestShard) -> UserAccess {
    let query = UserAccessQuery { user: u("u_a") };
    query.read(&shard.rows).unwrap()
}

fn id(name: &str) -> TokenFamilyId {
    TokenFamilyId(id16(name))
}

fn open(shard: &mut TestShard, name: &str) -> LoginOutcome {
    let open = LoginOp::OpenLine {
        id: id(name),
        token: SecretBytes([1; 32]),
        valid_ms: 60_000_000,
    };
    step(shard, open)
}

fn open_device(shard: &mut TestShard, name: &str, login: Option<&str>) -> LoginOutcome {
    let open = LoginOp::OpenDevice {
        id: id(name),
        token: SecretBytes([1; 32]),
        device: "phone".into(),
        name: None,
        login: login.map(id),
        valid_ms: 60_000_000,
    };
    step(shard, open)
}

#[test]
fn deactivated_user_has_no_login_until_reactivation() {
    let mut shard = TestShard::new();
    assert_eq!(access(&shard), UserAccess::default());
    open(&mut shard, "l");
    open_device(&mut shard, "d", None);
    assert_eq!(put(&mut shard, Some(true), None), (vec![id("l"), id("d")], true));
    assert_eq!(put(&mut shard, Some(true), None), (vec![], true));
    assert!(access(&shard).deactivated);
    assert_eq!(open(&mut shard, "m"), LoginOutcome::Refused);
    assert_eq!(open_device(&mut shard, "e", None), LoginOutcome::Refused);
    assert!(device_tokens(&shard.rows, &u("u_a")).unwrap().is_empty());
    // The steps of others do not depend on it.
    let limit = AttemptLimit {
        most: 5,
        window_ms: 9,
    };
    let count = ShardCommand::Login {
        key: login_key("ip_x"),
        op: LoginOp::Count { nonce: 1, limit },
    };
    assert_eq!(shard.apply(count), ShardOutcome::Login(LoginOutcome::Accepted));
    assert_eq!(put(&mut shard, Some(false), None), (vec![], false));
    assert_eq!(open(&mut shard, "m"), LoginOutcome::Accepted);
}

#[test]
fn revocation_ends_the_earlier_logins_and_never_moves_back() {
    let mut shard = TestShard::new();
    // The first login and its devices are of the second 1000, the others of 2000.
    open(&mut shard, "l");
    open_device(&mut shard, "a", None);
    shard.now_ms = 2_000_000;
    open(&mut shard, "m");
    open_device(&mut shard, "b", Some("l"));
    open_device(&mut shard, "c", Some("m"));
    let expected = (vec![id("l"), id("a"), id("b")], true);
    assert_eq!(put(&mut shard, None, Some(2_000)), expected);
    assert_eq!(put(&mut shard, None, Some(1_500)), (vec![], true));
    let row = UserAccess {
        deactivated: false,
        before_s: 2_000,
    };
    assert_eq!(access(&shard), row);
    // Without a value the sessions end, and nothing else.
    assert_eq!(put(&mut shard, None, None), (vec![], true));
    assert_eq!(access(&shard), row);
    let left = device_tokens(&shard.rows, &u("u_a")).unwrap();
    assert_eq!(left.iter().map(|entry| entry.id).collect::<Vec<_>>(), [id("c")]);
}
