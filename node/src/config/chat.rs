//! `[chat]`: conversations and the routing of commands to shard owners.

use super::load::Problems;
use super::section::section;
use super::units::HumanDuration;

section! {
    /// Conversations of the shards that this node owns, and the routing of commands to other owners.
    pub struct ChatConfig {
        /// Maximum time to retry a command, through failovers, before the client receives a temporary refusal.
        command_timeout: HumanDuration = HumanDuration::secs(10),
    }
}

// === impl ChatConfig ===

impl ChatConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least(
            "chat.command_timeout",
            self.command_timeout,
            HumanDuration::millis(100),
        );
    }
}
