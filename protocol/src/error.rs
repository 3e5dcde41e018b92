//! Error codes of refused commands, the same on every transport.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Reason for which a command was refused. The name on the wire is the variant in snake case; the number is frozen for
/// encodings between nodes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum ErrorCode {
    /// The request is malformed; repeating it is useless.
    BadRequest = 1,
    /// The connection has not sent a valid token yet.
    Unauthenticated = 2,
    /// The token has expired; the client must get a new one.
    TokenExpired = 3,
    /// The user is a member and may not do this.
    Forbidden = 4,
    /// The user is no member, or the conversation does not exist; the code does not reveal which.
    NotMember = 5,
    /// The object named by the command does not exist.
    NotFound = 6,
    /// The current state does not permit the command, such as the invitation of a member.
    Conflict = 7,
    /// A body or frame is over its limit.
    TooLarge = 8,
    /// The user exceeded a rate limit; retry after `retry_ms`.
    RateLimited = 9,
    /// A queue of the server is full; retry after `retry_ms`.
    Busy = 10,
    /// No owner of the conversation could be reached; retry after `retry_ms`.
    Unavailable = 11,
    /// The outcome is unknown; retry with the same `cid`.
    TimeoutUnknown = 12,
    /// The server has failed internally; retry after `retry_ms`.
    Internal = 13,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Every code, in the order of docs/protocol.md.
    pub const ALL: [ErrorCode; 13] = [
        ErrorCode::BadRequest,
        ErrorCode::Unauthenticated,
        ErrorCode::TokenExpired,
        ErrorCode::Forbidden,
        ErrorCode::NotMember,
        ErrorCode::NotFound,
        ErrorCode::Conflict,
        ErrorCode::TooLarge,
        ErrorCode::RateLimited,
        ErrorCode::Busy,
        ErrorCode::Unavailable,
        ErrorCode::TimeoutUnknown,
        ErrorCode::Internal,
    ];

    /// Returns the frozen number of the code.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Returns the code with that number; `None` for an unknown number.
    pub fn from_number(number: u8) -> Option<ErrorCode> {
        ErrorCode::ALL.into_iter().find(|code| code.number() == number)
    }

    /// Returns the code's name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::Unauthenticated => "unauthenticated",
            ErrorCode::TokenExpired => "token_expired",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::NotMember => "not_member",
            ErrorCode::NotFound => "not_found",
            ErrorCode::Conflict => "conflict",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::Busy => "busy",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::TimeoutUnknown => "timeout_unknown",
            ErrorCode::Internal => "internal",
        }
    }

    /// Returns the HTTP status of the code, which the `err` response carries too.
    pub fn http(self) -> u16 {
        match self {
            ErrorCode::BadRequest => 400,
            ErrorCode::Unauthenticated | ErrorCode::TokenExpired => 401,
            ErrorCode::Forbidden | ErrorCode::NotMember => 403,
            ErrorCode::NotFound => 404,
            ErrorCode::Conflict => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::RateLimited => 429,
            ErrorCode::Internal => 500,
            ErrorCode::Busy | ErrorCode::Unavailable => 503,
            ErrorCode::TimeoutUnknown => 504,
        }
    }

    /// Returns whether the same command may succeed later. On a temporary refusal a client keeps the command and
    /// retries it with the same `cid`.
    pub fn temporary(self) -> bool {
        // Some of these may have taken effect: the same `cid` makes the retry safe.
        matches!(
            self,
            ErrorCode::RateLimited
                | ErrorCode::Busy
                | ErrorCode::Unavailable
                | ErrorCode::TimeoutUnknown
                | ErrorCode::Internal
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serde_name_is_the_wire_name() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }

    #[test]
    fn numbers_of_error_codes_are_frozen() {
        let numbers: Vec<u8> = ErrorCode::ALL.into_iter().map(ErrorCode::number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(code));
        }
        assert_eq!(ErrorCode::from_number(0), None);
    }

    #[test]
    fn what_is_the_clients_fault_is_never_temporary() {
        for code in ErrorCode::ALL {
            assert_eq!(
                code.temporary(),
                code.http() >= 500 || code.http() == 429,
                "{code}"
            );
        }
    }
}
