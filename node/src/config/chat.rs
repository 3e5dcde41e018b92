//! `[chat]`: the conversations.

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::conversation::Settings;

section! {
    /// The conversations that this node owns, and the way to those it doesn't.
    pub struct Chat {
        /// Threads for conversations. One does tens of thousands of messages per second.
        threads: usize = 1,
        /// How long a command is tried, through failovers, before the client is told to try again.
        send_budget_ms: Millis = Millis(10_000),
        /// The same for questions.
        ask_budget_ms: Millis = Millis(5_000),
        /// Read and delivered cursors are gathered for this long per shard, so that many receipts cost one log entry.
        cursors_ms: Millis = Millis(300),
        /// The lists of a conversation's members follow its messages this often while there are any. Each time costs a small
        /// row per member in the log; the same on every node.
        activity_ms: Millis = Millis(30_000),
        /// Commands of this node's clients under way to one shard; more are answered busy.
        lane_commands: usize = 4_096,
        /// Bytes of them.
        lane_bytes: usize = 4 << 20,
        /// Conversations kept in memory; those used longest ago leave first.
        actors: usize = 50_000,
        /// A conversation without traffic for this long leaves the memory.
        actor_idle_ms: Millis = Millis(300_000),
        /// Reads of the disk at the same time.
        reads: usize = 8,
        /// How often an owner tells other nodes how far it is: the longest time that a lost event goes unnoticed.
        positions_ms: Millis = Millis(500),
    }
}

// === impl Chat ===

impl Chat {
    /// Reports every value that cannot work.
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

    /// What the conversations are given.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            arbiters: self.threads,
            send_budget: self.send_budget_ms.duration(),
            ask_budget: self.ask_budget_ms.duration(),
            cursors: self.cursors_ms.duration(),
            activity_window: self.activity_ms.duration(),
            lane_commands: self.lane_commands,
            lane_bytes: self.lane_bytes,
            actors: self.actors,
            actor_idle: self.actor_idle_ms.duration(),
            reads: self.reads,
            positions_every: self.positions_ms.duration(),
            ..Settings::default()
        }
    }
}
