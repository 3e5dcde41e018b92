//! [`ATTEND`](super::ATTEND), [`BEAT`](super::BEAT), [`NEWS`](super::NEWS), [`PRESENCE`](super::PRESENCE) and
//! [`TYPING`](super::TYPING): who is there, who wants to know, and who writes.

use protocol::{Cid, ConvId, UserId};
use serde::{Deserialize, Serialize};

/// Adds to what the owner of a users' shard knows of a node, or begins anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attend {
    /// The shard.
    pub(crate) shard: u16,
    /// The owner's epoch, as the node believes.
    pub(crate) epoch: u64,
    /// Drawn by the node.
    pub(crate) registration: u64,
    /// The node's process, random at its start.
    pub(crate) incarnation: u64,
    /// Begins the registration, in place of the node's earlier one.
    pub(crate) fresh: bool,
    /// Sessions that are gone: the user and the session's tag.
    pub(crate) gone: Vec<(UserId, u64)>,
    /// Sessions that are there.
    pub(crate) seats: Vec<Seat>,
    /// Users nobody on the node watches any more.
    pub(crate) unwatched: Vec<UserId>,
    /// Users whom somebody on the node watches.
    pub(crate) watched: Vec<Watch>,
}

/// A connected session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    /// The user.
    pub(crate) user: UserId,
    /// The session's tag.
    pub(crate) tag: u64,
    /// The device and its instance; `None` where the client names none: then nothing is displaced.
    pub(crate) device: Option<(String, String)>,
    /// When it came, in milliseconds since the epoch.
    pub(crate) since_ms: u64,
    /// It waits to be let in; otherwise it was let in by an earlier owner, or without one.
    pub(crate) asks: bool,
    /// Tells it from the user's other sessions, wherever it goes on.
    pub(crate) mark: u64,
    /// The mark of the session that it wants to go on with.
    pub(crate) goes_on: Option<u64>,
}

/// A session of `viewer` watches `user`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Whom.
    pub(crate) user: UserId,
    /// Who.
    pub(crate) viewer: UserId,
    /// The node has told its sessions that the user is there.
    pub(crate) online: bool,
}

/// The answer to [`Attend`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attended {
    /// What becomes of each session, in the order of the question.
    pub(crate) seats: Vec<Admission>,
    /// How each watched user stands, in the order of the question.
    pub(crate) watched: Vec<View>,
}

/// Whether a session is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Admission {
    /// It is.
    Admitted,
    /// Instances of the device displace each other too fast: this one gives in.
    Conflict,
    /// The user has too many sessions.
    TooMany,
    /// A later session of the device is there already.
    Displaced(Displaced),
}

/// How a session lost its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Displaced {
    /// The same instance of the same device has another connection.
    Replaced,
    /// Another instance of the same device came.
    Displaced,
}

/// How a user stands, as one viewer may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// The user.
    pub(crate) state: State,
    /// Since when the user blocks the viewer, in milliseconds since the epoch.
    pub(crate) barred: Option<u64>,
}

/// How a user stands. A later one has the greater version under the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Whether the user counts as present.
    pub(crate) online: bool,
    /// When the user was seen last, in milliseconds since the epoch.
    pub(crate) seen: Option<u64>,
    /// The owner's count of changes.
    pub(crate) version: u64,
}

/// The registrations that a node believes the owner to know: shard, epoch, registration.
pub(crate) type Beats = Vec<(u16, u64, u64)>;

/// The shards among them whose owner doesn't know the registration.
pub(crate) type Forgotten = Vec<u16>;

/// What has happened since the last news to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News {
    /// The shard.
    pub(crate) shard: u16,
    /// The owner's epoch.
    pub(crate) epoch: u64,
    /// The node's registration.
    pub(crate) registration: u64,
    /// What.
    pub(crate) items: Vec<Item>,
}

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// A watched user came or went.
    Presence {
        /// Who.
        user: UserId,
        /// How the user stands now.
        state: State,
    },
    /// A watched user blocks another, or no longer.
    Barred {
        /// The user who blocks.
        user: UserId,
        /// The other.
        viewer: UserId,
        /// Since when, in milliseconds since the epoch; `None`: no longer.
        since: Option<u64>,
    },
    /// A session of the node lost its place.
    Displaced {
        /// The session.
        tag: u64,
        /// How.
        how: Displaced,
    },
    /// A login of a user has ended, or all of them: its sessions are over.
    Ended {
        /// The user.
        user: UserId,
        /// Which login; `None`: all.
        login: Option<Cid>,
    },
    /// A user with sessions at the node is connected at so many nodes: each gives a part of the user's rates.
    Divided {
        /// Who.
        user: UserId,
        /// At how many, this one included.
        nodes: u32,
    },
}

