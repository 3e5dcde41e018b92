//! A one-node server with small tables and quick elections.

use std::net::SocketAddr;
use std::path::Path;

use node::config::{Config, HumanDuration, HumanSize};
use node::lifecycle::{Running, start};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Client, PATIENCE, Quiet};

/// A running node and its directory.
pub(crate) struct Node {
    pub(crate) running: Running,
    pub(crate) dir: TempDir,
    pub(crate) _quiet: Quiet,
}

// === impl Node ===

impl Node {
    /// Starts a node with the settings of tests.
    pub(crate) async fn start() -> Node {
        Node::with(|_| ()).await
    }

    /// Starts a node whose settings `change` has the last word on.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Node {
        let quiet = Quiet::expected();
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        let running = start(config).await.unwrap();
        let node = Node {
            running,
            dir,
            _quiet: quiet,
        };
        node.ready().await;
        node
    }

    /// Waits until every shard has an owner.
    pub(crate) async fn ready(&self) {
        let ready = async {
            while self.get("/readyz").await.0 != 200 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready)
            .await
            .expect("the node becomes ready");
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.running.http_addr()
    }

    /// An authenticated client, its `hello` and `ready` already read.
    pub(crate) async fn client(&self, user: &str) -> Client {
        let mut client = Client::connect(self.addr()).await;
        client.expect("hello").await;
        client
            .send(&format!(r#"{{"t":"auth","id":0,"token":"dev:{user}"}}"#))
            .await;
        client.expect("ready").await;
        client
    }

    /// Status and body of a `GET`.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.request(path, "").await
    }

    /// Status and body of a `GET` with further header lines, each with its line break.
    pub(crate) async fn request(&self, path: &str, headers: &str) -> (u16, String) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        self.exchange(&head).await
    }

    /// Status and body of a `POST` of JSON, with further header lines, each with its line break.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.exchange(&head).await
    }

    /// Status and body of what answers these bytes.
    pub(crate) async fn exchange(&self, bytes: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.addr()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The value of a figure, 0 if it isn't there; `name` with labels as they are printed.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }

    /// Waits until a figure has at least this value.
    pub(crate) async fn figure_reaches(&self, name: &str, least: u64) {
        let reached = async {
            while self.figure(name).await < least {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{name} reaches {least}"));
    }

    /// Waits until a figure has this value.
    pub(crate) async fn figure_is(&self, name: &str, value: u64) {
        let reached = async {
            while self.figure(name).await != value {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{name} becomes {value}"));
    }

    /// Stops the node.
    pub(crate) async fn stop(self) -> TempDir {
        self.running.stop().await;
        self.dir
    }
}

/// The settings of tests, for a node in a directory.
pub(crate) fn config(dir: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".to_owned();
    config.server.workers = 2;
    config.tuning.shutdown_timeout = HumanDuration::millis(1_000);
    config.auth.dev_tokens = true;
    config.cluster.listen = "127.0.0.1:0".to_owned();
    config.cluster.bootstrap = true;
    config.cluster.shards = 4;
    config.storage.dir = dir.join("data").display().to_string();
    config.storage.cache_size = HumanSize::mib(4);
    config.storage.free_space_reserve = HumanSize::mib(1);
    config.tuning.timer_tick = HumanDuration::millis(20);
    config
}
