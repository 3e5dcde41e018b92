//! RPCs between nodes and deliveries of shard owners: method numbers, message types and their encoding.
//!
//! Every body is one version byte, then [postcard](https://postcard.jamesmunns.com). The numbers below and the order of
//! the fields are the format, frozen by tests with literal bytes. A changed type needs a new method number, so that
//! nodes of two versions work together during a rolling upgrade.
//!
//! | number | method | sent to | body → response |
//! |---|---|---|---|
//! | 1 | `SUBMIT` | the shard's owner | `submit::BatchHeader` and the commands → `submit::CommandReplies` |
//! | 2 | `REGISTER` | the shard's owner | `register::RegisterInterest` → `register::InterestRegistered` |
//! | 3 | `UNREGISTER` | the shard's owner | `register::UnregisterInterest` → nothing |
//! | 4 to 18, 23, 28, 31 to 33, 36, 40, 50 to 53 | queries | the owner of a shard, or of all shards named | the table of `query_method` |
//! | 19 | `REGISTER_PRESENCE` | the owner of the users' shard | `presence::RegisterPresence` → `presence::PresenceRegistered` |
//! | 20 | `PRESENCE_HEARTBEAT` | an owner of users' shards | `presence::PresenceHeartbeats` → `presence::ForgottenSessions` |
//! | 21 | `PRESENCE_UPDATES` | a node with a presence registration | `presence::PresenceUpdates` → nothing |
//! | 22 | `PRESENCE` | the owner of the users' shard | `presence::PresenceQuery` → `presence::Asked` |
//! | 24 | `ENDED` | every node | `login::LoginsRevoked` → nothing |
//! | 26 | `CONFIRM_TRANSFER` | the node that exported it | `resume::ConfirmRequest` → `bool` |
//! | 27 | `CANCEL_TRANSFER` | a node that holds a copy | `resume::CancelRequest` → nothing |
//! | 29 | `LAST_SESSION` | the owner of the user's shard | `presence::LastSessionQuery` → `Option<presence::LastSession>` |
//! | 30 | `FORWARD` | the node of a client's connection | `forward::ForwardedRequest` → `forward::ForwardedResponse` |
//! | 34 | `API_KEYS_REVOKED` | every node | nothing → nothing |
//! | 35 | `USER_ACCESS_CHANGED` | every node | `login::UserAccessChanged` → nothing |
//! | 42 | `END_SESSION` | the node of a session | `user_sessions::EndSessionRequest` → nothing |
//! | 47 | `ORDER_DRAIN` | the node to drain | `node_report::DrainOrder` → `node_report::DrainResult` |
//! | 54 | `EXPORT_ROWS` | the shard's owner | `backup::ExportRows` → `backup::ExportedRows` |
//! | 70 | `RESUME` | the node of the session | `resume::ExportRequest` → `resume::ExportResponse` |
//! | 71 | `USER_SESSIONS` | every node | `user_sessions::UserSessionsQuery` → `user_sessions::UserSessions` |
//! | 72 | `SUPPORT_REPORT` | every node | `support::SupportQuery` → `support::SupportReport` |
//! | 73 | `NODE_REPORT` | every node | `node_report::NodeReportQuery` → `node_report::NodeReport` |
//!
//! Former numbers, without a use: 25 was `RESUME`, 41 `USER_SESSIONS`, 46 `NODE_REPORT`.
//!
//! One-way, on the fan-out connection: 1 `DELIVER` (`deliver`), 2 `POSITIONS` (`deliver::Positions`), 3 `TYPING`
//! (`presence::TypingUpdate`).
//!
//! A refusal of any method is an [`RpcError`].

mod backup;
pub(crate) mod deliver;
pub(crate) mod forward;
pub(crate) mod login;
mod node_report;
pub(crate) mod presence;
mod query_method;
pub(crate) mod register;
pub(crate) mod resume;
mod session_id;
pub(crate) mod submit;
mod support;
mod user_sessions;

use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use backup::{ExportRows, ExportedRows};
pub(crate) use node_report::{
    DrainOrder, DrainResult, NodeReport, NodeReportQuery, ReplicaReport, ReportedState,
};
pub use query_method::NumberedQuery;
pub(crate) use query_method::{QueryMethod, QueryServer};
pub use session_id::SessionId;
pub(crate) use support::{SupportLine, SupportQuery, SupportReport};
pub(crate) use user_sessions::{
    EndSessionRequest, SessionFigures, UserSession, UserSessions, UserSessionsQuery,
};

use crate::state_machine::QueryError;

/// Timeout of one request to another node. A slow disk answers within it; a hanging node is given up.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Version of all message types.
pub(crate) const VERSION: u8 = 1;

pub(crate) const SUBMIT: u16 = 1;
/// Registration of a node's interest in deliveries.
pub(crate) const REGISTER: u16 = 2;
/// Removal of a part of that interest.
pub(crate) const UNREGISTER: u16 = 3;
/// Registration of a node's sessions and watches of a shard's users.
pub(crate) const REGISTER_PRESENCE: u16 = 19;
/// Heartbeat of a node's presence registrations.
pub(crate) const PRESENCE_HEARTBEAT: u16 = 20;
/// Updates about users and sessions for a node with a presence registration.
pub(crate) const PRESENCE_UPDATES: u16 = 21;
/// Presence of some of a shard's users.
pub(crate) const PRESENCE: u16 = 22;
/// Broadcast of revoked logins.
pub(crate) const ENDED: u16 = 24;
/// Export of a session to the node that its client has connected to.
pub(crate) const RESUME: u16 = 70;
/// Confirmation that the successor of an exported session is in use.
pub(crate) const CONFIRM_TRANSFER: u16 = 26;
/// Cancellation of an unused copy of a session.
pub(crate) const CANCEL_TRANSFER: u16 = 27;

