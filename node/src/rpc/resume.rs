//! [`RESUME`](super::RESUME), [`SETTLE`](super::SETTLE) and [`VOID`](super::VOID): how a session gets from one node to
//! another.
//!
//! `RESUME` lends a session: the asker goes on with a copy, under a new name, and the old node keeps what it has until
//! the client proves, by its first frame on the new connection, that it knows the new name. Then comes `SETTLE`. If the
//! client comes with the old name again, because it never saw the new one, the copy is `VOID`.

use bytes::Bytes;
use protocol::{Cid, ConvId, UserId};
use serde::{Deserialize, Serialize};

use crate::session::sid::Sid;

/// A client wants to go on with a session of the node that is asked → [`Resumed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resume {
    /// The session.
    pub(crate) sid: Sid,
    /// The user who asks.
    pub(crate) user: UserId,
    /// The device that asks, if it has a name.
    pub(crate) device: Option<String>,
    /// The last event that the client has.
    pub(crate) n: u64,
    /// The session that will go on with it.
    pub(crate) by: Sid,
}

/// The answer to [`Resume`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Resumed {
    /// Here it is.
    Lent(Lent),
    /// It has been gone for too long.
    Expired,
    /// There is no such session of this user and device.
    Unknown,
    /// The events behind `n` are not all there.
    Gap,
}

/// Everything that a session consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lent {
    /// The events behind `n`, in order: what follows the number, and how far who has it has its conversation.
    pub(crate) events: Vec<(Bytes, Option<(ConvId, u64)>)>,
    /// The conversations that are followed, each with the last event that is among `events` or before.
    pub(crate) convs: Vec<(ConvId, u64)>,
    /// Conversations that were about to be introduced.
    pub(crate) coming: Vec<ConvId>,
    /// Whether everything that the user was in at the start is among `convs`.
    pub(crate) settled: bool,
    /// Delivered cursors that were not reported yet.
    pub(crate) delivered: Vec<(ConvId, u64)>,
    /// Whom the client watches.
    pub(crate) watching: Vec<UserId>,
    /// Messages of the client that it doesn't want to see, and that have not passed yet.
    pub(crate) quiet: Vec<(ConvId, Cid)>,
}

/// The client has used its new session → whether that one is the one that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settle {
    /// The session that was lent.
    pub(crate) sid: Sid,
    /// The session that goes on with it.
    pub(crate) by: Sid,
}

/// The client goes on with another copy → nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Void {
    /// The copy that is of no use.
    pub(crate) sid: Sid,
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    const SID: Sid = Sid { node: 2, secret: 300 };
    const BY: Sid = Sid { node: 3, secret: 1 };

    #[test]
    fn questions_are_frozen() {
        golden(
            Resume {
                sid: SID,
                user: UserId::parse("u").unwrap(),
                device: Some("d".to_owned()),
                n: 4,
                by: BY,
            },
            &[1, 2, 0xac, 2, 1, b'u', 1, 1, b'd', 4, 3, 1],
        );
        golden(Settle { sid: SID, by: BY }, &[1, 2, 0xac, 2, 3, 1]);
        golden(Void { sid: SID }, &[1, 2, 0xac, 2]);
    }

    #[test]
    fn answers_are_frozen() {
        let conv = ConvId::parse("g").unwrap();
        golden(
            Resumed::Lent(Lent {
                events: vec![
                    (Bytes::from_static(b"{}"), Some((conv.clone(), 5))),
                    (Bytes::from_static(b"}"), None),
                ],
                convs: vec![(conv.clone(), 5)],
                coming: vec![conv.clone()],
                settled: true,
                delivered: vec![(conv.clone(), 4)],
                watching: vec![UserId::parse("w").unwrap()],
                quiet: vec![(conv, Cid::parse("i").unwrap())],
            }),
            &[
                1, 0, 2, 2, b'{', b'}', 1, 1, b'g', 5, 1, b'}', 0, 1, 1, b'g', 5, 1, 1, b'g', 1, 1, 1, b'g',
                4, 1, 1, b'w', 1, 1, b'g', 1, b'i',
            ],
        );
        golden(Resumed::Expired, &[1, 1]);
        golden(Resumed::Unknown, &[1, 2]);
        golden(Resumed::Gap, &[1, 3]);
    }
}
