//! [`REGISTER`](super::REGISTER) and [`UNREGISTER`](super::UNREGISTER): interest of a node in the deliveries of a
//! shard.

use bytes::Bytes;
use protocol::{ConversationId, HistoryVisibility, UserId};
use serde::{Deserialize, Serialize};

use crate::state_machine::{LoggedEvent, PlacedEntry};

/// Request to add to a registration, or to begin one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegisterInterest {
    pub(crate) shard: u16,
    /// Epoch of the shard owner as known by the node.
    pub(crate) epoch: u64,
    /// Id of the registration, chosen by the node.
    pub(crate) registration: u64,
    /// True to begin the registration; it replaces the node's earlier one.
    pub(crate) fresh: bool,
    /// Conversations with subscribers, each with the last seq on the node; `None` if it has no events.
    pub(crate) convs: Vec<(ConversationId, Option<u64>)>,
    pub(crate) users: Vec<UserId>,
    /// Users whose membership must be proved before they subscribe.
    pub(crate) admits: Vec<(ConversationId, UserId)>,
}

/// Response to [`RegisterInterest`]; each list is in the order of the request's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InterestRegistered {
    pub(crate) convs: Vec<CaughtUp>,
    pub(crate) admits: Vec<Proof>,
    /// Latest conversations of the first users, at least of one, which bounds the response. The node requests those of
    /// the other users again.
    pub(crate) indexes: Vec<Vec<PlacedEntry>>,
    /// Recent unlogged events of the conversations in `admits`, and of those of which the node has events. They precede
    /// every delivery of a conversation that is registered for the first time.
    pub(crate) recent: Vec<Unlogged>,
}

/// Event that is in no log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unlogged {
    pub(crate) conv: ConversationId,
    /// JSON of the event behind its session seq.
    pub(crate) tail: Bytes,
    /// Session that gets no copy; 0 for none.
    pub(crate) skip: u64,
    /// Only user who gets the event; `None` for all members.
    pub(crate) only: Option<UserId>,
}

/// Membership of a user as of one position of the log. Later events of the stream override it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    /// Last seq of the log at the time of the read.
    pub(crate) at: u64,
    /// Seq at which the membership begins; `None` for a non-member.
    pub(crate) since: Option<u64>,
    /// Visibility of earlier events to members.
    pub(crate) history: HistoryVisibility,
}

/// Position of a conversation's log with the events that the node has missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaughtUp {
    /// Last seq of the log at the time of the read.
    pub(crate) last: u64,
    /// Events above the node's last one; incomplete if the response would be too large.
    pub(crate) events: Vec<LoggedEvent>,
}

/// Request to remove a part of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnregisterInterest {
    pub(crate) shard: u16,
    pub(crate) registration: u64,
    pub(crate) convs: Vec<ConversationId>,
    pub(crate) users: Vec<UserId>,
}

#[cfg(test)]
mod tests {
    use protocol::response::LastEvent;

    use super::*;
    use crate::rpc::tests::golden;

    fn conv() -> ConversationId {
        ConversationId::parse("g").unwrap()
    }

    fn user() -> UserId {
        UserId::parse("u").unwrap()
    }

    #[test]
    fn registrations_are_frozen() {
        golden(
            RegisterInterest {
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
            InterestRegistered {
                convs: vec![CaughtUp {
                    last: 9,
                    events: vec![LoggedEvent {
                        s: 8,
                        tail: Bytes::from_static(b"{}"),
                    }],
                }],
                admits: vec![
                    Proof {
                        at: 9,
                        since: Some(4),
                        history: HistoryVisibility::All,
                    },
                    Proof {
                        at: 9,
                        since: None,
                        history: HistoryVisibility::Joined,
                    },
                ],
                indexes: vec![vec![PlacedEntry {
                    conv: conv(),
                    ms: 9,
                    since_ms: 8,
                    last: LastEvent {
                        seq: 7,
                        message_number: 6,
                        timestamp_ms: 5,
                    },
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
            UnregisterInterest {
                shard: 1,
                registration: 2,
                convs: vec![conv()],
                users: vec![user()],
            },
            &[1, 1, 2, 1, 1, b'g', 1, 1, b'u'],
        );
    }
}
