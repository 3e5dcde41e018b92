//! Close codes: the range is the verdict, so that a client which doesn't know a code still does right.

use serde::{Deserialize, Serialize};

/// Why the server closes a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// Done, or replaced in silence by the same instance.
    Normal = 1000,
    /// Broken WebSocket framing.
    Framing = 1002,
    /// A binary frame, which was not negotiated.
    Binary = 1003,
    /// A text that is not UTF-8.
    Utf8 = 1007,
    /// A frame or message over `max_frame`.
    TooLarge = 1009,
    /// A fault of the server.
    Internal = 4000,
    /// The client reads too slowly.
    SlowConsumer = 4010,
    /// The node is being stopped.
    Draining = 4012,
    /// The node has more than it can carry.
    Overloaded = 4013,
    /// Nothing was heard of the client for too long.
    HeartbeatMissed = 4014,
    /// The node is on the minority side.
    Isolated = 4015,
    /// The token ran out.
    TokenExpired = 4201,
    /// Far over the rate limits, for long.
    RateAbuse = 4208,
    /// No `auth` in time.
    NoAuth = 4210,
    /// The client breaks the protocol.
    Protocol = 4400,
    /// The token is not valid.
    AuthFailed = 4401,
    /// Banned or revoked.
    Banned = 4403,
    /// A version that the node doesn't speak.
    Version = 4406,
    /// Displaced by another instance of the same device.
    Displaced = 4409,
    /// The user has too many sessions.
    TooManySessions = 4429,
}

/// What the client does after a close.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// Reconnect after `retry_ms` and resume the session.
    Resume,
    /// Reconnect after `retry_ms` with a new session.
    NewSession,
    /// Stay away until a person or a new version changes something.
    Stop,
}

/// The close reason: `{"retry_ms":1830}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// How long to wait before the next try, in milliseconds.
    pub retry_ms: u64,
}

// === impl CloseCode, Verdict, Reason ===

impl CloseCode {
    /// Every code.
    pub const ALL: [CloseCode; 20] = [
        CloseCode::Normal,
        CloseCode::Framing,
        CloseCode::Binary,
        CloseCode::Utf8,
        CloseCode::TooLarge,
        CloseCode::Internal,
        CloseCode::SlowConsumer,
        CloseCode::Draining,
        CloseCode::Overloaded,
        CloseCode::HeartbeatMissed,
        CloseCode::Isolated,
        CloseCode::TokenExpired,
        CloseCode::RateAbuse,
        CloseCode::NoAuth,
        CloseCode::Protocol,
        CloseCode::AuthFailed,
        CloseCode::Banned,
        CloseCode::Version,
        CloseCode::Displaced,
        CloseCode::TooManySessions,
    ];

    /// Returns the number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Returns the code with that number, if this version has it.
    pub fn from_code(code: u16) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Returns what the client does next.
    pub fn verdict(self) -> Verdict {
        Verdict::of(self.code())
    }
}

impl Verdict {
    /// Returns the verdict of any close code. Outside the server's ranges: the standard codes that blame the
    /// client's bytes (1002, 1003, 1007, 1009) and 1000 say stop, everything else (a lost connection) says
    /// resume.
    pub fn of(code: u16) -> Verdict {
        match code {
            1000 | 1002 | 1003 | 1007 | 1009 => Verdict::Stop,
            4200..=4399 => Verdict::NewSession,
            4400..=4599 => Verdict::Stop,
            _ => Verdict::Resume,
        }
    }
}

impl Reason {
    /// Returns the reason as compact JSON, far below the 123 bytes that a close frame can hold.
    pub fn encode(self) -> String {
        format!("{{\"retry_ms\":{}}}", self.retry_ms)
    }

    /// Returns the reason said by a server, or `None` for any other text.
    pub fn decode(text: &str) -> Option<Reason> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_the_verdict() {
        for code in CloseCode::ALL {
            let expected = match code.code() {
                4000..=4199 => Verdict::Resume,
                4200..=4399 => Verdict::NewSession,
                _ => Verdict::Stop,
            };
            assert_eq!(code.verdict(), expected, "{code:?}");
            assert_eq!(CloseCode::from_code(code.code()), Some(code));
        }
        assert_eq!(Verdict::of(4099), Verdict::Resume);
        assert_eq!(Verdict::of(1006), Verdict::Resume);
        assert_eq!(CloseCode::from_code(4099), None);
    }

    #[test]
    fn the_reason_is_compact_json() {
        assert_eq!(Reason { retry_ms: 1830 }.encode(), r#"{"retry_ms":1830}"#);
        assert_eq!(
            Reason::decode(r#"{"retry_ms":1830,"more":1}"#),
            Some(Reason { retry_ms: 1830 })
        );
        assert_eq!(Reason::decode("going away"), None);
        assert!(Reason { retry_ms: u64::MAX }.encode().len() <= 123);
    }
}
