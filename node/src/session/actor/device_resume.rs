//! Resume by device: the owner of the user's shard remembers the last session of each named device, so that a client
//! without a session id continues it at any node, or ends it.

use std::time::Duration;

use actix::Context;

use super::Session;
use crate::rpc::SessionId;
use crate::session::authenticated_client::{AuthenticatedClient, ResumePoint};

/// Maximum time for the query. Without a response the client starts anew, as after the loss of a node.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Session that a client continues or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResumeSource {
    /// The client starts a new session.
    Nothing,
    /// The client named a session that does not exist.
    Missing,
    /// The client continues this session, whose id it knows, behind event `n`; `None`: behind the last event that it has
    /// confirmed.
    Behind(SessionId, Option<u64>),
    /// The client continues this session of its device, behind such an event.
    OfDevice(SessionId, Option<u64>),
    /// The client starts a new session, which ends this one.
    Ends(SessionId),
}

// === impl ResumeSource ===

impl ResumeSource {
    /// Returns the source for a client whose device had `last` as its last session.
    fn of_device(point: Option<ResumePoint>, last: Option<SessionId>) -> ResumeSource {
        match (point, last) {
            (Some(ResumePoint::Device { from }), Some(last)) => ResumeSource::OfDevice(last, from),
            (Some(ResumePoint::Clean), Some(last)) => ResumeSource::Ends(last),
            (Some(ResumePoint::Device { .. }), None) => ResumeSource::Missing,
            _ => ResumeSource::Nothing,
        }
    }

    /// Returns the mark of the session that the client continues. Only its id shows that it is the same client: two
    /// clients of one device that resume by the device take the session from each other, which is limited.
    pub(super) fn goes_on(self) -> Option<u64> {
        match self {
            ResumeSource::Behind(sid, _) => Some(sid.mark()),
            ResumeSource::Nothing
            | ResumeSource::Missing
            | ResumeSource::OfDevice(..)
            | ResumeSource::Ends(_) => None,
        }
    }
}

// === impl Session: resume by device ===

impl Session {
    /// Finds the last session of the client's device, before this one takes its place in the registry.
    pub(super) fn find_last(
        &mut self,
        ctx: &mut Context<Session>,
        id: Option<i64>,
        client: AuthenticatedClient,
    ) {
        let Some(device) = client.device.clone() else {
            return self.enter(ctx, id, client, ResumeSource::Missing);
        };
        let (conversations, user) = (self.worker.conversations.clone(), client.identity.user.clone());
        let query = async move {
            let last = conversations.last_session(&user, &device);
            tokio::time::timeout(QUERY_TIMEOUT, last).await
        };
        self.intake.pause();
        self.wait(ctx, query, move |session, ctx, last| {
            session.intake.resume();
            // The connection closed meanwhile; the session that was found is unchanged.
            if session.link.is_closed() {
                return;
            }
            let last = last.ok().and_then(Result::ok).flatten();
            let source = ResumeSource::of_device(client.resume, last);
            session.enter(ctx, id, client, source);
            session.schedule_backlog();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_continues_or_ends_its_last_session() {
        let sid = SessionId { node: 3, secret: 5 };
        let of = |point, last| ResumeSource::of_device(Some(point), last);
        let by_device = ResumePoint::Device { from: Some(4) };
        assert_eq!(of(by_device, Some(sid)), ResumeSource::OfDevice(sid, Some(4)));
        assert_eq!(of(by_device, None), ResumeSource::Missing);
        assert_eq!(of(ResumePoint::Clean, Some(sid)), ResumeSource::Ends(sid));
        assert_eq!(of(ResumePoint::Clean, None), ResumeSource::Nothing);
        let marks = [
            ResumeSource::Behind(sid, None),
            ResumeSource::OfDevice(sid, None),
            ResumeSource::Ends(sid),
            ResumeSource::Missing,
        ];
        assert_eq!(
            marks.map(ResumeSource::goes_on),
            [Some(sid.mark()), None, None, None]
        );
    }
}
