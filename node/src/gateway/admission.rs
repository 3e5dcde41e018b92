//! Who may open a connection, and from where: the origin of a browser, the operator's token, and whether the node takes anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, ORIGIN, X_FORWARDED_FOR};

use super::auth::Refused;
use crate::config::{Network, Secret, Server};

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

/// Where a request comes from: the peer, or behind trusted proxies the last address that is none of theirs. Of IPv6 the
/// network counts, which is what one customer has.
#[must_use]
pub fn client(headers: &HeaderMap, peer: Option<IpAddr>, settings: &Server) -> IpAddr {
    let proxies = proxies(settings);
    let trusted = |ip: IpAddr| proxies.iter().any(|proxy| proxy.holds(ip));
    // Each proxy appends whom it heard: the list is read from its end, and only as far as those who wrote it are trusted.
    let heard = headers.get_all(X_FORWARDED_FOR);
    let heard: Vec<&str> = heard.filter_map(|value| value.to_str().ok()).collect();
    let heard = heard.iter().flat_map(|value| value.split(',')).map(str::trim);
    let mut heard = heard.collect::<Vec<_>>().into_iter().rev();
    let mut client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    while trusted(client) {
        match heard.next().map(str::parse) {
            Some(Ok(ip)) => client = ip,
            _ => break,
        }
    }
    counted(client)
}

/// Where a connection comes from: `None` if that is a trusted proxy, whose connections are those of many clients.
#[must_use]
pub fn direct(peer: IpAddr, settings: &Server) -> Option<IpAddr> {
    let proxied = proxies(settings).iter().any(|proxy| proxy.holds(peer));
    (!proxied).then(|| counted(peer))
}

fn proxies(settings: &Server) -> Vec<Network> {
    let proxies = settings.trusted_proxies.iter();
    proxies.filter_map(|proxy| Network::parse(proxy)).collect()
}

/// What counts as one address.
fn counted(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let network = ip.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        ip => ip,
    }
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
    fn what_a_proxy_says_about_a_client_counts_if_the_proxy_is_trusted() {
        let settings = Server {
            trusted_proxies: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
            ..Server::default()
        };
        let client = |peer: &str, heard: &'static [&'static str]| {
            let mut headers = HeaderMap::new();
            for value in heard {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_static(value));
            }
            client(&headers, Some(peer.parse().unwrap()), &settings).to_string()
        };
        assert_eq!(client("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "not a proxy");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("::1", &["198.51.100.7"]), "198.51.100.7");
        // What the client wrote itself stands before what the proxies heard.
        assert_eq!(
            client("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(
            client("2001:db8::1:2:3:4", &[]),
            "2001:db8::",
            "a network of IPv6"
        );
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
        let direct = |peer: &str| direct(peer.parse().unwrap(), &settings);
        assert_eq!(direct("10.1.2.3"), None);
        assert_eq!(direct("192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(direct("2001:db8::1:2:3:4"), Some("2001:db8::".parse().unwrap()));
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
