//! A node whose system permits few open files, as a process: what it does when more clients come than it can hold.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use node::testkit::{Call, Client, ProcessGuard, Reply, eventually, program, terminate, within};
use serde_json::Value;
use tokio::net::TcpStream;

/// A node under a limit of open files; killed at the end, if it is still there.
struct Limited {
    child: ProcessGuard,
    addr: SocketAddr,
}

fn command(limit: u32, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")])
        .arg(program().get_program())
        .args(["dev", "--http", "127.0.0.1:0", "--data"])
        .arg(dir.join("data"))
        .args(["--set", "server.threads=2", "--set", "cluster.shards=2"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(dir.join("log")).unwrap());
    command
}

impl Limited {
    async fn start(limit: u32, dir: &Path) -> Limited {
        let mut child = ProcessGuard(command(limit, dir).spawn().unwrap());
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
        let (_, rest) = banner.split_once(" on http://").unwrap();
        let addr = rest.split(',').next().unwrap().parse().unwrap();
        let node = Limited { child, addr };
        eventually("the node is ready", async || {
            node.get("/readyz").await.is_some_and(|reply| reply.status == 200)
        })
        .await;
        node
    }

    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.0.id()))
            .unwrap()
            .count()
    }

    /// `None` if the connection was closed without an answer.
    async fn get(&self, path: &str) -> Option<Reply> {
        self.send(Call::new("GET", path)).await
    }

    async fn send(&self, call: Call) -> Option<Reply> {
        let sent = tokio::time::timeout(Duration::from_secs(20), call.by("someone").send(self.addr));
        sent.await.ok()?
    }

    async fn figure(&self, name: &str) -> f64 {
        let text = eventually("the figures", async || self.get("/metrics").await)
            .await
            .text;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} in:\n{text}"))
            .parse()
            .unwrap()
    }

    /// Connects an authenticated client, or returns the head of the refusal.
    async fn connect(&self, user: &str) -> Result<Client, String> {
        let token = format!("Authorization: Bearer dev:{user}\r\n");
        let upgrade = Client::try_upgrade(self.addr, &token, None);
        let client = within("the upgrade is answered", upgrade).await;
        let mut client = client.ok_or("no response")?;
        if !client.head.starts_with("HTTP/1.1 101") {
            return Err(client.head);
        }
        client.expect("ready").await;
        Ok(client)
    }
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
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
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
        let refused = other.err().expect("no room");
        assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    }
    // Guests' connections are closed by the node, without being asked to.
    let refusal = Call::persistent("GET", "/v1/conversations");
    let refusal = node.send(refusal).await.unwrap();
    assert_eq!(refusal.status, 503);
    let (head, body) = (refusal.head.to_ascii_lowercase(), &refusal.text);
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert!(
        head.contains("retry-after: ") && head.contains("connection: close"),
        "{head}"
    );
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["code"], "busy", "{body}");
    for path in ["/livez", "/readyz", "/v1/cluster"] {
        assert_eq!(node.get(path).await.unwrap().status, 200, "{path}");
    }
    assert!(node.figure("rookery_connections_refused_total").await >= 102.0);

    // Those who are in notice nothing.
    let [first, second, ..] = &mut sockets[..] else {
        unreachable!("there are more than forty")
    };
    let send = r#"{"t":"send","id":7,"to":"u1","cid":"1","b":{"text":"still here"}}"#;
    first.send(send).await;
    assert_eq!(first.expect("ack").await["id"], 7);
    assert_eq!(second.expect("msg").await["b"]["text"], "still here");

    // Connections that say nothing keep nobody out for long.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(node.addr).await.unwrap());
    }
    eventually("a probe is answered", async || node.get("/livez").await).await;
    assert!(node.files() < 320 - 20, "{} files", node.files());
    drop(silent);

    // Places that are given up are others'.
    let left = sockets.split_off(sockets.len() - 10);
    drop(left);
    for n in 0..10 {
        let user = format!("w{n}");
        let socket = eventually("there is room again", async || node.connect(&user).await.ok()).await;
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
    let child = ProcessGuard(command.spawn().unwrap());
    eventually("a warning", async || {
        let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
        log.contains("permits fewer connections than server.max_connections")
    })
    .await;
    drop(child);
}
