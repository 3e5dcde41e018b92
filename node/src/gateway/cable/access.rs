//! Credentials of an upgrade request: token, device, and the session that is continued. Pure.

use std::borrow::Cow;

use actix_web::http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use data_encoding::BASE64URL_NOPAD;
use protocol::limits::DEVICE_BYTES;
use serde::Deserialize;

use crate::auth::TokenError;
use crate::gateway::admission;
use crate::session::{ClientCredentials, ResumePoint};

/// Prefix of a subprotocol with a token, as AnyCable writes it.
const TOKEN_PROTOCOL: &str = "anycable-token.";
/// Prefix of a subprotocol with a token in base64url, for tokens with characters that a subprotocol cannot have.
const ENCODED_TOKEN_PROTOCOL: &str = "rookery-token.";
/// Prefix of a development token in a subprotocol, which cannot have a colon.
const DEVELOPMENT: &str = "dev.";
/// Header with the id of the session that a client of AnyCable continues.
const RESTORE_HEADER: &str = "X-AnyCable-Restore-Sid";

/// Query of an upgrade request.
#[derive(Debug, Default, Deserialize)]
pub(super) struct CableQuery {
    device: Option<String>,
    instance: Option<String>,
    jid: Option<String>,
    token: Option<String>,
    sid: Option<String>,
}

/// Credentials of a client.
#[derive(Debug)]
pub(super) struct CableCredentials {
    pub(super) client: ClientCredentials,
    /// Session that the client continues; only the extended protocol has one.
    pub(super) restored: Option<ResumePoint>,
}

// === impl CableCredentials ===

impl CableCredentials {
    /// Reads the credentials. `token_in_url`: a token in the query counts.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] without a token, and for one that cannot be read.
    pub(super) fn read(
        headers: &HeaderMap,
        query: CableQuery,
        token_in_url: bool,
    ) -> Result<CableCredentials, TokenError> {
        let of_url = query.jid.or(query.token).filter(|_| token_in_url);
        let token = match admission::bearer(headers)?.or(header(headers, "X-Jid")) {
            Some(token) => token.to_owned(),
            None => of_subprotocol(headers)?
                .map(Cow::into_owned)
                .or(of_url)
                .ok_or(TokenError::Invalid)?,
        };
        let named = |name: &str, query: Option<String>| {
            let text = header(headers, name).map(str::to_owned).or(query);
            text.filter(|text| text.len() <= DEVICE_BYTES)
        };
        let sid = header(headers, RESTORE_HEADER).or(query.sid.as_deref());
        Ok(CableCredentials {
            client: ClientCredentials {
                token,
                device: named("X-Device", query.device),
                instance: named("X-Instance", query.instance),
            },
            restored: sid.map(ResumePoint::of_session),
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
            (&[("Authorization", "Bearer a.b.c")][..], "a.b.c"),
            (&[("X-JID", "a.b.c")], "a.b.c"),
            (
                &[(
                    "Sec-WebSocket-Protocol",
                    "actioncable-v1-json, anycable-token.a.b.c",
                )],
                "a.b.c",
            ),
            (
                &[("Sec-WebSocket-Protocol", "anycable-token.dev.alice")],
                "dev:alice",
            ),
            (
                &[("Sec-WebSocket-Protocol", "rookery-token.ZGV2OmFsaWNl")],
                "dev:alice",
            ),
            (&[("Authorization", "Bearer x"), ("X-Jid", "y")], "x"),
        ] {
            assert_eq!(read(headers, false).unwrap().client.token, token, "{headers:?}");
        }
        for protocol in ["actioncable-v1-json", "rookery-token.***"] {
            let refused = read(&[("Sec-WebSocket-Protocol", protocol)], false).unwrap_err();
            assert_eq!(refused, TokenError::Invalid);
        }
    }

    #[test]
    fn token_of_the_url_counts_only_where_that_is_set() {
        assert_eq!(read(&[], false).unwrap_err(), TokenError::Invalid);
        assert_eq!(read(&[], true).unwrap().client.token, "of-url");
        let both = read(&[("X-Jid", "of-header")], true).unwrap();
        assert_eq!(both.client.token, "of-header");
    }

    #[test]
    fn device_comes_from_a_header_or_the_query() {
        let device = |headers| read(headers, true).unwrap().client.device;
        assert_eq!(device(&[]).as_deref(), Some("phone"));
        assert_eq!(device(&[("X-Device", "tablet")]).as_deref(), Some("tablet"));
    }

    #[test]
    fn session_to_continue_comes_from_a_header() {
        const HEADER: &str = "X-ANYCABLE-RESTORE-SID";
        const SID: &str = "3f00102030405060708090a0b0c0d0e0f";
        let restored = |headers| read(headers, true).unwrap().restored;
        assert_eq!(restored(&[]), None);
        assert_eq!(restored(&[(HEADER, "not a session")]), Some(ResumePoint::Invalid));
        assert!(matches!(
            restored(&[(HEADER, SID)]),
            Some(ResumePoint::Session(_))
        ));
    }
}
