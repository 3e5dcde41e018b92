//! Questions that the owner answers from its applied state: all linearizable, none through the log.
//!
//! `SYNC` and `SUMMARIES` carry conversations of several shards with one owner: one request per node. Each item is
//! answered on its own, so one shard that moved doesn't spoil the others. What a member sees has the shapes of
//! [`timeline::read`](crate::conversation::timeline::read).

use protocol::{ConvId, UserId};
use serde::{Deserialize, Serialize};

use super::Refused;
use crate::conversation::timeline::read::{Direction, Logged, Page, Placed, Summary, Window};

/// A conversation as a member sees it → [`ConvView`](crate::conversation::timeline::read::ConvView).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// The member.
    pub(crate) user: UserId,
    /// The last event that the client has; `None`: no events wanted.
    pub(crate) have: Option<u64>,
}

/// A page of a log, for a member → [`HistoryPage`](crate::conversation::timeline::read::HistoryPage), or of messages as
/// they are now → [`MessagesPage`](crate::conversation::timeline::read::MessagesPage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// The member.
    pub(crate) user: UserId,
    /// Which page.
    pub(crate) page: Page,
    /// At most this many events.
    pub(crate) limit: u32,
}

/// A page of the members, for a member → [`MembersPage`](crate::conversation::timeline::read::MembersPage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Members {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// The member.
    pub(crate) user: UserId,
    /// Members above this one.
    pub(crate) after: Option<UserId>,
    /// At most this many.
    pub(crate) limit: u32,
}

/// A page of those whom a user blocks → [`BlocksPage`](crate::conversation::timeline::read::BlocksPage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blocks {
    /// The user.
    pub(crate) user: UserId,
    /// Users above this one.
    pub(crate) after: Option<UserId>,
    /// At most this many.
    pub(crate) limit: u32,
}

/// A piece of a log, for a relay: no member is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Range {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// Events from the next one on.
    pub(crate) after: u64,
}

/// The answer to [`Range`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ranged {
    /// The last event of the log.
    pub(crate) last: u64,
    /// The events from the next one on that is there; perhaps not up to the last.
    pub(crate) events: Vec<Logged>,
}

/// What a user missed who has everything up to some place → [`Missed`](crate::conversation::timeline::read::Missed).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Since {
    /// The conversation.
    pub(crate) conv: ConvId,
    /// The user, who was a member at that place.
    pub(crate) user: UserId,
    /// The place.
    pub(crate) after: u64,
}

/// What a user missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sync {
    /// The user.
    pub(crate) user: UserId,
    /// Conversations, each with the last event that the client has.
    pub(crate) wants: Vec<(ConvId, u64)>,
    /// At most this many events of each.
    pub(crate) limit: u32,
}

/// The answer to [`Sync`], in the order of the question.
pub(crate) type Synced = Vec<Result<Window, Refused>>;

/// Inbox rows of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summaries {
    /// The user.
    pub(crate) user: UserId,
    /// The conversations.
    pub(crate) convs: Vec<ConvId>,
}

/// The answer to [`Summaries`], in the order of the question.
pub(crate) type Summarised = Vec<Result<Summary, Refused>>;

/// Who wrote the unread messages of each conversation that mention the user, in the order of the question.
pub(crate) type Mentioning = Vec<Result<Vec<UserId>, Refused>>;

/// Conversations of a user in the order of time → [`Indexed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// The user.
    pub(crate) user: UserId,
    /// Those behind this place.
    pub(crate) from: Option<(u64, ConvId)>,
    /// Older ones, or newer ones.
    pub(crate) direction: Direction,
    /// At most this many.
    pub(crate) limit: u32,
}

/// A page of the conversations of a user → [`IndexPage`](crate::conversation::timeline::read::IndexPage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexAfter {
    /// The user.
    pub(crate) user: UserId,
    /// Conversations above this one.
    pub(crate) after: Option<ConvId>,
    /// At most this many.
    pub(crate) limit: u32,
}

/// Conversations, of which the first that the user is in is asked for → `Option<ConvId>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedWith {
    /// The user.
    pub(crate) user: UserId,
    /// The conversations.
    pub(crate) convs: Vec<ConvId>,
}

/// The answer to [`Index`].
pub(crate) type Indexed = Vec<Placed>;

/// Conversations of a user in one answer.
pub(crate) const INDEX_LIMIT: usize = 1000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use protocol::answer::Last;
    use protocol::{Kind, Role};

    use super::super::tests::golden;
    use super::*;
    use crate::conversation::timeline::read::{Folded, Membership, Missed};

    fn conv() -> ConvId {
        ConvId::parse("g").unwrap()
    }

    fn user() -> UserId {
        UserId::parse("u").unwrap()
    }

    #[test]
    fn questions_are_frozen() {
        golden(
            Open {
                conv: conv(),
                user: user(),
                have: Some(3),
            },
            &[1, 1, b'g', 1, b'u', 1, 3],
        );
        let page = Page::Before(3);
        golden(
            History {
                conv: conv(),
                user: user(),
                page,
                limit: 50,
            },
            &[1, 1, b'g', 1, b'u', 1, 3, 50],
        );
        let after = Some(user());
        golden(
            Members {
                conv: conv(),
                user: user(),
                after,
                limit: 50,
            },
            &[1, 1, b'g', 1, b'u', 1, 1, b'u', 50],
        );
        golden(
            Blocks {
                user: user(),
                after: None,
                limit: 50,
            },
            &[1, 1, b'u', 0, 50],
        );
        golden(
            Range {
                conv: conv(),
                after: 3,
            },
            &[1, 1, b'g', 3],
        );
        golden(
            Since {
                conv: conv(),
                user: user(),
                after: 3,
            },
            &[1, 1, b'g', 1, b'u', 3],
        );
        golden(
            Sync {
                user: user(),
                wants: vec![(conv(), 3)],
                limit: 50,
            },
            &[1, 1, b'u', 1, 1, b'g', 3, 50],
        );
        golden(
            Summaries {
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
            Index {
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
                events: vec![Logged {
                    s: 8,
                    tail: tail.clone(),
                }],
            },
            &[1, 9, 1, 8, 2, b'{', b'}'],
        );
        golden(
            Missed {
                events: vec![Logged {
                    s: 8,
                    tail: tail.clone(),
                }],
                last: 9,
                gap: false,
                membership: Membership::Over,
            },
            &[1, 1, 8, 2, b'{', b'}', 9, 0, 2],
        );
        golden::<Synced>(
            vec![
                Ok(Window {
                    as_of: 9,
                    events: vec![tail.clone()],
                    gap: false,
                }),
                Err(Refused::Busy),
            ],
            &[1, 2, 0, 1, 2, b'{', b'}', 0, 9, 1, 2],
        );
        let summary = Summary {
            conv: conv(),
            kind: Kind::Group,
            title: None,
            role: Role::Member,
            last: Last { s: 9, mn: 8, ts: 7 },
            message: Some(Folded {
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
            vec![Placed {
                conv: conv(),
                ms: 9,
                since_ms: 8,
                last: Last { s: 7, mn: 6, ts: 5 },
                large: true,
            }],
            &[1, 1, 1, b'g', 9, 8, 7, 6, 5, 1],
        );
    }
}
