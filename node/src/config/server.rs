//! `[server]`: the public HTTP and WebSocket listener.

use std::net::SocketAddr;

use super::load::Problems;
use super::section::section;
use super::units::{Millis, Network, Secret};

section! {
    /// The public listener: HTTP and WebSocket on one port. TLS is terminated by a proxy in front.
    pub struct Server {
        /// Where clients connect. Port 0 takes any free one.
        http: String = "127.0.0.1:8080".to_owned(),
        /// Threads that serve clients; 0 is one per processor.
        workers: usize = 0,
        /// Connections that this node holds at most; further ones are told to come back (503), but for what operators
        /// and probes ask. 0: as many as the limit of open files leaves room for beside the node's own files.
        max_connections: usize = 0,
        /// Connections that one address (of IPv6 a /64) may have which have not said who they are: silent ones, of which the
        /// oldest gives way, and sessions without a token, which are refused (503). Behind a proxy it is the client's
        /// address that counts, if the proxy is trusted.
        unauthenticated_per_address: usize = 512,
        /// Connections that the kernel may hold before they are accepted.
        backlog: u32 = 4096,
        /// Values of the Origin header that browsers may open sessions from; "*" is any. Other clients send none.
        allowed_origins: Vec<String> = vec!["*".to_owned()],
        /// Addresses of proxies in front, alone or as networks (10.0.0.0/8): what they say in X-Forwarded-For is believed.
        trusted_proxies: Vec<String> = Vec::new(),
        /// Bearer token for /metrics and /v1/cluster. Empty: they are open with development tokens, closed otherwise.
        admin_token: Secret = Secret::default(),
        /// How long a client may take for the head of its first request.
        request_timeout_ms: Millis = Millis(5_000),
        /// How long a closed connection is read on, so that the client gets the last bytes instead of a reset.
        linger_ms: Millis = Millis(1_000),
        /// Silence after which the kernel gives up a connection that leaves sent data unacknowledged.
        user_timeout_ms: Millis = Millis(30_000),
        /// Unsent bytes that the kernel may hold per connection: what waits longer waits in the session's outbox,
        /// where the slow-consumer policy sees it. 0 leaves it to the kernel (megabytes).
        unsent_bytes: u32 = 65_536,
        /// How long a stop waits for connections after the sessions were closed.
        shutdown_ms: Millis = Millis(5_000),
    }
}

// === impl Server ===

impl Server {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        if self.http.parse::<SocketAddr>().is_err() {
            problems.add(
                "server.http",
                "must be an address and a port, like 127.0.0.1:8080",
            );
        }
        problems.at_least("server.backlog", u64::from(self.backlog), 1);
        problems.at_least(
            "server.unauthenticated_per_address",
            self.unauthenticated_per_address as u64,
            1,
        );
        problems.at_least("server.request_timeout_ms", self.request_timeout_ms.0, 100);
        if !self.admin_token.is_empty() && self.admin_token.0.len() < 16 {
            problems.add("server.admin_token", "must have at least 16 characters");
        }
        for proxy in &self.trusted_proxies {
            if Network::parse(proxy).is_none() {
                problems.add(
                    "server.trusted_proxies",
                    "holds addresses like 10.0.0.1 and networks like 10.0.0.0/8",
                );
            }
        }
        for origin in &self.allowed_origins {
            let known = origin == "*" || origin == "null" || origin.contains("://");
            if !known || origin.ends_with('/') {
                problems.add(
                    "server.allowed_origins",
                    "holds origins like https://chat.example.org, or \"*\"",
                );
            }
        }
    }
}
