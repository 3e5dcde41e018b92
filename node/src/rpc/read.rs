//! Queries that the shard owner answers from its applied state: linearizable, without a log entry.
//!
//! `Sync`, `Summaries` and `Mentioning` carry conversations of several shards with one owner, one request per node.
//! Each item has its own result, so a shard that moved does not fail the others. Responses to members have the types of
//! the state machine's `query` module.

use protocol::{ConversationId, UserId};
use serde::{Deserialize, Serialize};

use super::RpcError;
use crate::state_machine::{Direction, HistoryRange, LoggedEvent, MissedEvents, PlacedEntry, Summary};

/// Query for a conversation as a member sees it → `MemberConversation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenQuery {
    pub(crate) conv: ConversationId,
    pub(crate) user: UserId,
    /// Seq of the client's last event; `None` for a response without events.
    pub(crate) have: Option<u64>,
}

/// Query by a member for a page of a log → `HistoryPage`, or for a page of messages in their present state →
/// `MessagesPage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryRequest {
    pub(crate) conv: ConversationId,
    pub(crate) user: UserId,
    pub(crate) page: HistoryRange,
    /// Maximum number of events or messages.
    pub(crate) limit: u32,
}

/// Query by a member for a page of the members → `MembersPage`, or of the banned users → `BansPage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembersQuery {
    pub(crate) conv: ConversationId,
    pub(crate) user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub(crate) after: Option<UserId>,
    pub(crate) limit: u32,
}

/// Query for a page of the users whom a user blocks → `BlocksPage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListBlocks {
    pub(crate) user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub(crate) after: Option<UserId>,
    pub(crate) limit: u32,
}

/// Query by a subscription manager for a range of a log, without a membership check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeQuery {
    pub(crate) conv: ConversationId,
    /// Exclusive lower bound of the seqs.
    pub(crate) after: u64,
}

/// Response to a [`RangeQuery`] request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ranged {
    /// Last seq of the log.
    pub(crate) last: u64,
    /// Events from the first retained one above `after`; bounded, so they may end before `last`.
    pub(crate) events: Vec<LoggedEvent>,
}

/// Query for the events that a user has missed since a position → `Missed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinceQuery {
    pub(crate) conv: ConversationId,
    /// User, who was a member at that position.
    pub(crate) user: UserId,
    /// Seq of the last event that the user has.
    pub(crate) after: u64,
}

/// Query for the missed events of several conversations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SyncQuery {
    pub(crate) user: UserId,
    /// Conversations, each with the seq of the client's last event.
    pub(crate) wants: Vec<(ConversationId, u64)>,
    /// Maximum number of events per conversation.
    pub(crate) limit: u32,
}

/// Response to [`SyncQuery`], in the order of its `wants`.
pub(crate) type Synced = Vec<Result<MissedEvents, RpcError>>;

/// Query for rows of a user's conversation list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SummariesQuery {
    pub(crate) user: UserId,
    pub(crate) convs: Vec<ConversationId>,
}

/// Response to [`SummariesQuery`], in the order of its conversations.
pub(crate) type Summarised = Vec<Result<Summary, RpcError>>;

/// Authors of the unread messages that mention the user, per conversation in the order of the query.
pub(crate) type MentionAuthors = Vec<Result<Vec<UserId>, RpcError>>;

/// Query for conversations of a user in the order of time → [`Indexed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexQuery {
    pub(crate) user: UserId,
    /// Exclusive start as time in milliseconds and id; `None` for the end of the list.
    pub(crate) from: Option<(u64, ConversationId)>,
    pub(crate) direction: Direction,
    pub(crate) limit: u32,
}

/// Query for a page of a user's conversations in the order of their ids → `IndexPage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexAfter {
    pub(crate) user: UserId,
    /// Exclusive lower bound of the ids; `None` for the first page.
    pub(crate) after: Option<ConversationId>,
    pub(crate) limit: u32,
}

/// Query for the first of several conversations that the user is a member of → `Option<ConversationId>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedWith {
    pub(crate) user: UserId,
    pub(crate) convs: Vec<ConversationId>,
}

/// Response to [`IndexQuery`], in its direction.
pub(crate) type Indexed = Vec<PlacedEntry>;

