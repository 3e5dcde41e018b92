//! `[retention]`: how long and how much of conversations is kept.

use std::time::Duration;

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::conversation::timeline::read::{Policies, Policy};

section! {
    /// What is kept of conversations, by kind. 0 keeps everything. What goes is gone for everybody, on every replica;
    /// the owner of a shard decides by its own settings, so set the same on every node.
    pub struct Retention {
        /// Events of direct conversations older than this go.
        direct_max_age_ms: Millis = Millis(0),
        /// Of more messages in a direct conversation the oldest go.
        direct_max_messages: u64 = 0,
        /// Events of groups older than this go.
        group_max_age_ms: Millis = Millis(0),
        /// Of more messages in a group the oldest go.
        group_max_messages: u64 = 0,
        /// Events of channels older than this go.
        channel_max_age_ms: Millis = Millis(0),
        /// Of more messages in a channel the oldest go.
        channel_max_messages: u64 = 0,
        /// How often is looked for what has to go: the longest time that it stays beyond its own.
        every_ms: Millis = Millis(60_000),
    }
}

// === impl Retention ===

impl Retention {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("retention.every_ms", self.every_ms.0, 10);
    }

    /// What the conversations are given.
    #[must_use]
    pub fn policies(&self) -> Policies {
        let policy = |age: Millis, messages: u64| Policy {
            max_age: (age.0 > 0).then(|| age.duration()),
            max_messages: (messages > 0).then_some(messages),
        };
        Policies {
            direct: policy(self.direct_max_age_ms, self.direct_max_messages),
            group: policy(self.group_max_age_ms, self.group_max_messages),
            channel: policy(self.channel_max_age_ms, self.channel_max_messages),
        }
    }

    /// How often is looked.
    #[must_use]
    pub fn every(&self) -> Duration {
        self.every_ms.duration()
    }
}
