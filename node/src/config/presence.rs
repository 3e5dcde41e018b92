//! `[presence]`: online state of users.

use super::section::section;
use super::units::HumanDuration;

section! {
    /// Online state of users.
    pub struct PresenceConfig {
        /// Time for which a user stays online after the last connection, so that short disconnects are not shown.
        offline_grace: HumanDuration = HumanDuration::secs(20),
    }
}