/// Maximum number of conversations in one response.
pub(crate) const INDEX_LIMIT: usize = 1000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use protocol::answer::LastEvent;
    use protocol::{ConversationKind, Role};

    use super::*;
    use crate::rpc::tests::golden;
    use crate::state_machine::query::MessageView;
    use crate::state_machine::{MembershipSpan, Missed};

    fn conv() -> ConversationId {
        ConversationId::parse("g").unwrap()
    }

    fn user() -> UserId {
        UserId::parse("u").unwrap()
    }

    #[test]
    fn questions_are_frozen() {
        golden(
            OpenQuery {
                conv: conv(),
                user: user(),
                have: Some(3),
            },
            &[1, 1, b'g', 1, b'u', 1, 3],
        );
        let page = HistoryRange::Before(3);
        golden(
            HistoryRequest {
                conv: conv(),
                user: user(),
                page,
                limit: 50,
            },
            &[1, 1, b'g', 1, b'u', 1, 3, 50],
        );
        let after = Some(user());
        golden(
            MembersQuery {
                conv: conv(),
                user: user(),
                after,
                limit: 50,
            },
            &[1, 1, b'g', 1, b'u', 1, 1, b'u', 50],
        );
        golden(
            ListBlocks {
                user: user(),
                after: None,
                limit: 50,
            },
            &[1, 1, b'u', 0, 50],
        );
        golden(
            RangeQuery {
                conv: conv(),
                after: 3,
            },
            &[1, 1, b'g', 3],
        );
        golden(
            SinceQuery {
                conv: conv(),
                user: user(),
                after: 3,
            },
            &[1, 1, b'g', 1, b'u', 3],
        );
        golden(
            SyncQuery {
                user: user(),
                wants: vec![(conv(), 3)],
                limit: 50,
            },
            &[1, 1, b'u', 1, 1, b'g', 3, 50],
        );
        golden(
            SummariesQuery {
                user: user(),
                convs: vec![conv()],
            },
            &[1, 1, b'u', 1, 1, b'g'],
        );
        golden(
            SharedWith {
                user: user(),
                convs: vec![conv()],
            },
            &[1, 1, b'u', 1, 1, b'g'],
        );
        golden(
            IndexQuery {
                user: user(),
                from: Some((7, conv())),
                direction: Direction::Newer,
                limit: 50,
            },
            &[1, 1, b'u', 1, 7, 1, b'g', 1, 50],
        );
        let after = Some(conv());
        golden(
            IndexAfter {
                user: user(),
                after,
                limit: 50,
            },
            &[1, 1, b'u', 1, 1, b'g', 50],
        );
    }

    #[test]
    fn answers_are_frozen() {
        let tail = Bytes::from_static(b"{}");
        golden(
            Ranged {
                last: 9,
                events: vec![LoggedEvent {
                    s: 8,
                    tail: tail.clone(),
                }],
            },
            &[1, 9, 1, 8, 2, b'{', b'}'],
        );
        golden(
            Missed {
                events: vec![LoggedEvent {
                    s: 8,
                    tail: tail.clone(),
                }],
                last: 9,
                gap: false,
                membership: MembershipSpan::Over,
            },
            &[1, 1, 8, 2, b'{', b'}', 9, 0, 2],
        );
        golden::<Synced>(
            vec![
                Ok(MissedEvents {
                    as_of: 9,
                    events: vec![tail.clone()],
                    gap: false,
                }),
                Err(RpcError::Busy),
            ],
            &[1, 2, 0, 1, 2, b'{', b'}', 0, 9, 1, 2],
        );
        let summary = Summary {
            conv: conv(),
            kind: ConversationKind::Group,
            title: None,
            role: Role::Member,
            last: LastEvent {
                seq: 9,
                message_number: 8,
                timestamp_ms: 7,
            },
            message: Some(MessageView {
                tail,
                edit: None,
                mentions: Vec::new(),
                reactions: BTreeMap::new(),
            }),
            unread: 6,
            mentions: 5,
            read: 4,
            delivered: 3,
            muted: true,
            pinned: false,
            peer: None,
        };
        golden::<Summarised>(
            vec![Ok(summary)],
            &[
                1, 1, 0, 1, b'g', 1, 0, 2, 9, 8, 7, 1, 2, b'{', b'}', 0, 0, 0, 6, 5, 4, 3, 1, 0, 0,
            ],
        );
        golden::<Indexed>(
            vec![PlacedEntry {
                conv: conv(),
                ms: 9,
                since_ms: 8,
                last: LastEvent {
                    seq: 7,
                    message_number: 6,
                    timestamp_ms: 5,
                },
                large: true,
            }],
            &[1, 1, 1, b'g', 9, 8, 7, 6, 5, 1],
        );
    }
}
