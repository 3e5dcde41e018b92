//! Messages between a coordinator and its workers. Both must be the same version of this program, which both check. The
//! messages therefore need no compatibility with other versions.

use protocol::ConversationId;
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::measure::{ClosedSecond, Measured, PhaseMarker, Returned, Usage};
use crate::oracle::{ConvIx, JudgedCounts, Violation};
use crate::spec::ClientSlice;

/// Version of the messages and of the program: another program version may build another plan.
pub(super) const VERSION: &str = concat!("team/2 ", env!("CARGO_PKG_VERSION"));

/// First message of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerHello {
    pub(super) version: String,
    pub(super) secret: String,
}

/// Message of the coordinator.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum CoordinatorMessage {
    /// Assigns the run; the first message. `run` distinguishes the messages of this run from those of others.
    Assign {
        line: Vec<String>,
        nodes: Vec<String>,
        run: u32,
        share: ClientSlice,
    },
    /// Answers a `Ping` with the coordinator's time of the run.
    Pong { sent: Nanos, now: Nanos },
    /// Connects the clients, once the clocks agree.
    Connect,
    /// Creates the conversations whose first member belongs to the worker.
    Create,
    /// Adds the clients to all conversations, which are given in the order of the plan.
    Enter { names: Vec<ConversationId> },
    /// Starts the load at the time `at`, with its first part if it has several.
    Begin { at: Nanos, part: Option<String> },
    /// Marks the start of a phase, or of a part of the load.
    Phase(PhaseMarker),
    /// Sends in every conversation until each has acknowledged a message, after the faults have healed.
    ProbeAll { patience_ms: u64 },
    /// Stops the sending of messages.
    StopSending,
    /// Requests the worker's progress.
    Stand,
    /// Reads the conversation list of every client, and checks its counts.
    Inboxes { patience_ms: u64 },
    /// Reads the logs of the conversations again whose first member belongs to the worker.
    Reread { patience_ms: u64 },
    /// Judges the missing messages, and requests the result.
    Finish,
    /// Sends the run's verdict, after which the worker ends.
    Verdict { passed: bool },
    /// Ends the run without a verdict.
    Abort { why: String },
}

/// Message of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WorkerMessage {
    /// Requests the time, and proves that the worker runs.
    Ping { sent: Nanos },
    /// Reports that the clock is set, with its error in nanoseconds.
    Set { error: Nanos },
    /// Reports that all clients are online.
    Connected,
    /// Lists the created conversations, by index in the plan.
    Created { names: Vec<(u32, ConversationId)> },
    /// Reports that all clients are in their conversations.
    Entered,
    /// Reports metrics, several times a second.
    Tick(MetricsDelta),
    /// Response to a `ProbeAll` message.
    Probed,
    /// Answers `Stand` with the worker's progress.
    Standing(WorkerProgress),
    /// Response to an `Inboxes` message.
    Inboxes,
    /// Response to a `Reread` message.
    Reread,
    /// Answers `Finish` with the worker's result.
    Final(Box<WorkerResult>),
    /// Reports that the worker cannot continue.
    Failed { why: String },
}

/// Changes since the previous tick.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct MetricsDelta {
    pub(super) online: usize,
    /// Unsent messages of the worker's budget.
    pub(super) left: u64,
    pub(super) counts: JudgedCounts,
    pub(super) seconds: Vec<ClosedSecond>,
    pub(super) stretches: Vec<DigestRange>,
    pub(super) violations: Vec<Violation>,
}

/// Digests of consecutive events of one conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct DigestRange {
    pub(crate) conv: ConvIx,
    /// Seq of the first event.
    pub(crate) from: u64,
    pub(crate) digests: Vec<u64>,
}

/// Progress of a worker.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct WorkerProgress {
    pub(super) unanswered: usize,
    /// Progress per conversation in which the worker has a member.
    pub(super) reached: Vec<ViewProgress>,
}

/// Progress of one worker's members in one conversation.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ViewProgress {
    pub(crate) conv: ConvIx,
    /// Highest seq up to which every event is known.
    pub(crate) frontier: u64,
    /// Applied seq of the slowest member; `None` if all members were removed.
    pub(crate) slowest: Option<u64>,
}

/// Measurements and verdict of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerResult {
    pub(super) tick: MetricsDelta,
    pub(super) measured: Measured,
    pub(super) returned: Returned,
    pub(super) late: u64,
    /// Resources of the worker's process, over the load.
    pub(super) usage: Usage,
    /// Memory before the first client was started.
    pub(super) rss_before_kib: u64,
    pub(super) clients: u64,
    /// End of the worker's history, if a promise was broken.
    pub(super) history: Vec<String>,
}
