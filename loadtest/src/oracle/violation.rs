//! What can be wrong with a delivery, and the history that is kept to show it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::payload::ClientIx;

/// A broken promise. The name is what the report shows; the doc comment is the promise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// One `s` has one event, for every receiver and on every read.
    Fork,
    /// A client message id has one place in the log.
    Duplicate,
    /// One sender's messages keep the order in which they were sent.
    Reordered,
    /// A view of a conversation has no holes.
    Hole,
    /// A live stream goes on without a hole unless the node said `resync`.
    LiveHole,
    /// The session's event numbers have no holes.
    NumberHole,
    /// The ordinal `mn` counts messages without holes.
    OrdinalHole,
    /// `ts` never falls within a conversation.
    TimeFell,
    /// `ts` is no further ahead of the true time than clocks may be apart.
    TimeAhead,
    /// What was acked is in the log, at the place that the ack named.
    AckedLost,
    /// Two messages were acked for one place, or an ack names a place that holds another message.
    AckedOther,
    /// Every answer belongs to a request that waits for one.
    UnsolicitedAnswer,
    /// A read shows what was delivered or acknowledged before it began.
    StaleRead,
    /// Only what was sent is received, from whom it was sent.
    Phantom,
    /// A body arrives as it was sent.
    Altered,
    /// What was refused for good is never shown.
    RefusedShown,
    /// Nothing above a removal reaches the removed.
    AfterRemoval,
    /// Nothing of a removed member's is accepted.
    ExMemberAccepted,
    /// After everything has healed, every member has everything.
    MissedAtEnd,
    /// After everything has healed, every send is answered.
    Wedged,
    /// A frame that the protocol doesn't know.
    Malformed,
    /// A resumed session goes on at exactly the event after the client's last.
    ResumeWrong,
    /// Read and delivered cursors never fall.
    CursorFell,
    /// `read` <= `delivered` <= last.
    CursorOrder,
    /// Unread is what a recount of the log above the read cursor gives.
    UnreadWrong,
    /// Words that nobody deleted don't disappear.
    Vanished,
    /// Words that were deleted are not served again.
    Undeleted,
    /// A message that is sent after an ack was received stands behind what was acknowledged.
    StaleAppend,
    /// A list or a sync that is followed to its end names every conversation of the user.
    LeftOut,
    /// Every sight of an event can be held against the others, however late it is.
    LateSight,
    /// A node says `resync` only where something explains it.
    ResyncUnexplained,
    /// Nothing younger than the nodes' retention permits is gone.
    GoneTooSoon,
    /// The replicas of a shard are the same at the same place of its log.
    ReplicasDiffer,
    /// A definite refusal is explained by the state in which it was given.
    RefusedWrongly,
}

/// One broken promise, with where and what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) conversation: String,
    pub(crate) client: Option<ClientIx>,
    pub(crate) s: u64,
    pub(crate) detail: String,
    /// The log around the place, as the oracle knows it.
    pub(crate) log: Vec<String>,
}

/// The last things that happened, for the file that is written beside a violation.
#[derive(Debug)]
pub(crate) struct History {
    lines: VecDeque<String>,
    limit: usize,
}

// === impl History ===

impl History {
    pub(crate) fn new(limit: usize) -> History {
        History {
            lines: VecDeque::new(),
            limit,
        }
    }

    /// `at` is nanoseconds of the run.
    pub(crate) fn note(&mut self, at: u64, line: impl std::fmt::Display) {
        self.retell(format!("{:12.6} {line}", at as f64 / 1e9));
    }

    /// Adds a line as it is.
    pub(crate) fn retell(&mut self, line: String) {
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.lines.iter()
    }
}
