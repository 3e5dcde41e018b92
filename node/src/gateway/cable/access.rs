//! Credentials of an upgrade request: token and device. Pure.

use std::borrow::Cow;

use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use data_encoding::BASE64URL_NOPAD;
use protocol::limits::DEVICE_BYTES;
use serde::Deserialize;

use crate::auth::TokenError;
use crate::gateway::admission;

/// Prefix of a subprotocol with a token, as AnyCable writes it.
const TOKEN_PROTOCOL: &str = "anycable-token.";
/// Prefix of a subprotocol with a token in base64url, for tokens with characters that a subprotocol cannot have.
const ENCODED_TOKEN_PROTOCOL: &str = "rookery-token.";
/// Prefix of a development token in a subprotocol, which cannot have a colon.
const DEVELOPMENT: &str = "dev.";

/// Query of an upgrade request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CableQuery {
    device: Option<String>,
    instance: Option<String>,
    jid: Option<String>,
    token: Option<String>,
}

/// Credentials of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CableCredentials {
    /// `None`: the client presented none.
    pub(super) token: Option<String>,
    pub(super) device: Option<String>,
    pub(super) instance: Option<String>,
}

// === impl CableCredentials ===

impl CableCredentials {
    /// Reads the credentials. `token_in_url`: a token in the query counts.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] for a token that cannot be read.
    pub(super) fn read(
        headers: &HeaderMap,
        query: CableQuery,
        token_in_url: bool,
    ) -> Result<CableCredentials, TokenError> {
        let of_url = query.jid.or(query.token).filter(|_| token_in_url);
        let token = match admission::bearer(headers)?.or(header(headers, "X-Jid")) {
            Some(token) => Some(token.to_owned()),
            None => of_subprotocol(headers)?.map(Cow::into_owned).or(of_url),
        };
        let named = |name: &str, query: Option<String>| {
            let text = header(headers, name).map(str::to_owned).or(query);
            text.filter(|text| text.len() <= DEVICE_BYTES)
        };
        Ok(CableCredentials {
            token,
            device: named("X-Device", query.device),
            instance: named("X-Instance", query.instance),
        })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the token among the offered subprotocols.
fn of_subprotocol(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, TokenError> {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL);
    let offers = offers.filter_map(|value| value.to_str().ok());
    for offer in offers.flat_map(|names| names.split(',')).map(str::trim) {
        if let Some(token) = offer.strip_prefix(TOKEN_PROTOCOL) {
            return Ok(Some(match token.strip_prefix(DEVELOPMENT) {
                Some(user) => Cow::Owned(format!("dev:{user}")),
                None => Cow::Borrowed(token),
            }));
        }
        if let Some(encoded) = offer.strip_prefix(ENCODED_TOKEN_PROTOCOL) {
            let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes());
            let token = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            return token
                .map(|token| Some(Cow::Owned(token)))
                .ok_or(TokenError::Invalid);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(
        headers: &[(&'static str, &'static str)],
        token_in_url: bool,
    ) -> Result<CableCredentials, TokenError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_static(value));
        }
        let query = CableQuery {
            device: Some("phone".to_owned()),
            jid: Some("of-url".to_owned()),
            ..CableQuery::default()
        };
        CableCredentials::read(&map, query, token_in_url)
    }

    #[test]
    fn token_comes_from_a_header_or_a_subprotocol() {
        for (headers, token) in [
            (&[("Authorization", "Bearer a.b.c")][..], Some("a.b.c")),
            (&[("X-JID", "a.b.c")], Some("a.b.c")),
            (
                &[(
                    "Sec-WebSocket-Protocol",
                    "actioncable-v1-json, anycable-token.a.b.c",
                )],
                Some("a.b.c"),
            ),
            (
                &[("Sec-WebSocket-Protocol", "anycable-token.dev.alice")],
                Some("dev:alice"),
            ),
            (
                &[("Sec-WebSocket-Protocol", "rookery-token.ZGV2OmFsaWNl")],
                Some("dev:alice"),
            ),
            (&[("Authorization", "Bearer x"), ("X-Jid", "y")], Some("x")),
            (&[("Sec-WebSocket-Protocol", "actioncable-v1-json")], None),
        ] {
            assert_eq!(
                read(headers, false).unwrap().token.as_deref(),
                token,
                "{headers:?}"
            );
        }
        assert_eq!(
            read(&[("Sec-WebSocket-Protocol", "rookery-token.***")], false),
            Err(TokenError::Invalid)
        );
    }

    #[test]
    fn token_of_the_url_counts_only_where_that_is_set() {
        assert_eq!(read(&[], false).unwrap().token, None);
        assert_eq!(read(&[], true).unwrap().token.as_deref(), Some("of-url"));
        let both = read(&[("X-Jid", "of-header")], true).unwrap();
        assert_eq!(both.token.as_deref(), Some("of-header"));
    }

    #[test]
    fn device_comes_from_a_header_or_the_query() {
        let device = |headers| read(headers, false).unwrap().device;
        assert_eq!(device(&[]).as_deref(), Some("phone"));
        assert_eq!(device(&[("X-Device", "tablet")]).as_deref(), Some("tablet"));
    }
}
