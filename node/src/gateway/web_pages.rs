//! Pages for browsers, embedded from `web/dist`: the chat page at `/`, and the console for operators at `/console`.
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

/// A page that a listener may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmbeddedPage {
    /// The chat page, for clients.
    Chat,
    /// The console, for operators.
    Console,
}

/// A file of a page, in every encoding that the node serves.
struct PageFile {
    path: &'static str,
    /// The pages that load the file.
    pages: &'static [EmbeddedPage],
    content_type: &'static str,
    /// The file as it is; absent if its name contains a hash.
    identity: Option<&'static [u8]>,
    gzip: &'static [u8],
    brotli: &'static [u8],
}

/// The files of `web/dist`, in a table that its build writes.
static FILES: &[PageFile] = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../web/dist/files.inc"));

/// Facts about the node and the cluster that the chat page needs before the login.
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

/// Registers the pages of the port for clients: the chat page if the settings enable it, and the console if operators share
/// the port. Without the chat page, `/` is left to others.
pub(super) fn client_routes(config: &Config, has_operators: bool) -> impl FnOnce(&mut ServiceConfig) {
    let mut pages = Vec::new();
    if config.server.web == WebPages::Chat {
        pages.push(EmbeddedPage::Chat);
    }
    if has_operators {
        pages.push(EmbeddedPage::Console);
    }
    let nodes = config.server.web_nodes.clone();
    let facts = serde_json::to_string(&PageConfig::new(config)).expect("a page config always serialises");
    move |routes| {
        register(routes, &pages, &nodes);
        if !pages.contains(&EmbeddedPage::Chat) {
            return;
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

/// Registers the page of the port for operators: the console.
pub(super) fn operator_routes(routes: &mut ServiceConfig) {
    register(routes, &[EmbeddedPage::Console], &[]);
}

/// Registers the files of these pages. `nodes` are the other nodes to which the chat page may connect.
fn register(routes: &mut ServiceConfig, pages: &[EmbeddedPage], nodes: &[String]) {
    for file in FILES {
        if !file.pages.iter().any(|page| pages.contains(page)) {
            continue;
        }
        let policy: Rc<str> = file.policy(nodes).into();
        let answer = move |request: HttpRequest| {
            let response = file.answer(&request, &policy);
            async move { response }
        };
        routes.service(resource(file.path, web::get().to(answer)));
    }
}

/// Builds a resource that answers other methods as every unknown path does.
fn resource(path: &str, route: Route) -> Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(api::unknown))
}

/// Returns the policy of a page: scripts, styles and connections of this node alone, and connections to these other nodes.
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

    /// Returns the policy of an HTML page. The console asks the node that served it alone, so that its token stays there.
    fn policy(&self, nodes: &[String]) -> String {
        match self.pages.contains(&EmbeddedPage::Chat) {
            true => content_security_policy(nodes),
            false => content_security_policy(&[]),
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

    /// Returns both pages with their text.
    fn html_pages() -> Vec<(&'static PageFile, &'static str)> {
        let pages: Vec<_> = FILES
            .iter()
            .filter(|file| file.is_html())
            .map(|file| (file, std::str::from_utf8(file.identity.unwrap()).unwrap()))
            .collect();
        assert_eq!(pages.len(), 2);
        pages
    }

    #[test]
    fn html_page_names_only_embedded_files_that_come_with_it() {
        for (page, html) in html_pages() {
            let named: Vec<_> = html
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
                let file = FILES.iter().find(|file| file.path == name);
                let file = file.unwrap_or_else(|| panic!("{name} is not embedded"));
                assert!(
                    page.pages.iter().all(|page| file.pages.contains(page)),
                    "{name} is missing for {:?}",
                    page.pages
                );
            }
        }
    }

    #[test]
    fn html_page_has_no_inline_script_or_style() {
        for (_, html) in html_pages() {
            for element in html.split("<script").skip(1) {
                assert!(element.split('>').next().unwrap().contains("src="), "{element}");
            }
            assert!(!html.contains("<style") && !html.contains(" style="), "{html}");
        }
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
    fn policy_of_the_chat_page_alone_names_the_other_nodes() {
        let nodes = ["https://n2.example.org".to_owned()];
        for (page, _) in html_pages() {
            let policy = page.policy(&nodes);
            let connect = policy.split("; ").find(|part| part.starts_with("connect-src"));
            let expected = match page.path {
                "/" => "connect-src 'self' https://n2.example.org wss://n2.example.org",
                _ => "connect-src 'self'",
            };
            assert_eq!(connect, Some(expected));
        }
    }
}
