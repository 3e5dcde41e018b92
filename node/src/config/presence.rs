//! `[presence]`: online state of users, and typing notifications.

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::user::Settings;

section! {
    /// Online state of users, and typing notifications.
    pub struct PresenceConfig {
        /// Time for which a user stays online after the last connection, so that short disconnects are not shown.
        hold_down_ms: Millis = Millis(20_000),
        /// Time without a heartbeat after which the users of a node count as disconnected. The grace period above
        /// follows.
        silence_ms: Millis = Millis(5_000),
        /// Minimum interval between presence updates of a node to a shard. Changes within it are sent together.
        gather_ms: Millis = Millis(100),
        /// Minimum interval between writes of a user's last-seen time to the log.
        save_ms: Millis = Millis(300_000),
        /// Maximum time that a new session waits for the answer of its user's shard. Then it is admitted without it.
        admission_ms: Millis = Millis(1_000),
        /// Instances of one device that displace each other more often than this ...
        displacements: usize = 3,
        /// ... within this time are refused (4409).
        displacement_ms: Millis = Millis(10_000),
        /// Minimum interval between shown typing notifications per user and conversation.
        typing_ms: Millis = Millis(3_000),
        /// Conversations with more members than this show no typing notifications.
        typing_members: u64 = 256,
    }
}

// === impl PresenceConfig ===

impl PresenceConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("presence.silence_ms", self.silence_ms.0, 100);
        problems.at_least("presence.gather_ms", self.gather_ms.0, 1);
        problems.at_least("presence.save_ms", self.save_ms.0, 1_000);
        problems.at_least("presence.admission_ms", self.admission_ms.0, 1);
        problems.at_least("presence.displacements", self.displacements as u64, 1);
    }

    /// Returns the settings of the presence registry.
    #[must_use]
    pub fn settings(&self, sessions_per_user: usize) -> Settings {
        Settings {
            hold_down: self.hold_down_ms.duration(),
            node_timeout: self.silence_ms.duration(),
            gather: self.gather_ms.duration(),
            save_every: self.save_ms.duration(),
            sessions_per_user,
            displacements: self.displacements,
            displacement_window: self.displacement_ms.duration(),
            typing_members: self.typing_members,
            ..Settings::default()
        }
    }
}
