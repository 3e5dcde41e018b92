//! Entity tags and conditional requests (RFC 9110, section 13).

use actix_web::HttpRequest;
use actix_web::http::header::IF_NONE_MATCH;
use xxhash_rust::xxh3::xxh3_128;

/// Returns the strong entity tag of a body.
pub(super) fn tag(body: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(body))
}

/// Returns `true` if `If-None-Match` contains the tag or `*`.
pub(super) fn is_known(request: &HttpRequest, tag: &str) -> bool {
    request.headers().get_all(IF_NONE_MATCH).any(|tags| {
        let mut tags = tags.to_str().unwrap_or_default().split(',').map(str::trim);
        // Weak comparison, which RFC 9110 requires for `If-None-Match`.
        tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}
