//! A node whose system permits few open files, as a process: what it does when more clients come than it can hold.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

mod process;

use process::{Process, terminate};

const PATIENCE: Duration = Duration::from_secs(90);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A node under a limit of open files; killed at the end, if it is still there.
struct Limited {
    child: Process,
    addr: SocketAddr,
}

fn command(limit: u32, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_rookery"))
        .args(["dev", "--http", "127.0.0.1:0", "--data"])
        .arg(dir.join("data"))
        .args(["--set", "server.workers=2", "--set", "cluster.shards=2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(dir.join("log")).unwrap());
    command
}

impl Limited {
    async fn start(limit: u32, dir: &Path) -> Limited {
        let mut child = Process(command(limit, dir).spawn().unwrap());
        let mut stdout = child.0.stdout.take().unwrap();
        let banner = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            let mut chunk = [0; 1024];
            while !text.contains("Ctrl-C") {
                let read = stdout.read(&mut chunk).unwrap();
                assert!(read > 0, "the node could not start: {text}");
                text.push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
            text
        });
        let banner = banner.await.unwrap();
        let (_, rest) = banner.split_once("http://").unwrap();
        let addr = rest.split(',').next().unwrap().parse().unwrap();
        let node = Limited { child, addr };
        node.eventually("the node is ready", async || {
            node.get("/readyz").await?.0.eq(&200).then_some(())
        })
        .await;
        node
    }

    async fn eventually<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(what, found).await
    }

    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.0.id()))
            .unwrap()
            .count()
    }

    /// Status, head and body; `None` if the connection was closed without an answer.
    async fn get(&self, path: &str) -> Option<(u16, String, String)> {
        self.ask(path, "Connection: close\r\n").await
    }

    /// The same with further header lines. The node has to close the connection.
    async fn ask(&self, path: &str, headers: &str) -> Option<(u16, String, String)> {
        let mut stream = TcpStream::connect(self.addr).await.ok()?;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dev:someone\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut text = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await;
        let _cut = read.ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((
            head.split(' ').nth(1)?.parse().ok()?,
            head.to_ascii_lowercase(),
            body.to_owned(),
        ))
    }

    async fn figure(&self, name: &str) -> f64 {
        let text = self
            .eventually("the figures", async || self.get("/metrics").await)
            .await
            .2;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in:\n{text}"))
            .parse()
            .unwrap()
    }

    async fn connect(&self, user: &str) -> Result<Socket, Error> {
        let mut request = format!("ws://{}/v1/ws", self.addr).into_client_request().unwrap();
        let token = HeaderValue::try_from(format!("Bearer dev:{user}")).unwrap();
        request.headers_mut().insert("Authorization", token);
        let (mut socket, _) = within("an answer to the upgrade", connect_async(request)).await?;
        expect(&mut socket, "ready").await;
        Ok(socket)
    }
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}"))
}

/// The next frame of a sort; others are passed over.
async fn expect(socket: &mut Socket, sort: &str) -> Value {
    let found = async {
        loop {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else {
                continue;
            };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["t"] == sort {
                return frame;
            }
        }
    };
    within(sort, found).await
}

#[tokio::test]
async fn node_with_few_files_refuses_excess_connections_with_503() {
    let dir = tempfile::tempdir().unwrap();
    let node = Limited::start(320, dir.path()).await;
    let before = node.files();

    // As many as it holds, each for one file.
    let mut sockets = Vec::new();
    let refused = loop {
        match node.connect(&format!("u{}", sockets.len())).await {
            Ok(socket) => sockets.push(socket),
            Err(error) => break error,
        }
        assert!(sockets.len() < 320, "no end");
    };
    let Error::Http(answer) = refused else {
        panic!("refused without words: {refused}")
    };
    assert_eq!(answer.status(), 503);
    let most = node.figure("rookery_connections_limit").await;
    assert_eq!(sockets.len() as f64, most);
    assert!(sockets.len() > 40, "{} say nothing", sockets.len());
    let files = node.files() - before;
    assert!(
        files < sockets.len() + 20,
        "{files} files for {} connections",
        sockets.len()
    );

    // Who comes now is told so, in every way; probes and operators are answered.
    for n in 0..100 {
        let other = node.connect(&format!("v{n}")).await;
        assert!(
            matches!(&other, Err(Error::Http(answer)) if answer.status() == 503),
            "{other:?}"
        );
    }
    // Guests' connections are closed by the node, without being asked to.
    let (status, head, body) = node.ask("/v1/conversations", "").await.unwrap();
    assert_eq!(status, 503);
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert!(
        head.contains("retry-after: ") && head.contains("connection: close"),
        "{head}"
    );
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["code"], "busy", "{body}");
    for path in ["/livez", "/readyz", "/v1/cluster"] {
        assert_eq!(node.get(path).await.unwrap().0, 200, "{path}");
    }
    assert!(node.figure("rookery_connections_refused_total").await >= 102.0);

    // Those who are in notice nothing.
    let [first, second, ..] = &mut sockets[..] else {
        unreachable!("there are more than forty")
    };
    let send = r#"{"t":"send","id":7,"to":"u1","cid":"1","b":{"text":"still here"}}"#;
    first.send(Message::text(send)).await.unwrap();
    assert_eq!(expect(first, "ack").await["id"], 7);
    assert_eq!(expect(second, "msg").await["b"]["text"], "still here");

    // Connections that say nothing keep nobody out for long.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(node.addr).await.unwrap());
    }
    node.eventually("a probe is answered", async || node.get("/livez").await)
        .await;
    assert!(node.files() < 320 - 20, "{} files", node.files());
    drop(silent);

    // Places that are given up are others'.
    let left = sockets.split_off(sockets.len() - 10);
    drop(left);
    for n in 0..10 {
        let user = format!("w{n}");
        let socket = node
            .eventually("there is room again", async || node.connect(&user).await.ok())
            .await;
        sockets.push(socket);
    }

    // An orderly end, and one line for all of it.
    drop(sockets);
    terminate(&node.child.0);
    let mut node = node;
    let status = within(
        "the end",
        tokio::task::spawn_blocking(move || node.child.0.wait().unwrap()),
    );
    assert!(status.await.unwrap().success());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(!log.contains("ERROR"), "{log}");
    let warnings = log.matches("connection limit reached").count();
    assert!((1..=5).contains(&warnings), "once a minute:\n{log}");
}

#[test]
fn a_file_limit_that_is_too_low_is_reported_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let status = command(128, dir.path()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        log.contains("RLIMIT_NOFILE is 128, and must be at least"),
        "{log}"
    );
}

#[tokio::test]
async fn a_bound_above_the_limit_is_lowered_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(320, dir.path());
    command.args(["--set", "server.max_connections=5000"]);
    let child = Process(command.spawn().unwrap());
    let warned = async {
        loop {
            let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
            if log.contains("permits fewer connections than server.max_connections") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let warned = tokio::time::timeout(PATIENCE, warned).await;
    drop(child);
    warned.expect("a warning");
}
