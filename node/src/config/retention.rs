//! `[retention]`: maximum age and number of messages, by kind of conversation.

use super::load::Problems;
use super::section::section;
use super::units::HumanDuration;

section! {
    /// Retention by kind of conversation; 0 and "0s" keep everything. Removed messages are gone on every replica and for
    /// every user. The owner of a shard applies its own settings, so use the same values on every node.
    pub struct RetentionConfig {
        /// Maximum age of events in direct conversations.
        direct_max_age: HumanDuration = HumanDuration::secs(0),
        /// Maximum number of messages in a direct conversation. Beyond that, the oldest are removed.
        direct_max_messages: u64 = 0,
        /// Maximum age of events in groups.
        group_max_age: HumanDuration = HumanDuration::secs(0),
        /// Maximum number of messages in a group. Beyond that, the oldest are removed.
        group_max_messages: u64 = 0,
        /// Maximum age of events in channels.
        channel_max_age: HumanDuration = HumanDuration::secs(0),
        /// Maximum number of messages in a channel. Beyond that, the oldest are removed.
        channel_max_messages: u64 = 0,
        /// Interval of the check for events to remove. An event may outlive its maximum age by this time.
        interval: HumanDuration = HumanDuration::secs(60),
    }
}

// === impl RetentionConfig ===

impl RetentionConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("retention.interval", self.interval, HumanDuration::millis(10));
    }
}
