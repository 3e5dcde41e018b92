//! [`USER_SESSIONS`](super::USER_SESSIONS) and [`END_SESSION`](super::END_SESSION): sessions of one user on one node, for
//! the user itself.

use protocol::{ClientMessageId, UserId};
use serde::{Deserialize, Serialize};

/// Query for the sessions of a user on the receiving node → [`UserSessions`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserSessionsQuery {
    pub(crate) user: UserId,
}

/// Sessions of a user on one node, in no order.
pub(crate) type UserSessions = Vec<UserSession>;

/// Session of a user on one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserSession {
    /// Mark of the session id, which names the session without granting access to it.
    pub(crate) mark: u64,
    /// `None`: the client named no device.
    pub(crate) device: Option<String>,
    /// Time at which the session began or continued on its node, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// True without a connection.
    pub(crate) detached: bool,
    /// Login of the token that the client presented last; `None` for a token of another issuer.
    pub(crate) login: Option<ClientMessageId>,
    /// `None` if the session did not answer in time.
    pub(crate) figures: Option<SessionFigures>,
}

/// Figures of a session, which only its thread knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionFigures {
    /// Number of sessions that this one has continued, one after the other.
    pub(crate) resumes: u32,
    /// Bytes of the events that the client has not confirmed.
    pub(crate) outbox_bytes: u64,
}

/// Request to end a session of a user on the receiving node → nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndSessionRequest {
    pub(crate) user: UserId,
    pub(crate) mark: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn the_encoding_of_user_sessions_is_frozen() {
        let user = UserId::parse("u").unwrap();
        golden(UserSessionsQuery { user: user.clone() }, &[1, 1, b'u']);
        let session = UserSession {
            mark: 300,
            device: Some("d".into()),
            since_ms: 7,
            detached: true,
            login: Some(ClientMessageId::parse("x").unwrap()),
            figures: Some(SessionFigures {
                resumes: 2,
                outbox_bytes: 300,
            }),
        };
        golden::<UserSessions>(
            vec![session],
            &[1, 1, 0xac, 2, 1, 1, b'd', 7, 1, 1, 1, b'x', 1, 2, 0xac, 2],
        );
        golden(EndSessionRequest { user, mark: 300 }, &[1, 1, b'u', 0xac, 2]);
    }
}
