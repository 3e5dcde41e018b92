//! Close codes. The range of a code defines the client's reaction, so a client handles unknown codes correctly too.

use serde::{Deserialize, Serialize};

/// Reason for which the server closes a WebSocket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum CloseCode {
    /// The session ended, or another connection of the same instance replaced this one.
    Normal = 1000,
    /// The client sent broken WebSocket framing.
    Framing = 1002,
    /// The client sent a binary frame, which was not negotiated.
    Binary = 1003,
    /// The client sent text that is not UTF-8.
    Utf8 = 1007,
    /// The client sent a frame or message over `max_frame`.
    TooLarge = 1009,
    /// The server has failed internally.
    Internal = 4000,
    /// The client reads too slowly, and its outbound queue overflowed.
    SlowConsumer = 4010,
    /// The node is being stopped; the session can be resumed on another node.
    Draining = 4012,
    /// The node has reached its capacity.
    Overloaded = 4013,
    /// The client sent nothing within the idle timeout.
    HeartbeatMissed = 4014,
    /// The node has lost contact with a majority of the cluster.
    Isolated = 4015,
    /// The token of the session has expired.
    TokenExpired = 4201,
    /// The client exceeded the rate limits by far and for long.
    RateAbuse = 4208,
    /// The client sent no `auth` within `auth_ms`.
    NoAuth = 4210,
    /// The client violated the protocol.
    Protocol = 4400,
    /// The token is not valid.
    AuthFailed = 4401,
    /// The user is banned, or the login was revoked.
    Banned = 4403,
    /// The node does not support the protocol version.
    Version = 4406,
    /// Another instance of the same device has connected.
    Displaced = 4409,
    /// The user has too many sessions.
    TooManySessions = 4429,
}

/// Reaction of the client to a close.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseAdvice {
    /// Reconnect after `retry_ms` and resume the session.
    Resume,
    /// Reconnect after `retry_ms` with a new session.
    NewSession,
    /// Do not reconnect until a person or a new version has changed something.
    Stop,
}

/// The reason text of a close frame: `{"retry_ms":1830}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CloseReason {
    /// Time to wait before the next connection, in milliseconds.
    pub retry_ms: u64,
}

// === impl CloseCode, CloseAdvice, CloseReason ===

impl CloseCode {
    /// Every close code of this version.
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

    /// Returns the number that is sent on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// Returns the code with that number; `None` if this version has none.
    pub fn from_code(code: u16) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Returns the reaction of the client to this code.
    pub fn verdict(self) -> CloseAdvice {
        CloseAdvice::of(self.code())
    }
}

impl CloseAdvice {
    /// Returns the reaction to any close code. Outside the server's ranges, 1000 and the standard codes for invalid
    /// client bytes (1002, 1003, 1007, 1009) mean stop. Every other code, such as that of a lost connection, means
    /// resume.
    pub fn of(code: u16) -> CloseAdvice {
        match code {
            1000 | 1002 | 1003 | 1007 | 1009 => CloseAdvice::Stop,
            4200..=4399 => CloseAdvice::NewSession,
            4400..=4599 => CloseAdvice::Stop,
            // An unknown code or a lost connection must not cost the client its session.
            _ => CloseAdvice::Resume,
        }
    }
}

impl CloseReason {
    /// Returns the reason as compact JSON, far below the 123 bytes that a close frame can hold.
    pub fn encode(self) -> String {
        format!("{{\"retry_ms\":{}}}", self.retry_ms)
    }

    /// Decodes a server's reason text; `None` for any other text.
    pub fn decode(text: &str) -> Option<CloseReason> {
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
                4000..=4199 => CloseAdvice::Resume,
                4200..=4399 => CloseAdvice::NewSession,
                _ => CloseAdvice::Stop,
            };
            assert_eq!(code.verdict(), expected, "{code:?}");
            assert_eq!(CloseCode::from_code(code.code()), Some(code));
        }
        assert_eq!(CloseAdvice::of(4099), CloseAdvice::Resume);
        assert_eq!(CloseAdvice::of(1006), CloseAdvice::Resume);
        assert_eq!(CloseCode::from_code(4099), None);
    }

    #[test]
    fn the_reason_is_compact_json() {
        assert_eq!(CloseReason { retry_ms: 1830 }.encode(), r#"{"retry_ms":1830}"#);
        assert_eq!(
            CloseReason::decode(r#"{"retry_ms":1830,"more":1}"#),
            Some(CloseReason { retry_ms: 1830 })
        );
        assert_eq!(CloseReason::decode("going away"), None);
        assert!(CloseReason { retry_ms: u64::MAX }.encode().len() <= 123);
    }
}
