//! Client that has presented a valid token, and the point at which it resumes.

use protocol::command::{Authenticate, DeviceResume, ResumeSession, ResumeTarget};
use protocol::response::ReadyResponse;
use tokio::sync::oneshot;

use crate::auth::TokenIdentity;
use crate::presence::Device;
use crate::rpc::SessionId;

/// Authenticated client with the parameters of its connection.
pub struct AuthenticatedClient {
    pub identity: TokenIdentity,
    /// `None`: the client named no device.
    pub device: Option<String>,
    /// Random per start of the app; `None`: not given.
    pub instance: Option<String>,
    /// `None`: the client starts a new session.
    pub resume: Option<ResumePoint>,
    /// Receives the opened session, for transports that answer their client themselves. Dropped without a value if the
    /// session is refused.
    pub opened_sender: Option<oneshot::Sender<OpenedSession>>,
}

/// Session that was opened for an authenticated client.
#[derive(Clone, Debug)]
pub struct OpenedSession {
    /// Response `ready`, which has the session id and the result of the resume.
    pub ready: ReadyResponse,
}

/// Position in the events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumePoint {
    /// Behind event `n` of this session.
    Behind(SessionId, u64),
    /// Behind the last event of this session that its client has confirmed.
    Session(SessionId),
    /// Behind event `from` of the last session of the client's device.
    Device {
        /// `None`: behind the last event that the client has confirmed.
        from: Option<u64>,
    },
    /// The start of a new session, which ends the last one of the client's device.
    Clean,
    /// The client sent an invalid session id or number.
    Invalid,
}

// === impl AuthenticatedClient, ResumePoint ===

impl AuthenticatedClient {
    /// Returns the client of an `auth` command.
    pub(super) fn of(auth: Authenticate, identity: TokenIdentity) -> AuthenticatedClient {
        AuthenticatedClient {
            identity,
            resume: auth.resume.as_ref().map(ResumePoint::from),
            device: auth.device,
            instance: auth.instance,
            opened_sender: None,
        }
    }

    pub(super) fn device(&self) -> Option<Device> {
        let name = self.device.clone()?;
        // Without an instance, every start of the app counts as the same one.
        let instance = self.instance.clone().unwrap_or_default();
        Some(Device { name, instance })
    }
}

impl ResumePoint {
    /// Parses a resume point, `<sid>:<n>`.
    #[must_use]
    pub fn parse(text: &str) -> ResumePoint {
        let split = text.trim().split_once(':');
        split
            .and_then(|(sid, n)| Some(ResumePoint::Behind(sid.parse().ok()?, n.parse().ok()?)))
            .unwrap_or(ResumePoint::Invalid)
    }

    /// Parses the id of a session whose client knows no event numbers.
    #[must_use]
    pub fn of_session(sid: &str) -> ResumePoint {
        sid.trim()
            .parse()
            .map_or(ResumePoint::Invalid, ResumePoint::Session)
    }
}

impl From<&ResumeTarget> for ResumePoint {
    fn from(target: &ResumeTarget) -> ResumePoint {
        match target {
            ResumeTarget::Session(ResumeSession {
                session_id: sid,
                session_seq: n,
            }) => sid
                .parse()
                .map_or(ResumePoint::Invalid, |sid| ResumePoint::Behind(sid, *n)),
            ResumeTarget::Device(DeviceResume::Device) => ResumePoint::Device { from: None },
            ResumeTarget::Device(DeviceResume::Clean) => ResumePoint::Clean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_session_and_a_number() {
        let sid = SessionId { node: 3, secret: 5 };
        assert_eq!(
            ResumePoint::parse(&format!("{sid}:412")),
            ResumePoint::Behind(sid, 412)
        );
        assert_eq!(
            ResumePoint::parse(&format!(" {sid}:0 ")),
            ResumePoint::Behind(sid, 0)
        );
        assert_eq!(
            ResumePoint::of_session(&sid.to_string()),
            ResumePoint::Session(sid)
        );
        assert_eq!(ResumePoint::of_session(&format!("{sid}:4")), ResumePoint::Invalid);
        for text in [
            "",
            ":",
            "3:4",
            &format!("{sid}"),
            &format!("{sid}:-1"),
            &format!("{sid}:"),
            &format!("{sid}:1:2"),
        ] {
            assert_eq!(ResumePoint::parse(text), ResumePoint::Invalid, "{text}");
        }
    }
}
