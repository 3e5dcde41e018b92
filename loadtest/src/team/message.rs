//! What a coordinator and its workers say to each other. Both ends are the same version of this program, and both
//! check it, so nothing here has to be read by another one.

use serde::{Deserialize, Serialize};

use super::Share;
use crate::clock::Nanos;
use crate::measure::latency::{Closed, Measured};
use crate::measure::nodes::Usage;
use crate::measure::recovery::Returned;
use crate::oracle::{ConvIx, Counts, Violation};

/// The version of these messages, and the version of the program: a plan made by another one may be another plan.
pub(super) const VERSION: &str = concat!("team/2 ", env!("CARGO_PKG_VERSION"));

/// The first frame of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: String,
    pub(super) secret: String,
}

/// What the coordinator says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first: what to do, and for whom. `run` tells this run's messages from those of others.
    Assign {
        line: Vec<String>,
        nodes: Vec<String>,
        run: u32,
        share: Share,
    },
    /// The answer to a `Ping`: the time of the run at the coordinator.
    Pong { sent: Nanos, now: Nanos },
    /// The clocks agree: connect.
    Connect,
    /// Make the conversations whose first member is yours.
    Create,
    /// All conversations, in the plan's order: take part in them.
    Enter { names: Vec<String> },
    /// The load begins then, with this part of it if it has several.
    Begin { at: Nanos, part: Option<String> },
    /// A phase has begun, or a part of the load.
    Phase(Told),
    /// The faults have healed: speak until every conversation in which you speak has acked a message.
    Everywhere { patience_ms: u64 },
    /// Nothing more is sent.
    Silence,
    /// Say how far you are.
    Stand,
    /// Every client reads its inbox, and counts again.
    Inboxes { patience_ms: u64 },
    /// Read the logs of the conversations again whose first member is yours.
    Reread { patience_ms: u64 },
    /// Nothing more will come: judge what is missing, and say everything.
    Finish,
    /// The run's verdict; goodbye.
    Verdict { kept: bool },
    /// The run ends without one.
    Abort { why: String },
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// For the clock, and to show that it lives.
    Ping { sent: Nanos },
    /// The clock is set, within so many nanoseconds.
    Set { error: Nanos },
    /// All its clients are online.
    Connected,
    /// The conversations that it made, by their number in the plan.
    Created { names: Vec<(u32, String)> },
    /// All its clients take part.
    Entered,
    /// How it goes, several times a second.
    Tick(Tick),
    /// The answer to `Everywhere`.
    Everywhere,
    /// The answer to `Stand`.
    Standing(Standing),
    /// The answer to `Inboxes`.
    Inboxes,
    /// The answer to `Reread`.
    Reread,
    /// The answer to `Finish`.
    Final(Box<Final>),
    /// It can't go on.
    Failed { why: String },
}

/// A phase of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) from: Nanos,
    /// A part of the load, not what goes on beside it.
    pub(crate) part: bool,
}

/// What changed since the tick before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Tick {
    pub(super) online: usize,
    /// Messages of its budget that were not sent yet.
    pub(super) left: u64,
    pub(super) counts: Counts,
    pub(super) seconds: Vec<Closed>,
    pub(super) stretches: Vec<Stretch>,
    pub(super) violations: Vec<Violation>,
}

/// The digests of consecutive events of one conversation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Stretch {
    pub(crate) conv: ConvIx,
    /// The `s` of the first.
    pub(crate) from: u64,
    pub(crate) digests: Vec<u64>,
}

/// How far a worker is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) unanswered: usize,
    /// Per conversation in which it has a member.
    pub(super) reached: Vec<Reached>,
}

/// How far the members of one worker have got in one conversation.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Reached {
    pub(crate) conv: ConvIx,
    /// The highest `s` up to which everything is known.
    pub(crate) frontier: u64,
    /// What the slowest of its members has applied; `None` if all of them were removed.
    pub(crate) slowest: Option<u64>,
}

/// All that a worker measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Final {
    pub(super) tick: Tick,
    pub(super) measured: Measured,
    pub(super) returned: Returned,
    pub(super) late: u64,
    /// Of the worker's process, over the load.
    pub(super) usage: Usage,
    /// Before its first client.
    pub(super) rss_before_kib: u64,
    pub(super) clients: u64,
    /// The end of its history, if a promise was broken.
    pub(super) history: Vec<String>,
}