/// Last session of a device.
pub(crate) const LAST_SESSION: u16 = 29;
/// Request of a client to the node that holds its connection.
pub(crate) const FORWARD: u16 = 30;
/// Broadcast of the revocation of an API key.
pub(crate) const API_KEYS_REVOKED: u16 = 34;
/// Broadcast of a change of a user's access.
pub(crate) const USER_ACCESS_CHANGED: u16 = 35;
/// Sessions of a user on a node.
pub(crate) const USER_SESSIONS: u16 = 71;
/// End of one session of a user.
pub(crate) const END_SESSION: u16 = 42;
/// State of a node for operators.
pub(crate) const NODE_REPORT: u16 = 73;
/// Order to drain a node, or to serve again.
pub(crate) const ORDER_DRAIN: u16 = 47;
/// Report of a node for the developers.
pub(crate) const SUPPORT_REPORT: u16 = 72;
/// Copy of a shard's rows for a backup.
pub(crate) const EXPORT_ROWS: u16 = 54;

/// One-way: events and notices from a shard owner.
pub(crate) const DELIVER: u16 = 1;
/// One-way: the last delivery seq of every registration.
pub(crate) const POSITIONS: u16 = 2;
/// One-way: a member types.
pub(crate) const TYPING: u16 = 3;

/// Reason for a refusal by another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RpcError {
    /// This node does not own the shard; the fields name the owner known here.
    NotOwner {
        /// Last known owner; `None` if unknown.
        owner: Option<u64>,
        /// Epoch of that owner.
        epoch: u64,
    },
    /// An earlier batch of the stream is missing. The sender must start a new stream.
    OutOfOrder,
    /// A queue is full. The sender may retry later.
    Busy,
    /// The batch was admitted and not answered in full. The sender must repeat everything unacknowledged in a new
    /// stream.
    Broken {
        /// True if some of its commands may have been applied.
        unknown: bool,
    },
    /// The registration is unknown. The node must register again.
    Unregistered,
    /// The user is no member, or the conversation does not exist.
    NotMember,
    /// The body is unreadable or its request invalid.
    Bad(String),
    /// An internal fault of the refusing node.
    Failed(String),
    /// The user is a member without the permission.
    Forbidden(String),
}

/// Decoding error: another version, or a damaged body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodecError {
    #[error("message version {0}, this node supports {VERSION}")]
    Version(u8),
    /// The body is too short or of another type.
    #[error("malformed: {0}")]
    Malformed(#[from] postcard::Error),
}

// === impl RpcError ===

impl From<QueryError> for RpcError {
    fn from(refused: QueryError) -> RpcError {
        match refused {
            QueryError::NotMember => RpcError::NotMember,
            QueryError::Forbidden(why) => RpcError::Forbidden(why.to_owned()),
            QueryError::Storage(error) => RpcError::Failed(error.to_string()),
        }
    }
}

// === encoding ===

/// Returns the body of a value.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    let start = Vec::from([VERSION]);
    Bytes::from(postcard::to_extend(value, start).expect("a vector takes any value"))
}

/// Decodes a value; another version or a malformed body is an error.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    Ok(postcard::from_bytes(versioned(body)?)?)
}

/// Returns what follows the version byte.
pub(crate) fn versioned(body: &[u8]) -> Result<&[u8], CodecError> {
    match body.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(CodecError::Version(*version)),
        None => Err(CodecError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Checks the literal bytes of a value, and that they decode to it.
    pub(crate) fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
        value: T,
        bytes: &[u8],
    ) {
        assert_eq!(&encode(&value)[..], bytes, "{value:?}");
        assert_eq!(decode::<T>(bytes).unwrap(), value);
    }

    #[test]
    fn refusals_are_frozen() {
        golden(
            RpcError::NotOwner {
                owner: Some(3),
                epoch: 300,
            },
            &[1, 0, 1, 3, 0xac, 2],
        );
        golden(RpcError::OutOfOrder, &[1, 1]);
        golden(RpcError::Busy, &[1, 2]);
        golden(RpcError::Broken { unknown: true }, &[1, 3, 1]);
        golden(RpcError::Unregistered, &[1, 4]);
        golden(RpcError::NotMember, &[1, 5]);
        golden(RpcError::Bad("x".into()), &[1, 6, 1, b'x']);
        golden(RpcError::Failed("x".into()), &[1, 7, 1, b'x']);
        golden(RpcError::Forbidden("x".into()), &[1, 8, 1, b'x']);
    }

    #[test]
    fn the_keys_of_the_cluster_are_frozen() {
        use crate::state_machine::{Keyring, SecretBytes, SigningKey};
        golden(None::<Keyring>, &[1, 0]);
        let key = SigningKey {
            seed: SecretBytes([8; 32]),
            from_ms: 9,
        };
        let ring = Keyring {
            pepper: SecretBytes([7; 32]),
            keys: vec![key],
        };
        let bytes = [&[1, 1][..], &[7; 32], &[1], &[8; 32], &[9]].concat();
        golden(Some(ring), &bytes);
    }

    #[test]
    fn another_version_is_named() {
        assert_eq!(
            decode::<RpcError>(&[9, 1]).unwrap_err().to_string(),
            "message version 9, this node supports 1"
        );
        assert!(decode::<RpcError>(&[]).is_err());
    }
}
