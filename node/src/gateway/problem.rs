//! HTTP error responses: `application/problem+json` (RFC 9457) with the error codes of the protocol.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use protocol::{ErrorCode, InvalidId};
use serde::Serialize;
use utoipa::ToSchema;

use super::error_catalogue;
use crate::auth::TokenError;
use crate::shard_client::CommandError;

/// The body of every error response.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The entry of the `code` in the error catalogue, a page of every node.
    #[serde(rename = "type")]
    kind: String,
    /// The reason phrase of the HTTP status.
    title: &'static str,
    /// The HTTP status code of the response.
    status: u16,
    /// The reason as text for people.
    detail: String,
    /// The reason as a code for programs.
    code: ErrorCode,
    /// Milliseconds to wait before the next try; present on temporary refusals only.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u64>,
    /// Value of the `Allow` header of a 405; not part of the body.
    #[serde(skip)]
    #[schema(ignore)]
    allow: Option<String>,
}

/// Builds an error response with the status of its code.
#[must_use]
pub(super) fn problem(code: ErrorCode, detail: &str) -> HttpResponse {
    Problem::new(code, detail).error_response()
}

// === impl Problem ===

impl Problem {
    pub(super) fn code(&self) -> ErrorCode {
        self.code
    }

    /// Creates a problem with the status of its code. Temporary codes get a retry time of one second.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Problem {
        let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem {
            kind: error_catalogue::link(code),
            title: "",
            status: 0,
            detail: detail.into(),
            code,
            retry_ms: code.temporary().then_some(1_000),
            allow: None,
        };
        problem.with_status(status)
    }

    /// Creates a problem for a malformed request.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(ErrorCode::BadRequest, detail)
    }

    /// Replaces the status and its title.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Problem {
        self.status = status.as_u16();
        self.title = status.canonical_reason().unwrap_or("Error");
        self
    }

    /// Creates a 405. `allow` lists the methods of the resource.
    pub(super) fn method_not_allowed(allow: String) -> Problem {
        let mut problem = Problem::bad(format!("this path supports only {allow}"))
            .with_status(StatusCode::METHOD_NOT_ALLOWED);
        problem.allow = Some(allow);
        problem
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        // RFC 9110 requires a challenge in every 401.
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(retry_ms) = self.retry_ms {
            // Rounded up to seconds: an earlier retry would be refused again.
            response.insert_header((RETRY_AFTER, retry_ms.div_ceil(1_000).to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, allow.as_str()));
        }
        // A cached refusal would outlive its cause.
        response.insert_header((CACHE_CONTROL, "no-store"));
        response
            .content_type("application/problem+json")
            .body(serde_json::to_string(self).expect("a problem always serialises"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl From<CommandError> for Problem {
    fn from(refusal: CommandError) -> Problem {
        let CommandError { code, msg, retry_ms } = refusal;
        let mut problem = Problem::new(code, msg);
        // A permanent refusal must not carry a retry time: clients would repeat a request that cannot succeed.
        if code.temporary() {
            problem.retry_ms = retry_ms.or(problem.retry_ms);
        }
        problem
    }
}

impl From<(ErrorCode, String)> for Problem {
    fn from((code, msg): (ErrorCode, String)) -> Problem {
        Problem::new(code, msg)
    }
}

impl From<InvalidId> for Problem {
    fn from(invalid: InvalidId) -> Problem {
        Problem::bad(invalid.to_string())
    }
}

impl From<TokenError> for Problem {
    fn from(refused: TokenError) -> Problem {
        Problem::new(refused.code(), refused.to_string())
    }
}
