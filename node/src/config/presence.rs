//! `[presence]`: who is there, and what of it is shown.

use super::load::Problems;
use super::section::section;
use super::units::Millis;
use crate::user::Settings;

section! {
    /// Who is there, and what of it is shown.
    pub struct Presence {
        /// How long after the last connection a user still counts as present, so that a flapping link doesn't flicker.
        hold_down_ms: Millis = Millis(20_000),
        /// The users of a node that is silent for this long are gone; then the time above begins.
        silence_ms: Millis = Millis(5_000),
        /// A node tells of its users at most this often per shard; what happens meanwhile goes together.
        gather_ms: Millis = Millis(100),
        /// When a user was seen last is noted in the log at most this often.
        save_ms: Millis = Millis(300_000),
        /// How long a client waits for the word of its user's shard before it is let in without it.
        admission_ms: Millis = Millis(1_000),
        /// Instances of a device that displace each other more often than this ...
        displacements: usize = 3,
        /// ... within this time are refused (4409).
        displacement_ms: Millis = Millis(10_000),
        /// Typing in a conversation is shown at most this often per user.
        typing_ms: Millis = Millis(3_000),
        /// Typing is not shown in conversations with more members.
        typing_members: u64 = 256,
    }
}

// === impl Presence ===

impl Presence {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("presence.silence_ms", self.silence_ms.0, 100);
        problems.at_least("presence.gather_ms", self.gather_ms.0, 1);
        problems.at_least("presence.save_ms", self.save_ms.0, 1_000);
        problems.at_least("presence.admission_ms", self.admission_ms.0, 1);
        problems.at_least("presence.displacements", self.displacements as u64, 1);
    }

    /// What the users' directory is given.
    #[must_use]
    pub fn settings(&self, sessions_per_user: usize) -> Settings {
        Settings {
            hold_down: self.hold_down_ms.duration(),
            silence: self.silence_ms.duration(),
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
