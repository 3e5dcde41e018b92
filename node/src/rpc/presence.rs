//! `REGISTER_PRESENCE`, `PRESENCE_HEARTBEAT`, `PRESENCE_UPDATES`, [`PRESENCE`](super::PRESENCE) and
//! [`TYPING`](super::TYPING): presence registrations, updates and queries, and typing notices.

use protocol::{ClientMessageId, ConversationId, UserId};
use serde::{Deserialize, Serialize};

use crate::rpc::SessionId;

/// Request to add to a node's presence registration at the owner of a users' shard, or to begin one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegisterPresence {
    pub(crate) shard: u16,
    /// Epoch of the shard owner as known by the node.
    pub(crate) epoch: u64,
    /// Id of the registration, chosen by the node.
    pub(crate) registration: u64,
    /// Id of the node's process, random at its start.
    pub(crate) incarnation: u64,
    /// True to begin the registration; it replaces the node's earlier one.
    pub(crate) fresh: bool,
    /// Sessions that have ended, as user and session tag.
    pub(crate) gone: Vec<(UserId, u64)>,
    pub(crate) sessions: Vec<SessionInfo>,
    /// Users that no session of the node watches any more.
    pub(crate) unwatched: Vec<UserId>,
    pub(crate) watched: Vec<PresenceWatch>,
}

/// Session of the registering node: a connected one, or a detached one with a named device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionInfo {
    pub(crate) user: UserId,
    pub(crate) tag: u64,
    /// Device and its instance; `None` if the client names no device, which excludes the session from displacement.
    pub(crate) device: Option<(String, String)>,
    /// Start of the session in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// True if the session awaits its admission. False if an earlier shard owner admitted it, or none was reachable.
    pub(crate) asks: bool,
    /// Mark of the session id; identifies the session on every node without revealing its id.
    pub(crate) mark: u64,
    /// Mark of the session that this one resumes; `None` for a new session.
    pub(crate) goes_on: Option<u64>,
    /// Id of the session, by which its device resumes it; `None` without a device.
    pub(crate) sid: Option<SessionId>,
    /// True for a detached session that waits for its device. It is not online and does not count.
    pub(crate) waiting: bool,
}

/// Watch on `user` by a session of `viewer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceWatch {
    pub(crate) user: UserId,
    pub(crate) viewer: UserId,
    /// True if the node's sessions were notified that the user is online.
    pub(crate) online: bool,
}

/// Response to a [`RegisterPresence`] request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceRegistered {
    /// Decision on each session, in the order of the request.
    pub(crate) sessions: Vec<SessionAdmission>,
    /// Presence of each watched user, in the order of the request.
    pub(crate) watched: Vec<PresenceView>,
}

/// Decision on the admission of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SessionAdmission {
    Admitted,
    /// Refused, because instances of the device displace each other too often.
    Conflict,
    /// Refused, because the user has too many sessions.
    TooMany,
    /// Refused, because a later session of the device is connected.
    Displaced(DisplacedSession),
}

/// Reason for the displacement of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DisplacedSession {
    /// The same instance of the device has another connection.
    Replaced,
    /// Another instance of the device has connected.
    Displaced,
}

/// Presence of a user with respect to one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceView {
    pub(crate) state: VersionedPresence,
    /// Start of the user's block of the viewer in milliseconds since the Unix epoch; `None` without a block.
    pub(crate) blocked: Option<u64>,
}

/// Presence of a user. Under one epoch the later state has the higher version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionedPresence {
    /// True with a session, and during the grace period after the last one.
    pub(crate) online: bool,
    /// Last time online in milliseconds since the Unix epoch; `None` if unknown.
    pub(crate) seen: Option<u64>,
    /// Change counter of the shard owner.
    pub(crate) version: u64,
}

/// Presence of a user as visible to one viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisiblePresence {
    /// True during the grace period, too.
    pub online: bool,
    /// Last-seen time in milliseconds since the epoch; `None` if unknown.
    pub seen: Option<u64>,
}

/// Registrations to be kept alive: shard, epoch, registration.
pub(crate) type PresenceHeartbeats = Vec<(u16, u64, u64)>;

/// Shards of these registrations whose owner has no such registration.
pub(crate) type ForgottenSessions = Vec<u16>;

/// Updates since the last ones that the node has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceUpdates {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) registration: u64,
    pub(crate) items: Vec<PresenceUpdate>,
}

/// Single update about a user or a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PresenceUpdate {
    /// The presence of a watched user has changed.
    Presence { user: UserId, state: VersionedPresence },
    /// The watched `user` has blocked `viewer`, or has ended the block.
    Blocked {
        user: UserId,
        viewer: UserId,
        /// Start of the block in milliseconds since the Unix epoch; `None` if it has ended.
        since: Option<u64>,
    },
    /// A session of the node was displaced by another.
    Displaced { tag: u64, how: DisplacedSession },
    /// A login of the user was revoked, so its sessions end.
    Ended {
        user: UserId,
        /// Revoked login; `None` for all.
        login: Option<ClientMessageId>,
    },
    /// The nodes with sessions of the user have changed in number; each grants an equal share of the user's rates.
    Divided {
        user: UserId,
        /// Number of these nodes, this one included.
        nodes: u32,
    },
    /// The profile of a watched user has changed.
    Profile { user: UserId, ver: u64 },
}

/// Query for the presence of users of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceQuery {
    pub(crate) shard: u16,
    /// User whose visibility applies; `None` for the cluster itself, which ignores blocks.
    pub(crate) viewer: Option<UserId>,
    pub(crate) users: Vec<UserId>,
}

/// Response to [`PresenceQuery`], in the order of its users.
pub(crate) type Asked = Vec<PresenceResult>;

