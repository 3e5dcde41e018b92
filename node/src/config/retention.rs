//! `[retention]`: maximum age and number of messages, by kind of conversation.

use std::time::Duration;

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::conversation::state_machine::query::{RetentionPolicies, RetentionPolicy};

section! {
    /// Retention by kind of conversation; 0 keeps everything. Removed messages are gone on every replica and for every
    /// user. The owner of a shard applies its own settings, so use the same values on every node.
    pub struct RetentionConfig {
        /// Maximum age of events in direct conversations.
        direct_max_age_ms: Millis = Millis(0),
        /// Maximum number of messages in a direct conversation. Beyond that, the oldest are removed.
        direct_max_messages: u64 = 0,
        /// Maximum age of events in groups.
        group_max_age_ms: Millis = Millis(0),
        /// Maximum number of messages in a group. Beyond that, the oldest are removed.
        group_max_messages: u64 = 0,
        /// Maximum age of events in channels.
        channel_max_age_ms: Millis = Millis(0),
        /// Maximum number of messages in a channel. Beyond that, the oldest are removed.
        channel_max_messages: u64 = 0,
        /// Interval of the check for events to remove. An event may outlive its maximum age by this time.
        every_ms: Millis = Millis(60_000),
    }
}

// === impl RetentionConfig ===

impl RetentionConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("retention.every_ms", self.every_ms.0, 10);
    }

    /// Returns the retention policies of the conversations.
    #[must_use]
    pub fn policies(&self) -> RetentionPolicies {
        let policy = |age: Millis, messages: u64| RetentionPolicy {
            max_age: (age.0 > 0).then(|| age.duration()),
            max_messages: (messages > 0).then_some(messages),
        };
        RetentionPolicies {
            direct: policy(self.direct_max_age_ms, self.direct_max_messages),
            group: policy(self.group_max_age_ms, self.group_max_messages),
            channel: policy(self.channel_max_age_ms, self.channel_max_messages),
        }
    }

    /// Returns the interval of the retention check.
    #[must_use]
    pub fn every(&self) -> Duration {
        self.every_ms.duration()
    }
}
