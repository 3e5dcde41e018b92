//! Who may open a connection: the origin of a browser, the operator's token, and whether the node takes anybody.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, ORIGIN};

use super::auth::Refused;
use crate::config::{Secret, Server};

/// Whether a browser page of this origin may open a session. A client that sends no `Origin` is no browser.
#[must_use]
pub fn origin_allowed(headers: &HeaderMap, settings: &Server) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.as_bytes();
    settings
        .allowed_origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin))
}

/// The token of an `Authorization: Bearer` header, `None` without such a header.
///
/// # Errors
/// When the header is there and is something else.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().map_err(|_| Refused::Invalid)?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Refused::Invalid),
    }
}

/// Whether the request is an operator's: everybody's with development tokens, otherwise by the admin token.
#[must_use]
pub fn operator(headers: &HeaderMap, admin: &Secret, dev: bool) -> bool {
    if admin.is_empty() {
        return dev;
    }
    matches!(bearer(headers), Ok(Some(token)) if same(token.as_bytes(), admin.0.as_bytes()))
}

/// Equality in a time that depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn with(name: actix_web::http::header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn a_browser_page_from_elsewhere_is_refused() {
        let allowed_origins = vec!["https://chat.example.org".to_owned()];
        let settings = Server {
            allowed_origins,
            ..Server::default()
        };
        assert!(origin_allowed(&HeaderMap::new(), &settings));
        assert!(origin_allowed(
            &with(ORIGIN, "https://chat.example.org"),
            &settings
        ));
        assert!(!origin_allowed(
            &with(ORIGIN, "https://chat.example.org.evil.net"),
            &settings
        ));
        assert!(!origin_allowed(&with(ORIGIN, "null"), &settings));
    }

    #[test]
    fn an_operator_needs_the_token_unless_the_node_is_for_development() {
        let token = Secret("0123456789abcdef".to_owned());
        assert!(operator(
            &with(AUTHORIZATION, "Bearer 0123456789abcdef"),
            &token,
            true
        ));
        assert!(!operator(
            &with(AUTHORIZATION, "Bearer 0123456789abcdeF"),
            &token,
            true
        ));
        assert!(!operator(
            &with(AUTHORIZATION, "Basic 0123456789abcdef"),
            &token,
            true
        ));
        assert!(!operator(&HeaderMap::new(), &token, true));
        assert!(operator(&HeaderMap::new(), &Secret::default(), true));
        assert!(!operator(&HeaderMap::new(), &Secret::default(), false));
    }
}
