//! Conditional reads: a client that names what it has is not sent it again (RFC 9110, section 13).

use actix_web::HttpRequest;
use actix_web::http::header::IF_NONE_MATCH;
use xxhash_rust::xxh3::xxh3_128;

/// The entity tag of exactly these bytes.
pub(super) fn tag(body: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(body))
}

/// Whether the client says that it has what has this tag.
pub(super) fn is_known(request: &HttpRequest, tag: &str) -> bool {
    request.headers().get_all(IF_NONE_MATCH).any(|tags| {
        let mut tags = tags.to_str().unwrap_or_default().split(',').map(str::trim);
        tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}
