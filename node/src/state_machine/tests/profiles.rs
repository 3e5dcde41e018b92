//! Profiles of users, as the user's shard has them.

use protocol::limits;

use super::{TestShard, of_user, u};
use crate::state_machine::query::{ProfilesQuery, ScatterQuery, StoredProfile};
use crate::state_machine::{ShardOutcome, UserOp, UserOutcome};

fn put(shard: &mut TestShard, [name, avatar, data]: [Option<&str>; 3]) -> (u64, bool) {
    let op = UserOp::PutProfile {
        name: name.map(Into::into),
        avatar: avatar.map(Into::into),
        data: data.map(Into::into),
    };
    match shard.apply(of_user(u("bob"), op)) {
        ShardOutcome::User(UserOutcome::Profile { ver, changed }) => (ver, changed),
        other => panic!("{other:?}"),
    }
}

fn ask(shard: &TestShard, user: &str, known: u64, with_data: bool) -> Option<StoredProfile> {
    let query = ProfilesQuery {
        users: vec![(u(user), known)],
        with_data,
    };
    query.read(&shard.rows, &query.users[0]).unwrap()
}

#[test]
fn a_change_replaces_what_it_names_and_removes_what_is_empty() {
    let mut shard = TestShard::new();
    assert_eq!(
        put(&mut shard, [Some("Bob"), Some("/b.png"), Some(r#"{"x" : 1}"#)]),
        (1, true)
    );
    assert_eq!(put(&mut shard, [Some("Bobby"), None, None]), (2, true));
    let expected = StoredProfile {
        ver: 2,
        name: Some("Bobby".into()),
        avatar: Some("/b.png".into()),
        data: Some(r#"{"x" : 1}"#.into()),
    };
    assert_eq!(ask(&shard, "bob", 0, true), Some(expected));
    assert_eq!(put(&mut shard, [Some(""), Some(""), Some("")]), (3, true));
    let nothing = StoredProfile {
        ver: 3,
        ..StoredProfile::default()
    };
    assert_eq!(
        ask(&shard, "bob", 2, true),
        Some(nothing),
        "the version never falls"
    );
}

#[test]
fn a_repeated_change_is_applied_once() {
    let mut shard = TestShard::new();
    let change = [Some("Bob"), None, Some("{}")];
    assert_eq!(put(&mut shard, change), (1, true));
    let rows = shard.rows.clone();
    assert_eq!(put(&mut shard, change), (1, false));
    assert_eq!(put(&mut shard, [None; 3]), (1, false));
    assert_eq!(shard.rows, rows);
}

#[test]
fn a_change_without_effect_writes_no_row() {
    let mut shard = TestShard::new();
    assert_eq!(put(&mut shard, [Some(""), None, None]), (0, false));
    assert_eq!(shard.rows, TestShard::new().rows);
}

#[test]
fn a_profile_of_the_known_version_is_not_returned() {
    let mut shard = TestShard::new();
    put(&mut shard, [Some("Bob"), None, Some("{}")]);
    assert_eq!(ask(&shard, "bob", 1, true), None);
    assert_eq!(ask(&shard, "bob", 0, false).unwrap().data, None);
    assert_eq!(ask(&shard, "bob", 9, true).unwrap().ver, 1);
    assert_eq!(ask(&shard, "nobody", 0, true), None);
}

#[test]
fn oversized_values_are_refused_and_change_nothing() {
    let mut shard = TestShard::new();
    let long = "x".repeat(limits::DATA_BYTES + 1);
    let [name, avatar] = [limits::NAME_BYTES, limits::AVATAR_BYTES].map(|bytes| &long[..=bytes]);
    for [name, avatar, data] in [
        [Some(name), None, None],
        [None, Some(avatar), None],
        [None, None, Some(&long[..])],
    ] {
        let op = UserOp::PutProfile {
            name: name.map(Into::into),
            avatar: avatar.map(Into::into),
            data: data.map(Into::into),
        };
        let outcome = shard.apply(of_user(u("bob"), op));
        assert!(matches!(outcome, ShardOutcome::Refused(..)), "{outcome:?}");
    }
    assert_eq!(shard.rows, TestShard::new().rows);
}
