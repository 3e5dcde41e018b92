//! Refusals over HTTP: `application/problem+json` (RFC 9457) with the protocol's codes.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use protocol::{ErrorCode, InvalidId};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Refused;
use crate::conversation::Refusal;

/// The body of every refusal.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// The reason, for people.
    detail: String,
    /// The reason, for programs.
    code: ErrorCode,
    /// How long to wait before the next try, in milliseconds; on temporary refusals.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_ms: Option<u64>,
    /// What the resource does permit; goes into a header.
    #[serde(skip)]
    #[schema(ignore)]
    allow: Option<String>,
}

/// A refusal with the status that goes with its code.
#[must_use]
pub(super) fn problem(code: ErrorCode, detail: &str) -> HttpResponse {
    Problem::new(code, detail).error_response()
}

/// A refusal with another status.
#[must_use]
pub(super) fn problem_of(status: StatusCode, code: ErrorCode, detail: &str) -> HttpResponse {
    Problem::new(code, detail).with_status(status).error_response()
}

// === impl Problem ===

impl Problem {
    /// A refusal with the status that goes with its code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Problem {
        let status = StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem {
            kind: "about:blank",
            title: "",
            status: 0,
            detail: detail.into(),
            code,
            retry_ms: code.temporary().then_some(1_000),
            allow: None,
        };
        problem.with_status(status)
    }

    /// A request that is malformed.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(ErrorCode::BadRequest, detail)
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Problem {
        self.status = status.as_u16();
        self.title = status.canonical_reason().unwrap_or("Error");
        self
    }

    /// A method that the resource doesn't have. `allow` is the list of those it has.
    pub(super) fn method_not_allowed(allow: String) -> Problem {
        let mut problem = Problem::bad(format!("only {allow} is possible here"))
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
        if self.status == StatusCode::UNAUTHORIZED.as_u16() {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(retry_ms) = self.retry_ms {
            response.insert_header((RETRY_AFTER, retry_ms.div_ceil(1_000).to_string()));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((ALLOW, allow.as_str()));
        }
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

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let Refusal { code, msg, retry_ms } = refusal;
        let mut problem = Problem::new(code, msg);
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

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        Problem::new(refused.code(), refused.to_string())
    }
}