/// Who of these is there?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The shard of all of them.
    pub(crate) shard: u16,
    /// Who wants to know; `None`: the cluster itself, from which nobody hides.
    pub(crate) viewer: Option<UserId>,
    /// Whom.
    pub(crate) users: Vec<UserId>,
}

/// The answer to [`Ask`], in the order of the question.
pub(crate) type Asked = Vec<Found>;

/// Whether a user is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Whether a session of the user is connected at this moment.
    pub(crate) live: bool,
    /// What the viewer is shown; with nobody asking, what is.
    pub(crate) view: View,
}

/// A member types, or has stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Typing {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// Who.
    pub(crate) user: UserId,
    /// Whether the user types.
    pub(crate) on: bool,
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    fn user() -> UserId {
        UserId::parse("u").unwrap()
    }

    #[test]
    fn what_nodes_tell_owners_is_frozen() {
        let seat = Seat {
            user: user(),
            tag: 300,
            device: Some(("d".into(), "i".into())),
            since_ms: 7,
            asks: true,
            mark: 9,
            goes_on: Some(8),
        };
        let watch = Watch {
            user: user(),
            viewer: UserId::parse("v").unwrap(),
            online: true,
        };
        golden(
            Attend {
                shard: 1,
                epoch: 2,
                registration: 3,
                incarnation: 4,
                fresh: true,
                gone: vec![(user(), 5)],
                seats: vec![seat],
                unwatched: vec![user()],
                watched: vec![watch],
            },
            &[
                1, 1, 2, 3, 4, 1, 1, 1, b'u', 5, 1, 1, b'u', 0xac, 2, 1, 1, b'd', 1, b'i', 7, 1, 9, 1, 8, 1,
                1, b'u', 1, 1, b'u', 1, b'v', 1,
            ],
        );
        let state = State {
            online: true,
            seen: Some(8),
            version: 9,
        };
        golden(
            Attended {
                seats: vec![
                    Admission::Admitted,
                    Admission::Conflict,
                    Admission::TooMany,
                    Admission::Displaced(Displaced::Replaced),
                    Admission::Displaced(Displaced::Displaced),
                ],
                watched: vec![View {
                    state,
                    barred: Some(6),
                }],
            },
            &[1, 5, 0, 1, 2, 3, 0, 3, 1, 1, 1, 1, 8, 9, 1, 6],
        );
        golden::<Beats>(vec![(1, 2, 3)], &[1, 1, 1, 2, 3]);
        golden::<Forgotten>(vec![1], &[1, 1, 1]);
    }

    #[test]
    fn what_owners_tell_nodes_is_frozen() {
        let state = State {
            online: false,
            seen: None,
            version: 9,
        };
        let presence = Item::Presence { user: user(), state };
        let barred = Item::Barred {
            user: user(),
            viewer: UserId::parse("v").unwrap(),
            since: None,
        };
        let displaced = Item::Displaced {
            tag: 5,
            how: Displaced::Displaced,
        };
        let ended = Item::Ended {
            user: user(),
            login: Some(Cid::parse("x").unwrap()),
        };
        let divided = Item::Divided {
            user: user(),
            nodes: 2,
        };
        golden(
            News {
                shard: 1,
                epoch: 2,
                registration: 3,
                items: vec![presence, barred, displaced, ended, divided],
            },
            &[
                1, 1, 2, 3, 5, 0, 1, b'u', 0, 0, 9, 1, 1, b'u', 1, b'v', 0, 2, 5, 1, 3, 1, b'u', 1, 1, b'x',
                4, 1, b'u', 2,
            ],
        );
    }

    #[test]
    fn questions_and_typing_are_frozen() {
        golden(
            Ask {
                shard: 1,
                viewer: None,
                users: vec![user()],
            },
            &[1, 1, 0, 1, 1, b'u'],
        );
        let state = State {
            online: true,
            seen: None,
            version: 1,
        };
        golden::<Asked>(
            vec![Found {
                live: true,
                view: View { state, barred: None },
            }],
            &[1, 1, 1, 1, 0, 1, 0],
        );
        golden(
            Typing {
                conv: ConvId::parse("g").unwrap(),
                user: user(),
                on: true,
            },
            &[1, 1, b'g', 1, b'u', 1],
        );
    }
}
