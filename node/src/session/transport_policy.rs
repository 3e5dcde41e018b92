//! Transport policy: the properties of a transport that the session depends on. Pure values.

use std::time::Duration;

use crate::config::Config;

/// Behaviour of a session that depends on its transport. Each transport has one constant policy. A gateway whose client
/// negotiates a value, such as the keep-alive interval of MQTT, changes that field for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportPolicy {
    /// True if `hello` precedes everything else.
    pub has_hello: bool,
    /// True if requests fetch the events, and no permanent connection exists. The session is detached between two polls.
    pub is_polled: bool,
    pub ping: PingInterval,
    pub idle: IdleLimit,
    pub detached: DetachedPolicy,
    pub reader: ReaderPolicy,
}

/// Interval between the keepalives of the server. `Configured`: five eighths of `session.idle_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingInterval {
    Configured,
    /// Interval of comments on an event stream.
    Comments,
    Every(Duration),
    /// The protocol has no ping of the server.
    Never,
}

/// Time without a byte from the client after which the connection counts as lost. `Configured`:
/// `session.idle_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleLimit {
    Configured,
    After(Duration),
    /// The client never sends, or agreed on no keepalive.
    Never,
}

/// State that a session keeps while no client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetachedPolicy {
    /// True if the user stays online, for at most the idle limit.
    pub keeps_presence: bool,
    pub expiry: SessionExpiry,
    /// Least time for which the session exists, whatever its expiry: it executes the will of its client. It is not kept for
    /// another connection, and has no cursors.
    pub least_lifetime: Duration,
}

/// Time for which a detached session can be resumed, and for which the durable cursors of its device are kept.
/// `Configured`: `session.resume_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionExpiry {
    Configured,
    /// Another time; with zero the session ends with its connection. The session itself is kept for at most
    /// `session.resume_timeout`, and rebuilt from the cursors after that.
    AtMost(Duration),
}

/// Treatment of commands above the rate, and of temporary refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderPolicy {
    pub rates: RatePolicy,
    pub temporary: RefusalPolicy,
}

/// Treatment of a command above the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RatePolicy {
    /// It is refused with `rate_limited`.
    Refuse,
    /// It is dispatched once the rate permits it; until then no further command is read.
    Wait,
}

/// Treatment of the temporary refusals `busy`, `unavailable` and `timeout_unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalPolicy {
    /// The client receives them and repeats its command.
    Answer,
    /// The session repeats the command with the same `cid`, for at most this time.
    Retry(Duration),
}

/// Time for which a gateway repeats a refused command.
const RETRY_BUDGET: Duration = Duration::from_secs(10);

// === impl TransportPolicy ===

impl TransportPolicy {
    /// Policy of the native WebSocket, `/v1/ws`.
    pub const WEBSOCKET: TransportPolicy = TransportPolicy {
        has_hello: true,
        is_polled: false,
        ping: PingInterval::Configured,
        idle: IdleLimit::Configured,
        detached: DetachedPolicy {
            keeps_presence: false,
            expiry: SessionExpiry::Configured,
            least_lifetime: Duration::ZERO,
        },
        reader: ReaderPolicy::NATIVE,
    };

    /// Server-sent events. The client never sends, so its silence means nothing.
    pub const EVENT_STREAM: TransportPolicy = TransportPolicy {
        has_hello: false,
        ping: PingInterval::Comments,
        idle: IdleLimit::Never,
        ..TransportPolicy::WEBSOCKET
    };

    /// Long polling: the user stays online between two polls.
    pub const LONG_POLL: TransportPolicy = TransportPolicy {
        has_hello: false,
        is_polled: true,
        detached: DetachedPolicy {
            keeps_presence: true,
            expiry: SessionExpiry::Configured,
            least_lifetime: Duration::ZERO,
        },
        ..TransportPolicy::WEBSOCKET
    };

    /// Gateway of a foreign protocol, whose clients know neither `hello` nor retries.
    pub const GATEWAY: TransportPolicy = TransportPolicy {
        has_hello: false,
        reader: ReaderPolicy::GATEWAY,
        ..TransportPolicy::WEBSOCKET
    };

    /// Returns the interval between two pings; `None`: there are none.
    pub(super) fn ping_interval(&self, config: &Config) -> Option<Duration> {
        match self.ping {
            PingInterval::Configured => Some(config.ping_interval().0),
            PingInterval::Comments => Some(config.tuning.comment_interval.0),
            PingInterval::Every(interval) => Some(interval),
            PingInterval::Never => None,
        }
    }

