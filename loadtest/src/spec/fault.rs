//! Faults of a run: kind, affected nodes, start time and duration.

use std::time::Duration;

/// One planned fault, such as `kill-owner@20s`, `stop-any@5s+8s` or `cut-1:3@10s`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fault {
    pub(crate) how: FaultKind,
    pub(crate) target: FaultTarget,
    /// Start, counted from the start of the load.
    pub(crate) at: Duration,
    /// Duration until the fault is healed.
    pub(crate) hold: Duration,
}

/// Kind of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, clap::ValueEnum)]
pub(crate) enum FaultKind {
    /// Kills the node with SIGKILL, then restarts it.
    Kill,
    /// Stops the node with SIGSTOP, then resumes it with SIGCONT: it keeps its connections and sends nothing.
    Stop,
    /// Drains the node with SIGTERM, then restarts it when it has ended.
    Drain,
    /// Drains and restarts the nodes in turn, each once the one before is ready.
    #[value(skip)]
    Roll,
    /// Kills the owner five times, each time the node that has taken over.
    #[value(skip)]
    Chase,
    /// Stops one node, kills a second one, and stops the third while the first resumes and the second restarts. The two
    /// that run then must not agree on less than was acknowledged.
    #[value(skip)]
    PauseKill,
    /// Drops all traffic between the nodes and the others, in both directions.
    Cut,
    /// Drops everything that the nodes send.
    #[value(skip)]
    Mute,
    /// Drops everything that is sent to the nodes.
    #[value(skip)]
    Deaf,
    /// Cuts links one after the other, and heals them in another order.
    #[value(skip)]
    Swizzle,
    /// Delays all traffic between the nodes and the others, by varying times.
    #[value(skip)]
    Delay,
    /// Loses packets, which are sent again.
    #[value(skip)]
    Loss,
    /// Resets the connections between nodes repeatedly.
    #[value(skip)]
    Reset,
    /// Limits each connection to one megabit per second.
    #[value(skip)]
    Throttle,
    /// Replaces the node's data directory by an older copy.
    #[value(skip)]
    Rollback,
    /// Fills the node's disk.
    #[value(skip)]
    Full,
    /// Delays every fsync by some hundred milliseconds.
    #[value(skip)]
    Slow,
    /// Sets the node's wall clock one hour ahead, then right again.
    #[value(skip)]
    Clock,
    /// Sets the node's wall clock ten days ahead, then right again.
    #[value(skip)]
    ClockAhead,
    /// Sets the node's wall clock ten days behind, then right again.
    #[value(skip)]
    ClockBehind,
    /// Runs the node's wall clock too fast, by one second per minute, then sets it right again.
    #[value(skip)]
    ClockDrift,
    /// Stops the node for longer than its lease, and cuts it off before it resumes. Clients read from it all the time.
    #[value(skip)]
    PauseCut,
    /// Removes a member while its node is stopped, or cut off from the owner.
    #[value(skip)]
    Kick,
    /// Stops the nodes, and starts them with other addresses.
    #[value(skip)]
    Move,
}

/// Nodes that a fault affects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultTarget {
    /// The shard owner of the run's first conversation.
    Owner,
    /// A random node that is not that owner.
    Follower,
    /// A random node, which may be that owner.
    Any,
    /// The largest minority, chosen at random.
    Minority,
    /// The smallest majority, chosen at random.
    Majority,
    All,
    Node(u64),
    /// The link between the owner and one other node.
    Bridge,
    /// The link between two nodes; for a directed fault, from the first to the second.
    Pair(u64, u64),
}

// === impl Fault, FaultKind ===

impl Fault {
    /// Returns `true` if the fault needs the network proxy between the nodes.
    pub(crate) fn cuts_links(&self) -> bool {
        self.how.is_of_links()
            || self.how == FaultKind::PauseCut
            || (self.how == FaultKind::Kick && self.target == FaultTarget::Bridge)
    }
}

impl FaultKind {
    /// Returns `true` if the fault is applied to links by the network proxy.
    pub(crate) fn is_of_links(self) -> bool {
        use FaultKind::*;
        matches!(
            self,
            Cut | Mute | Deaf | Swizzle | Delay | Loss | Reset | Throttle
        )
    }

    /// Returns `true` if the fault sets wall clocks.
    pub(crate) fn is_of_clocks(self) -> bool {
        use FaultKind::*;
        matches!(self, Clock | ClockAhead | ClockBehind | ClockDrift)
    }
}
