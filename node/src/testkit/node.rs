//! One-node server in this process, with small tables and quick elections.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use super::http::{self, Reply};
use super::{Call, Client, LogCapture, eventually, within};
use crate::config::{Config, HumanDuration, HumanSize};
use crate::lifecycle::{Running, start};

/// Running node and its directory.
pub struct Node {
    // Dropped first: a node that was not stopped complains about its directory once that is gone.
    _log: LogCapture,
    pub running: Running,
    pub dir: TempDir,
}

// === impl Node ===

impl Node {
    /// Starts a node with the settings of tests.
    pub async fn start() -> Node {
        Node::with(|_| ()).await
    }

    /// Starts a node with the settings of tests and those of `change`.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Node {
        Node::on(tempfile::tempdir().unwrap(), change).await
    }

    /// Starts a node in a directory, which may hold the data of an earlier one.
    pub async fn on(dir: TempDir, change: impl FnOnce(&mut Config)) -> Node {
        let log = LogCapture::start();
        let mut config = config(dir.path());
        change(&mut config);
        let has_tls = config.server.has_tls();
        let running = start(config).await.unwrap();
        let node = Node {
            _log: log,
            running,
            dir,
        };
        if has_tls {
            let cluster = node.running.cluster();
            eventually("the node is ready", async || cluster.ready().is_ok()).await;
        } else {
            node.ready().await;
        }
        node
    }

    /// Waits until every shard has an owner.
    pub async fn ready(&self) {
        eventually("the node is ready", async || self.get("/readyz").await.0 == 200).await;
    }

    pub fn addr(&self) -> SocketAddr {
        self.running.http_addr()
    }

    /// Returns the address for operators, that for clients unless they are separate.
    pub fn admin_addr(&self) -> SocketAddr {
        self.running.admin_addr()
    }

    /// Connects an authenticated client, whose `hello` and `ready` are already read.
    pub async fn client(&self, user: &str) -> Client {
        let mut client = Client::connect(self.addr()).await;
        client.expect("hello").await;
        client
            .send(&format!(r#"{{"t":"auth","id":0,"token":"dev:{user}"}}"#))
            .await;
        client.expect("ready").await;
        client
    }

    /// Returns status and body of a `GET`.
    pub async fn get(&self, path: &str) -> (u16, String) {
        self.request(path, "").await
    }

    /// Returns status and body of a `GET` with further header lines, each with its line break.
    pub async fn request(&self, path: &str, headers: &str) -> (u16, String) {
        parts(Call::new("GET", path).lines(headers).to(self).await)
    }

    /// Returns status and body of a `POST` with further header lines, each with its line break.
    pub async fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        parts(Call::new("POST", path).text(body).lines(headers).to(self).await)
    }

    /// Returns status and body of the response to any bytes.
    pub async fn exchange(&self, bytes: &str) -> (u16, String) {
        let reply = within(
            "the server responds",
            http::round_trip(self.addr(), bytes.as_bytes()),
        )
        .await;
        parts(reply.expect("a response"))
    }

    /// Returns the value of a metric, 0 if it is missing; `name` with labels as they are printed.
    pub async fn figure(&self, name: &str) -> u64 {
        http::figure(self.admin_addr(), name).await
    }

    /// Waits until a metric has at least this value.
    pub async fn figure_reaches(&self, name: &str, least: u64) {
        eventually(&format!("{name} reaches {least}"), async || {
            self.figure(name).await >= least
        })
        .await;
    }

    /// Waits until a metric has this value.
    pub async fn figure_is(&self, name: &str, value: u64) {
        eventually(&format!("{name} becomes {value}"), async || {
            self.figure(name).await == value
        })
        .await;
    }

    /// Stops the node and returns its directory.
    pub async fn stop(self) -> TempDir {
        self.running.stop().await;
        self.dir
    }
}

fn parts(reply: Reply) -> (u16, String) {
    (reply.status, reply.text)
}

/// Returns the settings of tests, for a node in a directory.
pub fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".to_owned();
    config.server.admin = String::new();
    config.server.threads = 2;
    config.tuning.shutdown_timeout = HumanDuration::millis(1_000);
    config.auth.dev_tokens = true;
    config.cluster.listen = "127.0.0.1:0".to_owned();
    config.cluster.seeds = vec![config.cluster.listen.clone()];
    config.cluster.shards = 4;
    config.storage.dir = dir.join("data").display().to_string();
    config.storage.cache_size = HumanSize::mib(4);
    config.storage.free_space_reserve = HumanSize::mib(1);
    config.tuning.timer_tick = HumanDuration::millis(20);
    config
}
