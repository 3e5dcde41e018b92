//! The codes of refusals, the same on every transport.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a command was refused. The wire name is the variant in snake case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is malformed; sending it again is useless.
    BadRequest,
    /// No valid token yet.
    Unauthenticated,
    /// The token was valid and is no more: get a new one.
    TokenExpired,
    /// The user is a member and may not do this.
    Forbidden,
    /// The user is no member, or there is no such conversation: the two are not told apart.
    NotMember,
    /// The thing named by the command is not there.
    NotFound,
    /// The state doesn't permit it (such as inviting a member).
    Conflict,
    /// A body or frame is over its limit.
    TooLarge,
    /// Too many, too fast: try again after `retry_ms`.
    RateLimited,
    /// A queue is full: try again after `retry_ms`.
    Busy,
    /// No owner could be reached: try again after `retry_ms`.
    Unavailable,
    /// The outcome is not known: send the same `cid` again.
    TimeoutUnknown,
    /// A fault of the server: try again after `retry_ms`.
    Internal,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// Every code, in the order of the documentation.
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

    /// Returns the name on the wire.
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

    /// Returns the HTTP status that goes with the code, also in the `err` frame.
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

    /// Tells whether the same command may succeed later. A client that gets a temporary refusal keeps the
    /// command and sends it again with the same `cid`.
    pub fn temporary(self) -> bool {
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
