//! Refusals over HTTP: `application/problem+json` with the protocol's codes.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use protocol::ErrorCode;
use serde_json::json;

/// A refusal with the status that goes with its code.
#[must_use]
pub(super) fn problem(code: ErrorCode, detail: &str) -> HttpResponse {
    problem_of(
        StatusCode::from_u16(code.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        code,
        detail,
    )
}

/// A refusal with another status.
#[must_use]
pub(super) fn problem_of(status: StatusCode, code: ErrorCode, detail: &str) -> HttpResponse {
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": code.as_str(),
        "detail": detail,
    });
    let mut response = HttpResponse::build(status);
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header(("WWW-Authenticate", "Bearer"));
    }
    if code.temporary() {
        response.insert_header(("Retry-After", "1"));
    }
    response.insert_header(("X-Content-Type-Options", "nosniff"));
    response
        .content_type("application/problem+json")
        .body(body.to_string())
}
