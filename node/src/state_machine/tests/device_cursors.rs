//! Cursors of devices: replaced, removed, swept, and bounded in number.

use bytes::Bytes;
use protocol::ConversationId;

use super::query::{DeviceCursorsQuery, ShardQuery, StoredCursors};
use super::{TestShard, of_user, u};
use crate::state_machine::device_cursors::DEVICES;
use crate::state_machine::{DeviceCursors, RetentionOp, ShardCommand, UserOp};

const MINUTE: u64 = 60_000;

fn cursors(s: u64) -> DeviceCursors {
    DeviceCursors {
        gateway_state: Bytes::from_static(b"state"),
        positions: vec![(ConversationId::parse("g_1").unwrap(), s)],
    }
}

fn put(shard: &mut TestShard, device: &str, cursors: Option<DeviceCursors>, valid_ms: u64) {
    let op = UserOp::PutCursors {
        device: device.into(),
        cursors,
        valid_ms,
    };
    shard.apply(of_user(u("al"), op));
}

fn stored(shard: &TestShard, user: &str, device: &str) -> Option<StoredCursors> {
    let query = DeviceCursorsQuery {
        user: u(user),
        device: device.into(),
    };
    query.read(&shard.rows).unwrap()
}

fn sweep(shard: &mut TestShard) {
    shard.apply(ShardCommand::Retention(RetentionOp::SweepLogins));
}

#[test]
fn last_cursors_of_a_device_are_returned() {
    let mut shard = TestShard::new();
    put(&mut shard, "phone", Some(cursors(3)), MINUTE);
    put(&mut shard, "tablet", Some(cursors(9)), MINUTE);
    put(&mut shard, "phone", Some(cursors(4)), 2 * MINUTE);
    let phone = stored(&shard, "al", "phone").unwrap();
    assert_eq!(phone.cursors, cursors(4));
    assert_eq!(phone.expires_ms, shard.now_ms + 2 * MINUTE);
    assert_eq!(stored(&shard, "al", "tablet").unwrap().cursors, cursors(9));
    assert_eq!(stored(&shard, "bo", "phone"), None);
    assert_eq!(stored(&shard, "al", "phon"), None);
}

#[test]
fn removed_cursors_leave_nothing() {
    let mut shard = TestShard::new();
    put(&mut shard, "phone", Some(cursors(3)), MINUTE);
    for _ in 0..2 {
        put(&mut shard, "phone", None, 0);
        assert_eq!(shard.rows.0.len(), 0);
    }
}

#[test]
fn expired_cursors_are_swept_and_renewed_ones_stay() {
    let mut shard = TestShard::new();
    put(&mut shard, "phone", Some(cursors(3)), MINUTE);
    put(&mut shard, "tablet", Some(cursors(3)), MINUTE);
    put(&mut shard, "tablet", Some(cursors(5)), 3 * MINUTE);
    shard.now_ms += 2 * MINUTE;
    sweep(&mut shard);
    assert_eq!(stored(&shard, "al", "phone"), None);
    assert_eq!(stored(&shard, "al", "tablet").unwrap().cursors, cursors(5));
    shard.now_ms += 2 * MINUTE;
    sweep(&mut shard);
    assert_eq!(shard.rows.0.len(), 0);
}

#[test]
fn devices_of_a_user_are_bounded() {
    let mut shard = TestShard::new();
    for n in 0..DEVICES as u64 {
        // The last one expires first.
        put(&mut shard, &format!("d{n}"), Some(cursors(n)), (100 - n) * MINUTE);
    }
    put(&mut shard, "d5", Some(cursors(6)), MINUTE);
    assert!(
        stored(&shard, "al", "d63").is_some(),
        "a known device takes no room"
    );
    put(&mut shard, "new", Some(cursors(1)), MINUTE);
    assert_eq!(stored(&shard, "al", "d5"), None);
    assert!(stored(&shard, "al", "d63").is_some() && stored(&shard, "al", "new").is_some());
}
