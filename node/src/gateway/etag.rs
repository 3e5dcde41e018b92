//! Entity tags and conditional requests (RFC 9110, section 13).

use actix_web::http::header::{ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use xxhash_rust::xxh3::xxh3_128;

/// Returns the strong entity tag of a body.
pub(super) fn tag(body: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(body))
}

/// Begins the response with this tag. Returns `true` beside a 304, which has no body, and `false` beside a 200.
pub(super) fn begin(request: &HttpRequest, tag: &str) -> (HttpResponseBuilder, bool) {
    let known = is_known(request, tag);
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response.insert_header((ETAG, tag));
    (response, known)
}

/// Returns `true` if `If-None-Match` contains the tag or `*`.
fn is_known(request: &HttpRequest, tag: &str) -> bool {
    request.headers().get_all(IF_NONE_MATCH).any(|tags| {
        let mut tags = tags.to_str().unwrap_or_default().split(',').map(str::trim);
        // Weak comparison, which RFC 9110 requires for `If-None-Match`.
        tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}
