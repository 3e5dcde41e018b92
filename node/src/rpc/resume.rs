//! [`RESUME`](super::RESUME), `CONFIRM_TRANSFER` and `CANCEL_TRANSFER`: transfer of a session from one node to another.
//!
//! `RESUME` exports a session: the requesting node continues with a copy under a new session id. The old node keeps the
//! original until the client's first frame on the new connection, which proves that the client has the new id. Then
//! follows `CONFIRM_TRANSFER`. A client that never got the new id returns with the old one, and `CANCEL_TRANSFER` ends
//! the copy.

use bytes::Bytes;
use protocol::{ClientMessageId, ConversationId, UserId};
use serde::{Deserialize, Serialize};

use crate::rpc::SessionId;

/// Request for a copy of a session of the receiving node → [`ExportResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExportRequest {
    pub(crate) sid: SessionId,
    pub(crate) user: UserId,
    /// Device of the client; `None` if it has no name.
    pub(crate) device: Option<String>,
    /// Session seq of the client's last event; `None` for the last one that it has confirmed.
    pub(crate) n: Option<u64>,
    /// Id of the successor session.
    pub(crate) by: SessionId,
}

/// Response of the session's node to an [`ExportRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExportResponse {
    Snapshot(SessionSnapshot),
    /// The session was detached for longer than the resume timeout.
    Expired,
    /// The user and device have no such session.
    Unknown,
    /// The replay buffer no longer holds all events above `n`.
    Gap,
}

/// State of an exported session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionSnapshot {
    /// Events above the session seq `n`, in order: the JSON behind the session seq, and the log position that a client with this event
    /// has reached. `None` for an event without a log position.
    pub(crate) events: Vec<(Bytes, Option<(ConversationId, u64)>)>,
    /// Subscribed conversations, each with the last seq that is among `events` or precedes them.
    pub(crate) convs: Vec<(ConversationId, u64)>,
    /// Conversations with a pending automatic subscription.
    pub(crate) coming: Vec<ConversationId>,
    /// True if `convs` contains all conversations of the user at the session's start.
    pub(crate) confirmed: bool,
    /// Delivered positions that are not reported to the shard owner yet.
    pub(crate) delivered: Vec<(ConversationId, u64)>,
    pub(crate) watching: Vec<UserId>,
    /// The client's own messages without echo whose events have not arrived yet.
    pub(crate) quiet: Vec<(ConversationId, ClientMessageId)>,
    /// Session seq that the first of `events` follows.
    pub(crate) n: u64,
    /// State of the client's gateway, at most 64 KiB. Empty for native transports.
    pub(crate) gateway_state: Bytes,
    /// Number of sessions that this one has continued, one after the other.
    pub(crate) resumes: u32,
}

/// Confirmation that the client uses the successor → `true` if no other successor has been confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfirmRequest {
    /// Session that was exported to the successor.
    pub(crate) sid: SessionId,
    /// Id of the successor session.
    pub(crate) by: SessionId,
}

/// Cancellation of a copy, because the client continues with another session → nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CancelRequest {
    /// Session that was started from the copy.
    pub(crate) sid: SessionId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    const SID: SessionId = SessionId { node: 2, secret: 300 };
    const BY: SessionId = SessionId { node: 3, secret: 1 };

    #[test]
    fn queries_are_frozen() {
        golden(
            ExportRequest {
                sid: SID,
                user: UserId::parse("u").unwrap(),
                device: Some("d".to_owned()),
                n: Some(4),
                by: BY,
            },
            &[1, 2, 0xac, 2, 1, b'u', 1, 1, b'd', 1, 4, 3, 1],
        );
        golden(ConfirmRequest { sid: SID, by: BY }, &[1, 2, 0xac, 2, 3, 1]);
        golden(CancelRequest { sid: SID }, &[1, 2, 0xac, 2]);
    }

    #[test]
    fn responses_are_frozen() {
        let conv = ConversationId::parse("g").unwrap();
        golden(
            ExportResponse::Snapshot(SessionSnapshot {
                events: vec![
                    (Bytes::from_static(b"{}"), Some((conv.clone(), 5))),
                    (Bytes::from_static(b"}"), None),
                ],
                convs: vec![(conv.clone(), 5)],
                coming: vec![conv.clone()],
                confirmed: true,
                delivered: vec![(conv.clone(), 4)],
                watching: vec![UserId::parse("w").unwrap()],
                quiet: vec![(conv, ClientMessageId::parse("i").unwrap())],
                n: 9,
                gateway_state: Bytes::from_static(b"G"),
                resumes: 300,
            }),
            &[
                1, 0, 2, 2, b'{', b'}', 1, 1, b'g', 5, 1, b'}', 0, 1, 1, b'g', 5, 1, 1, b'g', 1, 1, 1, b'g',
                4, 1, 1, b'w', 1, 1, b'g', 1, b'i', 9, 1, b'G', 0xac, 2,
            ],
        );
        golden(ExportResponse::Expired, &[1, 1]);
        golden(ExportResponse::Unknown, &[1, 2]);
        golden(ExportResponse::Gap, &[1, 3]);
    }
}
