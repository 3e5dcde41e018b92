//! Settings of the engine connections that the handshake announces. Pure.

use std::time::Duration;

use crate::config::Config;
use crate::session::{IdleLimit, PingInterval, TransportPolicy};

/// Settings of an engine connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EngineSettings {
    pub(super) ping_interval: Duration,
    /// Time in which a ping is answered. The client waits as long for an overdue ping.
    pub(super) ping_timeout: Duration,
    /// Maximum bytes of a message, and of the payload of a request.
    pub(super) max_payload: usize,
}

// === impl EngineSettings ===

impl EngineSettings {
    /// Returns the time of silence after which a connection ends.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.ping_interval + self.ping_timeout
    }

    /// Returns the policy of the sessions on such connections.
    pub(super) fn policy(&self) -> TransportPolicy {
        TransportPolicy {
            ping: PingInterval::Every(self.ping_interval),
            idle: IdleLimit::After(self.idle_timeout()),
            ..TransportPolicy::GATEWAY
        }
    }
}

impl From<&Config> for EngineSettings {
    fn from(config: &Config) -> EngineSettings {
        EngineSettings {
            ping_interval: config.ping_interval().0,
            ping_timeout: config.session.idle_timeout.0 / 2,
            max_payload: config.max_frame(),
        }
    }
}

#[cfg(test)]
impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings::from(&Config::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connection_ends_after_interval_and_timeout() {
        let settings = EngineSettings::default();
        let policy = settings.policy();
        assert_eq!(policy.ping, PingInterval::Every(Duration::from_secs(25)));
        assert_eq!(policy.idle, IdleLimit::After(Duration::from_secs(45)));
        assert!(!policy.has_hello);
    }
}
