//! Kinds of broken promises, and the history that is written beside a violation.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::payload::ClientIx;

/// Kind of a broken promise. The report shows the variant's name. The doc comment is the promise itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ViolationKind {
    /// One `s` has one event, for every receiver and on every read.
    Fork,
    /// A client message id has one position in the log.
    Duplicate,
    /// One sender's messages keep the order in which they were sent.
    Reordered,
    /// A view of a conversation has no holes.
    Hole,
    /// A live stream has no hole unless the node sent `resync`.
    LiveHole,
    /// The session's event numbers have no holes.
    NumberHole,
    /// The message ordinals `mn` have no holes.
    OrdinalHole,
    /// `ts` never decreases within a conversation.
    TimeFell,
    /// `ts` is ahead of the true time by no more than the permitted clock difference.
    TimeAhead,
    /// Every acknowledged message is in the log, at the position of its ack.
    AckedLost,
    /// A position is acknowledged for one message only, and holds that message.
    AckedOther,
    /// Every response belongs to a pending request.
    UnsolicitedResponse,
    /// A read contains everything that was delivered or acknowledged before it began.
    StaleRead,
    /// Every received message was sent in this run, by the sender that it names.
    Phantom,
    /// A body arrives unchanged.
    Altered,
    /// A permanently refused message or change never appears in the log.
    #[serde(rename = "refused_shown")]
    RefusedVisible,
    /// A removed member receives nothing above its removal.
    AfterRemoval,
    /// No message or change of a removed member is accepted.
    ExMemberAccepted,
    /// After all faults have ended, every member has every event.
    MissedAtEnd,
    /// After all faults have ended, every send is answered.
    Wedged,
    /// Every frame conforms to the protocol.
    Malformed,
    /// A resumed session continues exactly after the client's last event.
    ResumeWrong,
    /// Read and delivered cursors never decrease.
    CursorFell,
    /// `read` <= `delivered` <= last.
    CursorOrder,
    /// The unread count equals a recount of the log above the read cursor.
    UnreadWrong,
    /// A body disappears only by a deletion or by retention.
    Vanished,
    /// A deleted body is not served again.
    Undeleted,
    /// A message sent after an ack was received has a position above the acknowledged one.
    StaleAppend,
    /// A list or sync that is read to its end contains every conversation of the user.
    LeftOut,
    /// Every observation of an event can be compared, however late it is.
    LateSight,
    /// A node sends `resync` only for a reason that the run can explain.
    ResyncUnexplained,
    /// Retention removes nothing younger than the nodes' settings permit.
    GoneTooSoon,
    /// The replicas of a shard are equal at the same log index.
    ReplicasDiffer,
    /// A permanent refusal is explained by a state in which it can have been given.
    RefusedWrongly,
}

/// Broken promise with its position and details.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Violation {
    pub(crate) kind: ViolationKind,
    pub(crate) conversation: String,
    pub(crate) client: Option<ClientIx>,
    pub(crate) s: u64,
    pub(crate) detail: String,
    /// Known log around the position, as text.
    pub(crate) log: Vec<String>,
}

/// Bounded queue of the last history lines, for the file that is written beside a violation.
#[derive(Debug)]
pub(crate) struct EventHistory {
    lines: VecDeque<String>,
    limit: usize,
}

// === impl EventHistory ===

impl EventHistory {
    pub(crate) fn new(limit: usize) -> EventHistory {
        EventHistory {
            lines: VecDeque::new(),
            limit,
        }
    }

    /// Adds a line with a time. `at` is in nanoseconds of the run.
    pub(crate) fn note(&mut self, at: u64, line: impl std::fmt::Display) {
        self.retell(format!("{:12.6} {line}", at as f64 / 1e9));
    }

    /// Adds a line unchanged.
    pub(crate) fn retell(&mut self, line: String) {
        // The oldest line is evicted, since the last ones lead to the violation.
        if self.lines.len() == self.limit {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> impl DoubleEndedIterator<Item = &String> {
        self.lines.iter()
    }
}
