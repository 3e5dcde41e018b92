//! `[chat]`: conversations and the routing of commands to shard owners.

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::conversation::Settings;

section! {
    /// Conversations of the shards that this node owns, and the routing of commands to other owners.
    pub struct ChatConfig {
        /// Threads that run conversations. One thread handles tens of thousands of messages per second.
        threads: usize = 1,
        /// Maximum time to retry a command, through failovers, before the client receives a temporary refusal.
        send_budget_ms: Millis = Millis(10_000),
        /// Maximum time to retry a query.
        ask_budget_ms: Millis = Millis(5_000),
        /// Read and delivered cursors are collected per shard for this long, so that many receipts cost one log entry.
        cursors_ms: Millis = Millis(300),
        /// While a conversation has messages, the lists of its members are updated at this interval. Each update costs
        /// a small row per member in the log. Use the same value on every node.
        activity_ms: Millis = Millis(30_000),
        /// Maximum number of this node's commands in progress per shard. Further ones are refused as busy.
        lane_commands: usize = 4_096,
        /// Maximum size of these commands in bytes.
        lane_bytes: usize = 4 << 20,
        /// Conversations kept in memory. Beyond that, the least recently used ones are unloaded.
        actors: usize = 50_000,
        /// A conversation without traffic for this long is unloaded.
        actor_idle_ms: Millis = Millis(300_000),
        /// Maximum number of concurrent disk reads.
        reads: usize = 8,
        /// Interval at which an owner announces its log positions to other nodes. A lost event is detected within it.
        positions_ms: Millis = Millis(500),
    }
}

// === impl ChatConfig ===

impl ChatConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("chat.threads", self.threads as u64, 1);
        problems.at_least("chat.send_budget_ms", self.send_budget_ms.0, 100);
        problems.at_least("chat.ask_budget_ms", self.ask_budget_ms.0, 100);
        problems.at_least("chat.activity_ms", self.activity_ms.0, 100);
        problems.at_least("chat.lane_commands", self.lane_commands as u64, 1);
        problems.at_least("chat.lane_bytes", self.lane_bytes as u64, 65_536);
        problems.at_least("chat.actors", self.actors as u64, 1);
        problems.at_least("chat.reads", self.reads as u64, 1);
        problems.at_least("chat.positions_ms", self.positions_ms.0, 10);
    }

    /// Returns the settings of the chat service.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            arbiters: self.threads,
            send_budget: self.send_budget_ms.duration(),
            ask_budget: self.ask_budget_ms.duration(),
            cursors: self.cursors_ms.duration(),
            activity_window: self.activity_ms.duration(),
            queue_commands: self.lane_commands,
            queue_bytes: self.lane_bytes,
            actors: self.actors,
            actor_idle: self.actor_idle_ms.duration(),
            reads: self.reads,
            positions_every: self.positions_ms.duration(),
            ..Settings::default()
        }
    }
}