    /// Returns the time of silence after which the connection is closed; `None`: silence never closes it.
    pub(super) fn idle_timeout(&self, config: &Config) -> Option<Duration> {
        match self.idle {
            IdleLimit::Configured => Some(config.session.idle_timeout.0),
            IdleLimit::After(limit) => Some(limit),
            IdleLimit::Never => None,
        }
    }

    /// Returns the time for which the durable cursors of a detached session are kept.
    pub(super) fn cursor_timeout(&self, config: &Config) -> Duration {
        match self.detached.expiry {
            SessionExpiry::Configured => config.session.resume_timeout.0,
            SessionExpiry::AtMost(expiry) => expiry,
        }
    }

    /// Returns the time for which a detached session exists, and can be resumed.
    pub(super) fn resume_timeout(&self, config: &Config) -> Duration {
        let most = config.session.resume_timeout.0;
        match self.detached.expiry {
            SessionExpiry::Configured => most,
            SessionExpiry::AtMost(expiry) => expiry.max(self.detached.least_lifetime).min(most),
        }
    }
}

// === impl ReaderPolicy ===

impl ReaderPolicy {
    /// Clients that repeat refused commands themselves.
    pub const NATIVE: ReaderPolicy = ReaderPolicy {
        rates: RatePolicy::Refuse,
        temporary: RefusalPolicy::Answer,
    };

    /// Clients of gateways, which have no retries.
    pub const GATEWAY: ReaderPolicy = ReaderPolicy {
        rates: RatePolicy::Wait,
        temporary: RefusalPolicy::Retry(RETRY_BUDGET),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn event_stream_has_no_idle_limit() {
        let config = Config::default();
        assert_eq!(TransportPolicy::EVENT_STREAM.idle_timeout(&config), None);
        assert!(TransportPolicy::EVENT_STREAM.ping_interval(&config).is_some());
    }

    #[test]
    fn negotiated_values_replace_the_configured_ones() {
        let config = Config::default();
        let policy = TransportPolicy {
            ping: PingInterval::Never,
            idle: IdleLimit::After(90 * SECOND),
            ..TransportPolicy::GATEWAY
        };
        assert_eq!(policy.ping_interval(&config), None);
        assert_eq!(policy.idle_timeout(&config), Some(90 * SECOND));
    }

    #[test]
    fn resume_timeout_bounds_sessions_and_not_cursors() {
        let config = Config::default();
        let expiring = |expiry| TransportPolicy {
            detached: DetachedPolicy {
                keeps_presence: false,
                expiry,
                least_lifetime: Duration::ZERO,
            },
            ..TransportPolicy::GATEWAY
        };
        let most = config.session.resume_timeout.0;
        for (expiry, expected) in [
            (SessionExpiry::Configured, most),
            (SessionExpiry::AtMost(Duration::ZERO), Duration::ZERO),
            (SessionExpiry::AtMost(most * 2), most),
        ] {
            assert_eq!(expiring(expiry).resume_timeout(&config), expected);
        }
        for (expiry, expected) in [
            (SessionExpiry::Configured, most),
            (SessionExpiry::AtMost(Duration::ZERO), Duration::ZERO),
            (SessionExpiry::AtMost(most * 2), most * 2),
        ] {
            assert_eq!(expiring(expiry).cursor_timeout(&config), expected);
        }
    }

    #[test]
    fn will_lets_a_session_live_on_without_cursors() {
        let config = Config::default();
        let policy = TransportPolicy {
            detached: DetachedPolicy {
                keeps_presence: false,
                expiry: SessionExpiry::AtMost(Duration::ZERO),
                least_lifetime: 2 * SECOND,
            },
            ..TransportPolicy::GATEWAY
        };
        assert_eq!(policy.resume_timeout(&config), 2 * SECOND);
        assert_eq!(policy.cursor_timeout(&config), Duration::ZERO);
    }

    #[test]
    fn only_gateways_retry_for_their_clients() {
        for native in [
            TransportPolicy::WEBSOCKET,
            TransportPolicy::EVENT_STREAM,
            TransportPolicy::LONG_POLL,
        ] {
            assert_eq!(native.reader, ReaderPolicy::NATIVE);
        }
        assert_eq!(
            TransportPolicy::GATEWAY.reader.temporary,
            RefusalPolicy::Retry(RETRY_BUDGET)
        );
    }
}
