//! `[server]`: the listeners of HTTP, for clients and for operators.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::admin_token::AdminToken;
use super::load::Problems;
use super::section::section;
use super::units::{HumanDuration, IpNetwork, SecretString};

/// Pages for browsers that a node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebPages {
    Off,
    /// The chat page at `/`.
    Chat,
}

section! {
    /// Listeners of HTTP: one for clients, with WebSocket and with TLS if a certificate is set, and one for operators.
    pub struct ServerConfig {
        /// Address and port for clients. Port 0 selects a free port.
        listen: String = "127.0.0.1:8080".to_owned(),
        /// File (PEM) with the certificate of the ports for clients, MQTT included, and those that link it to an authority.
        /// It is read again within 10 s of a change, and at SIGHUP; open connections stay. Empty: no TLS.
        tls_cert_file: String = String::new(),
        /// File (PEM) with the key of that certificate.
        tls_key_file: String = String::new(),
        /// Threads that serve clients; 0: one per processor. Conversations have an eighth as many of their own, replication
        /// a quarter (at least two).
        threads: usize = 0,
        /// Maximum number of client connections. Further ones receive 503, except requests of operators and probes. 0:
        /// as many as the limit of open files permits.
        max_connections: usize = 0,
        /// Maximum number of unauthenticated connections per address (IPv6: per /64). Beyond it, the oldest idle one is
        /// closed, and new sessions without a token receive 503. Behind a trusted proxy, the client's address counts.
        /// Raise it if many clients share one address.
        unauthenticated_per_address: usize = 512,
        /// Origins from which browsers may open sessions; "*" permits any. Other clients send no Origin header.
        allowed_origins: Vec<String> = vec!["*".to_owned()],
        /// Pages for browsers: off, or chat for the chat page at `/`. `rookery dev` and `rookery cluster` serve it.
        web: WebPages = WebPages::Off,
        /// Addresses of other nodes, like `https://n2.example.org`, at which the page goes on when its own node is gone.
        /// Empty behind a proxy that passes clients to any node.
        web_nodes: Vec<String> = Vec::new(),
        /// Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For header is trusted.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Address and port for operators: /metrics, /v1/cluster, /v1/admin and the console at /console, which the port for
        /// clients does not have.
        /// Empty: on the port for clients, with development tokens only, as `rookery dev` and `rookery cluster` set it.
        admin: String = "127.0.0.1:8079".to_owned(),
        /// Bearer tokens of operators, separated by spaces: `operate:NAME:TOKEN`, `read:NAME:TOKEN` for one that changes
        /// nothing, or a bare token that may operate. `@FILE` reads them from a file. Empty: open with development tokens,
        /// closed otherwise.
        admin_token: SecretString = SecretString::default(),
        /// Maximum time at a stop for the transfer of all shards to other nodes. Other nodes then have half of it to
        /// fetch the sessions.
        drain_timeout: HumanDuration = HumanDuration::secs(10),
    }
}

// === impl ServerConfig ===

impl ServerConfig {
    /// Returns `true` if the ports for clients speak TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        !self.tls_cert_file.is_empty()
    }

    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems, dev_tokens: bool) {
        if self.listen.parse::<SocketAddr>().is_err() {
            problems.add(
                "server.listen",
                "must be an address and a port, like 127.0.0.1:8080",
            );
        }
        if self.admin.is_empty() && !dev_tokens {
            let reason =
                "must be an address and a port: only with auth.dev_tokens do clients and operators share one";
            problems.add("server.admin", reason);
        } else if !self.admin.is_empty() && self.admin.parse::<SocketAddr>().is_err() {
            problems.add(
                "server.admin",
                "must be an address and a port, like 127.0.0.1:8079",
            );
        }
        if self.tls_cert_file.is_empty() != self.tls_key_file.is_empty() {
            problems.add(
                "server.tls_key_file",
                "a certificate and its key are set together",
            );
        }
        problems.at_least(
            "server.unauthenticated_per_address",
            self.unauthenticated_per_address as u64,
            1,
        );
        // The content of a file is checked at the start of the node, which reads it.
        if AdminToken::file(&self.admin_token).is_none()
            && let Err(reason) = AdminToken::parse_all(&self.admin_token.0)
        {
            problems.add("server.admin_token", &reason);
        }
        for proxy in &self.trusted_proxies {
            if IpNetwork::parse(proxy).is_none() {
                problems.add(
                    "server.trusted_proxies",
                    "must contain addresses like 10.0.0.1 and networks like 10.0.0.0/8",
                );
            }
        }
        for node in &self.web_nodes {
            // They become part of a header.
            let host = node
                .strip_prefix("https://")
                .or_else(|| node.strip_prefix("http://"));
            let in_host = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
            if !host.is_some_and(|host| !host.is_empty() && host.chars().all(in_host)) {
                problems.add(
                    "server.web_nodes",
                    "must contain addresses without a path, like https://n2.example.org",
                );
            }
        }
        for origin in &self.allowed_origins {
            let known = origin == "*" || origin == "null" || origin.contains("://");
            // An origin has no path: with a trailing slash it would never match.
            if !known || origin.ends_with('/') {
                problems.add(
                    "server.allowed_origins",
                    "must contain origins like https://chat.example.org, or \"*\"",
                );
            }
        }
    }
}
