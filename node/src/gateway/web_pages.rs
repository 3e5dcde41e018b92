//! Pages for browsers: the chat page at `/`, embedded from `web/dist`.
//!
//! `make web` builds that folder and the repository holds it, so a build of the node needs no Node.js, and a missing file
//! is an error of the compiler. The names of scripts, styles and images contain a hash of their content. They are embedded
//! in their compressed form alone, because every browser accepts it.

use std::rc::Rc;

use actix_web::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    REFERRER_POLICY, VARY,
};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};
use serde::Serialize;

use super::{api, etag};
use crate::config::{Config, WebPages};

/// A file of a page, in every encoding that the node serves.
struct PageFile {
    path: &'static str,
    content_type: &'static str,
    /// The file as it is; absent if its name contains a hash.
    identity: Option<&'static [u8]>,
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// The files of `web/dist`, in a table that its build writes.
static FILES: &[PageFile] = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/files.inc"));

/// Facts about the node and the cluster that the page needs before the login.
#[derive(Serialize)]
struct PageConfig {
    /// Other nodes, for the time when this one is gone.
    nodes: Vec<String>,
    /// True if the node accepts `dev:<user>` as a token.
    dev_tokens: bool,
    /// True if a login by one-time code is possible.
    login: bool,
    version: &'static str,
}

/// Registers the pages that the settings enable. Without a page, `/` is left to others.
pub(super) fn routes(config: &Config) -> impl FnOnce(&mut ServiceConfig) {
    let enabled = config.server.web == WebPages::Chat;
    let policy: Rc<str> = content_security_policy(&config.server.web_nodes).into();
    let facts = serde_json::to_string(&PageConfig::new(config)).expect("a page config always serialises");
    move |routes| {
        if !enabled {
            return;
        }
        for file in FILES {
            let policy = policy.clone();
            let answer = move |request: HttpRequest| {
                let response = file.answer(&request, &policy);
                async move { response }
            };
            routes.service(resource(file.path, web::get().to(answer)));
        }
        let answer = move || {
            let response = HttpResponse::Ok()
                .insert_header((CACHE_CONTROL, "no-store"))
                .content_type("application/json")
                .body(facts.clone());
            async move { response }
        };
        routes.service(resource("/config.json", web::get().to(answer)));
    }
}

/// Builds a resource that answers other methods as every unknown path does.
fn resource(path: &str, route: Route) -> Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(api::unknown))
}

/// Returns the policy of the page: scripts, styles and connections of this node alone, and connections to the other
/// nodes.
fn content_security_policy(nodes: &[String]) -> String {
    let nodes = nodes.iter().map(|node| {
        // "http" becomes "ws", and "https" becomes "wss".
        let socket = node.replacen("http", "ws", 1);
        format!(" {node} {socket}")
    });
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'{}; img-src 'self' data: blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        nodes.collect::<String>()
    )
}

/// Returns `true` if the header permits the coding: it is listed with a weight above zero (RFC 9110, section 12.5.3).
fn accepts(header: &str, coding: &str) -> bool {
    let weight = |wanted: &str| {
        header.split(',').find_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(wanted);
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            named.then(|| weight.unwrap_or(1.0_f32))
        })
    };
    weight(coding)
        .or_else(|| weight("*"))
        .is_some_and(|weight| weight > 0.0)
}

// === impl PageFile ===

impl PageFile {
    fn answer(&self, request: &HttpRequest, policy: &str) -> HttpResponse {
        let header = request.headers().get(ACCEPT_ENCODING);
        let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (coding, bytes) = self.encoded(header);
        // Each encoding has a tag of its own, because a tag names the bytes that are sent.
        let tag = etag::tag(bytes);
        let (mut response, known) = etag::begin(request, &tag);
        response.insert_header((VARY, "Accept-Encoding"));
        if self.path.starts_with("/assets/") {
            response.insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"));
        } else {
            // After an upgrade the HTML page names other files.
            response.insert_header((CACHE_CONTROL, "no-cache"));
        }
        if self.is_html() {
            response
                .insert_header((CONTENT_SECURITY_POLICY, policy))
                .insert_header((REFERRER_POLICY, "no-referrer"))
                .insert_header((
                    HeaderName::from_static("cross-origin-opener-policy"),
                    "same-origin",
                ));
        }
        if known {
            return response.finish();
        }
        if let Some(coding) = coding {
            response.insert_header((CONTENT_ENCODING, coding));
        }
        response
            .insert_header((CONTENT_TYPE, self.content_type))
            .body(bytes)
    }

    /// Returns the smallest encoding that the client accepts. RFC 9110 (section 12.5.3) permits another one if there is
    /// none.
    fn encoded(&self, accept_encoding: &str) -> (Option<&'static str>, &'static [u8]) {
        match self.identity {
            _ if accepts(accept_encoding, "br") => (Some("br"), self.brotli),
            Some(identity) if !accepts(accept_encoding, "gzip") => (None, identity),
            _ => (Some("gzip"), self.gzip),
        }
    }

    fn is_html(&self) -> bool {
        self.content_type.starts_with("text/html")
    }
}

// === impl PageConfig ===

impl PageConfig {
    fn new(config: &Config) -> PageConfig {
        PageConfig {
            nodes: config.server.web_nodes.clone(),
            dev_tokens: config.auth.dev_tokens,
            login: config.auth.dev_tokens || !config.login.webhook_url.is_empty(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> &'static PageFile {
        FILES.iter().find(|file| file.path == "/").unwrap()
    }

    fn html() -> &'static str {
        std::str::from_utf8(page().identity.unwrap()).unwrap()
    }

    #[test]
    fn html_page_names_only_embedded_files() {
        let named: Vec<_> = html()
            .split('"')
            .filter(|text| text.starts_with("/assets/"))
            .collect();
        assert!(
            named.iter().any(|name| name.ends_with(".js")),
            "no script in {named:?}"
        );
        assert!(
            named.iter().any(|name| name.ends_with(".css")),
            "no style in {named:?}"
        );
        for name in named {
            assert!(
                FILES.iter().any(|file| file.path == name),
                "{name} is not embedded"
            );
        }
    }

    #[test]
    fn html_page_has_no_inline_script_or_style() {
        let html = html();
        for element in html.split("<script").skip(1) {
            assert!(element.split('>').next().unwrap().contains("src="), "{element}");
        }
        assert!(!html.contains("<style") && !html.contains(" style="), "{html}");
    }

    #[test]
    fn coding_follows_the_weights_of_the_client() {
        let coding = |header| page().encoded(header).0;
        assert_eq!(coding("gzip, deflate, br, zstd"), Some("br"));
        assert_eq!(coding("gzip;q=1.0, br;q=0"), Some("gzip"));
        assert_eq!(coding("*"), Some("br"));
        assert_eq!(coding("*;q=0, gzip"), Some("gzip"));
        assert_eq!(coding("deflate"), None);
        assert_eq!(coding(""), None);
        let hashed = FILES
            .iter()
            .find(|file| file.path.starts_with("/assets/"))
            .unwrap();
        assert_eq!(hashed.encoded("").0, Some("gzip"));
    }

    #[test]
    fn policy_permits_connections_to_the_other_nodes() {
        let policy = content_security_policy(&["https://n2.example.org".to_owned()]);
        let connect = policy.split("; ").find(|part| part.starts_with("connect-src"));
        assert_eq!(
            connect,
            Some("connect-src 'self' https://n2.example.org wss://n2.example.org")
        );
    }
}
