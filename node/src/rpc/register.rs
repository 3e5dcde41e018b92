//! [`REGISTER`](super::REGISTER) and [`UNREGISTER`](super::UNREGISTER): what a node wants of a shard.

use bytes::Bytes;
use protocol::{ConvId, History, UserId};
use serde::{Deserialize, Serialize};

use crate::conversation::timeline::read::{Logged, Placed};

/// Adds to a registration, or begins one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Register {
    /// The shard.
    pub(crate) shard: u16,
    /// The owner's epoch, as the node believes.
    pub(crate) epoch: u64,
    /// Drawn by the node.
    pub(crate) registration: u64,
    /// Begins the registration, in place of the node's earlier one.
    pub(crate) fresh: bool,
    /// Conversations with subscribers, each with the last event that is there, if any is.
    pub(crate) convs: Vec<(ConvId, Option<u64>)>,
    /// Users with sessions.
    pub(crate) users: Vec<UserId>,
    /// Users who want to subscribe.
    pub(crate) admits: Vec<(ConvId, UserId)>,
}

/// The answer to [`Register`]; each list in the order of the question's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// Where each conversation stands.
    pub(crate) convs: Vec<Caught>,
    /// What each who wants to subscribe is.
    pub(crate) admits: Vec<Proof>,
    /// The latest conversations of the first of the users, one at least; the others are to be asked for again. So the answer is
    /// bounded whatever they are in.
    pub(crate) indexes: Vec<Vec<Placed>>,
    /// What was said lately, outside the log, of the conversations that somebody is admitted to, or of which the node has
    /// events. It was said before everything that the registration brings of a conversation named here for the first time.
    pub(crate) recent: Vec<Unlogged>,
}

/// An event that is in no log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unlogged {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// The event's JSON behind its number.
    pub(crate) tail: Bytes,
    /// The session that doesn't want it, 0 for none.
    pub(crate) skip: u64,
    /// The only user whom it concerns.
    pub(crate) only: Option<UserId>,
}

/// Whether a user is a member, as read at one place of the log. The stream has the last word on what is above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// The end of the log when that was read.
    pub(crate) at: u64,
    /// The event from which on the user is a member; `None` for a stranger.
    pub(crate) since: Option<u64>,
    /// How far back members read there.
    pub(crate) history: History,
}

/// Where a conversation stands, and what the node missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caught {
    /// The last event when it was read.
    pub(crate) last: u64,
    /// The events behind the one that the node has; not all when the answer would be large.
    pub(crate) events: Vec<Logged>,
}

/// Takes out of a registration what the node wants no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unregister {
    /// The shard.
    pub(crate) shard: u16,
    /// The registration.
    pub(crate) registration: u64,
    /// Conversations without subscribers.
    pub(crate) convs: Vec<ConvId>,
    /// Users without sessions.
    pub(crate) users: Vec<UserId>,
}

#[cfg(test)]
mod tests {
    use protocol::answer::Last;

    use super::super::tests::golden;
    use super::*;

    fn conv() -> ConvId {
        ConvId::parse("g").unwrap()
    }

    fn user() -> UserId {
        UserId::parse("u").unwrap()
    }

    #[test]
    fn registrations_are_frozen() {
        golden(
            Register {
                shard: 1,
                epoch: 2,
                registration: 3,
                fresh: true,
                convs: vec![(conv(), Some(4)), (conv(), None)],
                users: vec![user()],
                admits: vec![(conv(), user())],
            },
            &[
                1, 1, 2, 3, 1, 2, 1, b'g', 1, 4, 1, b'g', 0, 1, 1, b'u', 1, 1, b'g', 1, b'u',
            ],
        );
        golden(
            Registered {
                convs: vec![Caught {
                    last: 9,
                    events: vec![Logged {
                        s: 8,
                        tail: Bytes::from_static(b"{}"),
                    }],
                }],
                admits: vec![
                    Proof {
                        at: 9,
                        since: Some(4),
                        history: History::All,
                    },
                    Proof {
                        at: 9,
                        since: None,
                        history: History::Joined,
                    },
                ],
                indexes: vec![vec![Placed {
                    conv: conv(),
                    ms: 9,
                    since_ms: 8,
                    last: Last { s: 7, mn: 6, ts: 5 },
                    large: false,
                }]],
                recent: vec![Unlogged {
                    conv: conv(),
                    tail: Bytes::from_static(b"{}"),
                    skip: 5,
                    only: Some(user()),
                }],
            },
            &[
                1, 1, 9, 1, 8, 2, b'{', b'}', 2, 9, 1, 4, 1, 9, 0, 0, 1, 1, 1, b'g', 9, 8, 7, 6, 5, 0, 1, 1,
                b'g', 2, b'{', b'}', 5, 1, 1, b'u',
            ],
        );
        golden(
            Unregister {
                shard: 1,
                registration: 2,
                convs: vec![conv()],
                users: vec![user()],
            },
            &[1, 1, 2, 1, 1, b'g', 1, 1, b'u'],
        );
    }
}