/// Presence of one queried user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PresenceResult {
    /// True if a session of the user is connected at this moment, without the grace period.
    pub(crate) live: bool,
    /// Presence with respect to the viewer; without a viewer no block is set.
    pub(crate) view: PresenceView,
}

/// Query for the last session of a device → `Option<`[`LastSession`]`>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastSessionQuery {
    pub(crate) shard: u16,
    pub(crate) user: UserId,
    pub(crate) device: String,
}

/// Last session of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastSession {
    pub(crate) sid: SessionId,
    /// True if the session is detached.
    pub(crate) waiting: bool,
}

/// Start or end of a member's typing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TypingUpdate {
    pub(crate) conv: ConversationId,
    pub(crate) user: UserId,
    pub(crate) on: bool,
}

/// Returns the presence visible to the viewer. A blocked viewer sees the user offline since the moment of the block.
pub(crate) fn visible_to(PresenceView { state, blocked }: PresenceView) -> VisiblePresence {
    let VersionedPresence { online, seen, .. } = state;
    match blocked {
        None => VisiblePresence { online, seen },
        Some(since) => VisiblePresence {
            online: false,
            seen: seen.map(|seen| seen.min(since)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    fn user() -> UserId {
        UserId::parse("u").unwrap()
    }

    #[test]
    fn the_encoding_from_nodes_to_owners_is_frozen() {
        let session = SessionInfo {
            user: user(),
            tag: 300,
            device: Some(("d".into(), "i".into())),
            since_ms: 7,
            asks: true,
            mark: 9,
            goes_on: Some(8),
            sid: Some(SessionId { node: 2, secret: 300 }),
            waiting: true,
        };
        let watch = PresenceWatch {
            user: user(),
            viewer: UserId::parse("v").unwrap(),
            online: true,
        };
        golden(
            RegisterPresence {
                shard: 1,
                epoch: 2,
                registration: 3,
                incarnation: 4,
                fresh: true,
                gone: vec![(user(), 5)],
                sessions: vec![session],
                unwatched: vec![user()],
                watched: vec![watch],
            },
            &[
                1, 1, 2, 3, 4, 1, 1, 1, b'u', 5, 1, 1, b'u', 0xac, 2, 1, 1, b'd', 1, b'i', 7, 1, 9, 1, 8, 1,
                2, 0xac, 2, 1, 1, 1, b'u', 1, 1, b'u', 1, b'v', 1,
            ],
        );
        let state = VersionedPresence {
            online: true,
            seen: Some(8),
            version: 9,
        };
        golden(
            PresenceRegistered {
                sessions: vec![
                    SessionAdmission::Admitted,
                    SessionAdmission::Conflict,
                    SessionAdmission::TooMany,
                    SessionAdmission::Displaced(DisplacedSession::Replaced),
                    SessionAdmission::Displaced(DisplacedSession::Displaced),
                ],
                watched: vec![PresenceView {
                    state,
                    blocked: Some(6),
                }],
            },
            &[1, 5, 0, 1, 2, 3, 0, 3, 1, 1, 1, 1, 8, 9, 1, 6],
        );
        golden::<PresenceHeartbeats>(vec![(1, 2, 3)], &[1, 1, 1, 2, 3]);
        golden::<ForgottenSessions>(vec![1], &[1, 1, 1]);
    }

    #[test]
    fn the_encoding_from_owners_to_nodes_is_frozen() {
        let state = VersionedPresence {
            online: false,
            seen: None,
            version: 9,
        };
        let presence = PresenceUpdate::Presence { user: user(), state };
        let blocked = PresenceUpdate::Blocked {
            user: user(),
            viewer: UserId::parse("v").unwrap(),
            since: None,
        };
        let displaced = PresenceUpdate::Displaced {
            tag: 5,
            how: DisplacedSession::Displaced,
        };
        let ended = PresenceUpdate::Ended {
            user: user(),
            login: Some(ClientMessageId::parse("x").unwrap()),
        };
        let divided = PresenceUpdate::Divided {
            user: user(),
            nodes: 2,
        };
        let profile = PresenceUpdate::Profile { user: user(), ver: 7 };
        golden(
            PresenceUpdates {
                shard: 1,
                epoch: 2,
                registration: 3,
                items: vec![presence, blocked, displaced, ended, divided, profile],
            },
            &[
                1, 1, 2, 3, 6, 0, 1, b'u', 0, 0, 9, 1, 1, b'u', 1, b'v', 0, 2, 5, 1, 3, 1, b'u', 1, 1, b'x',
                4, 1, b'u', 2, 5, 1, b'u', 7,
            ],
        );
    }

    #[test]
    fn queries_and_typing_are_frozen() {
        golden(
            PresenceQuery {
                shard: 1,
                viewer: None,
                users: vec![user()],
            },
            &[1, 1, 0, 1, 1, b'u'],
        );
        let state = VersionedPresence {
            online: true,
            seen: None,
            version: 1,
        };
        golden::<Asked>(
            vec![PresenceResult {
                live: true,
                view: PresenceView { state, blocked: None },
            }],
            &[1, 1, 1, 1, 0, 1, 0],
        );
        let device = "d".to_owned();
        let query = LastSessionQuery {
            shard: 1,
            user: user(),
            device,
        };
        golden(query, &[1, 1, 1, b'u', 1, b'd']);
        let sid = SessionId { node: 2, secret: 300 };
        golden(Some(LastSession { sid, waiting: true }), &[1, 1, 2, 0xac, 2, 1]);
        golden(
            TypingUpdate {
                conv: ConversationId::parse("g").unwrap(),
                user: user(),
                on: true,
            },
            &[1, 1, b'g', 1, b'u', 1],
        );
    }
}
