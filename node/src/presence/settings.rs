//! Timeouts and periods of presence, as the configuration sets them.

use std::time::Duration;

use crate::config::Config;

/// Settings of presence, shared by its registry and its reporters.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Grace period after the last session of a user, so that a flapping connection causes no presence events.
    pub offline_grace: Duration,
    /// Time for which a new owner defers queries about users without a registration: all nodes find the new owner and
    /// register within it.
    pub register_timeout: Duration,
    /// Time without a heartbeat after which a node's sessions are removed.
    pub node_timeout: Duration,
    /// Minimum time between two requests of a node to one shard, unless a session needs its verdict: changes in between
    /// are sent together.
    pub gather: Duration,
    /// Maximum number of sessions of one user on all nodes.
    pub sessions_per_user: usize,
    /// Size of the largest conversation in which typing is sent.
    pub typing_members: u64,
}

// === impl Settings ===

impl From<&Config> for Settings {
    fn from(config: &Config) -> Settings {
        Settings {
            offline_grace: config.presence.offline_grace.0,
            register_timeout: Duration::from_secs(1),
            node_timeout: config.tuning.presence_node_timeout.0,
            gather: config.tuning.presence_interval.0,
            sessions_per_user: config.limits.sessions_per_user,
            typing_members: config.tuning.typing_members,
        }
    }
}
