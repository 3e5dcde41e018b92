//! A cluster grows from one node to three and to five, and shrinks to three again by `rookery ctl`, while people talk.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use node::testkit::{
    ProcessGuard, ReceivingClient, SendingClient, TestTransport, ask, eventually, exchange, program,
    reserved_addr, terminate,
};

const OPERATE: &str = "a-token-that-operates-in-tests";

/// Nodes that join and leave, each a process.
struct GrowingCluster {
    nodes: Vec<GrowingNode>,
    dir: TempDir,
}

struct GrowingNode {
    id: u64,
    addr: SocketAddr,
    between: SocketAddr,
    dir: PathBuf,
    process: Option<ProcessGuard>,
}

// === impl GrowingCluster ===

impl GrowingCluster {
    async fn start() -> GrowingCluster {
        let mut cluster = GrowingCluster {
            nodes: Vec::new(),
            dir: tempfile::tempdir().unwrap(),
        };
        cluster.add("").await;
        cluster
    }

    /// Starts a further node, and waits until it is ready.
    async fn add(&mut self, settings: &str) -> u64 {
        let id = self.nodes.len() as u64 + 1;
        let dir = self.dir.path().join(id.to_string());
        let (addr, between) = (reserved_addr(), reserved_addr());
        let seed = self.nodes.first().map_or(between, |first| first.between);
        let settings = format!(
            "[server]\nlisten = \"{addr}\"\nadmin = \"\"\nadmin_token = \"{OPERATE}\"\nthreads = 1\n[mqtt]\nlisten = \"\"\n\
             [auth]\ndev_tokens = true\n[limits]\nsends_per_second = 100000\nqueries_per_second = 100000\n\
             [tuning]\nreconnect_spread = \"100ms\"\n\
             [storage]\ncache_size = \"4MiB\"\nfree_space_reserve = \"1MiB\"\ndir = {:?}\n\
             [cluster]\nlisten = \"{between}\"\nseeds = [\"{seed}\"]\nshards = 4\nelection_timeout = \"1s\"\n{settings}\n",
            dir.join("data")
        );
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("node.toml"), settings).unwrap();
        let mut node = GrowingNode {
            id,
            addr,
            between,
            dir,
            process: None,
        };
        node.process = Some(ProcessGuard(node.spawn()));
        self.nodes.push(node);
        self.is_ready(id).await;
        id
    }

    fn node(&self, id: u64) -> &GrowingNode {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    fn addr(&self, id: u64) -> SocketAddr {
        self.node(id).addr
    }

    async fn is_ready(&self, id: u64) {
        eventually("a node is ready", async || {
            let (status, _) = exchange(self.addr(id), "GET", "/readyz", "", &Value::Null).await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// Runs a command of an operator against the first node.
    async fn ctl(&self, args: &[&str]) -> Output {
        let mut command = program();
        command
            .arg("ctl")
            .args(args)
            .env("ROOKERY_URL", format!("http://{}", self.addr(1)))
            .env("ROOKERY_ADMIN_TOKEN", OPERATE)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Runs a command that has to succeed, and returns its JSON.
    async fn done(&self, args: &[&str]) -> Value {
        let output = self.ctl(&[args, &["-o", "json"]].concat()).await;
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that is refused, and returns what it says.
    async fn refused(&self, args: &[&str], code: i32) -> String {
        let output = self.ctl(args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Returns the number of replicas of every group, the meta group included, on each node by its place.
    async fn replicas(&self, id: u64) -> usize {
        let shards = self.done(&["shards"]).await;
        let groups = shards["shards"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&shards["meta"]]);
        let here = |group: &&Value| {
            let replicas = group["replicas"].as_array().unwrap();
            replicas.iter().any(|replica| replica["node"] == id)
        };
        groups.filter(here).count()
    }

    fn end(mut self) {
        for node in &mut self.nodes {
            drop(node.process.take());
            let log = node.log();
            let alarming: Vec<_> = log
                .lines()
                .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
                .collect();
            assert!(alarming.is_empty(), "node {}: {alarming:#?}", node.id);
        }
    }
}

// === impl GrowingNode ===

impl GrowingNode {
    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"))
            .unwrap();
        program()
            .args(["node", "--config"])
            .arg(self.dir.join("node.toml"))
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

/// Prints the last lines of the logs of a failed test.
impl Drop for GrowingCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = node.log();
                let lines: Vec<_> = log.lines().collect();
                eprintln!(
                    "--- node {}:\n{}",
                    node.id,
                    lines[lines.len().saturating_sub(20)..].join("\n")
                );
            }
        }
    }
}

#[tokio::test]
async fn a_cluster_grows_and_shrinks_while_people_talk() {
    let mut cluster = GrowingCluster::start().await;
    let make = ("POST", "/v1/conversations", "make");
    let group = json!({"kind":"group","members":["bob","carol"]});
    let (_, made) = ask(cluster.addr(1), "alice", make, group).await;
    let c = made["c"].as_str().unwrap();
    let sender = SendingClient::start(cluster.addr(1), "alice", c, "m");
    for _ in 2..=5 {
        sender.says(20).await;
        cluster.add("").await;
    }
    // Its client is at a node that leaves.
    let mut carol = ReceivingClient::new("carol", TestTransport::Socket, cluster.addr(5), c).await;
    let refused = cluster.refused(&["leave", "9"], 1).await;
    assert!(refused.contains("no such node"), "{refused}");
    assert!(cluster.replicas(5).await > 0);
    for (leaver, left) in [(5, 4), (4, 3)] {
        let number = leaver.to_string();
        let order = ["leave", &number];
        // Its client reads until the node closes the connection.
        let closing = async {
            if leaver == 5 {
                carol.wait_for_close().await;
            }
        };
        let (former, ()) = tokio::join!(cluster.done(&order), closing);
        assert_eq!(
            (&former["node"], &former["nodes"]),
            (&json!(leaver), &json!(left))
        );
        assert_eq!(cluster.replicas(leaver).await, 0);
        sender.says(20).await;
        // It says so, does not serve, and does not come back.
        let addr = cluster.addr(leaver);
        let reason = eventually("the node knows that it has left", async || {
            let (status, ready) = exchange(addr, "GET", "/readyz", "", &Value::Null).await?;
            let reason = ready["reason"].as_str()?.to_owned();
            (status == 503 && reason.contains("has left")).then_some(reason)
        })
        .await;
        assert!(reason.contains("storage.dir"), "{reason}");
        let at = leaver as usize - 1;
        drop(cluster.nodes[at].process.take());
        let mut again = ProcessGuard(cluster.nodes[at].spawn());
        let status = tokio::task::spawn_blocking(move || again.0.wait().unwrap())
            .await
            .unwrap();
        assert_eq!(status.code(), Some(64), "no supervisor restarts it");
        let log = cluster.node(leaver).log();
        assert!(log.contains("has left its cluster"), "{log}");
    }
    assert_eq!(carol.bye.take().unwrap()["code"], 4012);
    let ready = carol.connect(cluster.addr(2)).await;
    if ready["resumed"] != json!(true) {
        carol.sync().await;
    }
    // Three are needed for three replicas.
    let refused = cluster.refused(&["leave", "3"], 1).await;
    assert!(
        refused.contains("2 nodes would remain for 3 replicas") && refused.contains("--yes"),
        "{refused}"
    );
    let sent = sender.stop().await;
    let last = sent.last().unwrap().1;
    let expected: Vec<&str> = sent.iter().map(|(cid, _)| cid.as_str()).collect();
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, cluster.addr(1), c).await;
    bob.receives(last).await;
    assert_eq!(bob.keys(), expected, "each message once, in the sender's order");
    carol.receives(last).await;
    cluster.done(&["leave", "3", "--yes"]).await;
    cluster.is_ready(2).await;
    cluster.end();
}

/// Restarts each node when the command asks for it, as a person would, and returns what the command says.
fn restart_on_request(mut watching: Child, nodes: &mut [GrowingNode]) -> (Output, String) {
    let mut stderr = BufReader::new(watching.stderr.take().unwrap());
    let mut text_so_far = String::new();
    loop {
        let mut line = String::new();
        if stderr.read_line(&mut line).unwrap() == 0 {
            break;
        }
        text_so_far.push_str(&line);
        let Some(request) = line.strip_prefix("restart node ") else {
            continue;
        };
        let id: u64 = request.split(' ').next().unwrap().parse().unwrap();
        let node = nodes.iter_mut().find(|node| node.id == id).unwrap();
        assert!(request.contains(&node.between.to_string()), "{request}");
        let mut process = node.process.take().unwrap();
        terminate(&process.0);
        process.0.wait().unwrap();
        node.process = Some(ProcessGuard(node.spawn()));
    }
    (watching.wait_with_output().unwrap(), text_so_far)
}

#[tokio::test]
async fn rolling_restart_stops_at_a_node_that_does_not_come_back() {
    let mut cluster = GrowingCluster::start().await;
    for _ in 2..=3 {
        cluster.add("").await;
    }
    let make = ("POST", "/v1/conversations", "make");
    let group = json!({"kind":"group","members":["bob"]});
    let (_, made) = ask(cluster.addr(1), "alice", make, group).await;
    let c = made["c"].as_str().unwrap();
    // A command that fails, and one that restarts nothing.
    let refused = cluster
        .refused(
            &[
                "rolling-restart",
                "--node",
                "2",
                "--exec",
                "echo $ROOKERY_NODE_ID; exit 3",
            ],
            1,
        )
        .await;
    assert!(
        refused.contains("\n2\n") && refused.contains("exit status: 3"),
        "{refused}"
    );
    assert!(
        refused.contains("restarted before it: none") && refused.contains("ctl resume 2"),
        "{refused}"
    );
    cluster.done(&["resume", "2"]).await;
    cluster.is_ready(2).await;
    let unknown = cluster
        .refused(
            &[
                "rolling-restart",
                "--node",
                "2",
                "--exec",
                "true",
                "--wait",
                "10s",
            ],
            5,
        )
        .await;
    assert!(
        unknown.contains("has not come back as a new process"),
        "{unknown}"
    );
    cluster.done(&["resume", "2"]).await;
    cluster.is_ready(2).await;

    let mut command = program();
    let urls: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("http://{}", node.addr))
        .collect();
    command
        .args([
            "ctl",
            "rolling-restart",
            "--node",
            "2",
            "--node",
            "3",
            "-o",
            "json",
        ])
        .env("ROOKERY_URL", urls.join(","))
        .env("ROOKERY_ADMIN_TOKEN", OPERATE)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let sender = SendingClient::start(cluster.addr(1), "alice", c, "m");
    sender.says(20).await;
    let mut nodes = std::mem::take(&mut cluster.nodes);
    let restarting = tokio::task::spawn_blocking(move || {
        let ended = restart_on_request(command.spawn().unwrap(), &mut nodes);
        (ended, nodes)
    });
    let ((output, text_so_far), nodes) = restarting.await.unwrap();
    cluster.nodes = nodes;
    assert!(output.status.success(), "{text_so_far}");
    let restarted: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<_> = restarted["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["node"].as_u64())
        .collect();
    assert_eq!(ids, [Some(2), Some(3)], "{restarted}");
    sender.says(5).await;
    let sent = sender.stop().await;
    let mut bob = ReceivingClient::new("bob", TestTransport::Socket, cluster.addr(3), c).await;
    bob.receives(sent.last().unwrap().1).await;
    cluster.end();
}

#[tokio::test]
async fn owners_move_and_a_dead_node_is_replaced() {
    let mut cluster = GrowingCluster::start().await;
    for _ in 2..=3 {
        cluster.add("").await;
    }
    let shards = cluster.done(&["shards"]).await;
    let owner = shards["shards"][0]["owner"].as_u64().unwrap();
    let target = owner % 3 + 1;
    let moved = cluster.done(&["move", "0", &target.to_string()]).await;
    assert_eq!((&moved["shard"], &moved["owner"]), (&json!(0), &json!(target)));
    assert!(moved["epoch"].as_u64() > shards["shards"][0]["epoch"].as_u64());
    assert!(
        cluster
            .refused(&["move", "0", "9"], 1)
            .await
            .contains("no such node")
    );
    assert!(
        cluster
            .refused(&["move", "99", "1"], 1)
            .await
            .contains("no such shard")
    );
    cluster.refused(&["move", "all", "1"], 2).await;
    let even = cluster.done(&["rebalance"]).await;
    let owned: Vec<u64> = even["owned"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .collect();
    assert_eq!((owned.len(), owned.iter().sum::<u64>()), (3, 5), "{even}");
    assert!(owned.iter().all(|owned| (1..=2).contains(owned)), "{even}");

    // A gateway routes, holds nothing, and is told apart.
    let gateway = cluster.add("gateway_only = true").await;
    assert_eq!(cluster.replicas(gateway).await, 0);
    let (status, _) = ask(
        cluster.addr(gateway),
        "alice",
        ("POST", "/v1/conversations", "make"),
        json!({"kind":"group","members":["bob"]}),
    )
    .await;
    assert!(status < 300, "{status}");
    let nodes = cluster.ctl(&["nodes"]).await;
    assert!(
        String::from_utf8_lossy(&nodes.stdout).contains("serving, gateway"),
        "{nodes:?}"
    );
    let refused = cluster.refused(&["move", "0", &gateway.to_string()], 1).await;
    assert!(refused.contains("has no replica of the shard"), "{refused}");

    // A node and its disk are lost.
    assert!(
        cluster
            .refused(&["replace", "3", "2"], 1)
            .await
            .contains("answers")
    );
    cluster.refused(&["forget", "3"], 2).await;
    assert!(
        cluster
            .refused(&["forget", "3", "--yes"], 1)
            .await
            .contains("answers")
    );
    drop(cluster.nodes[2].process.take());
    eventually("the loss is known", async || {
        let overview = cluster.done(&["nodes"]).await;
        let nodes = overview["nodes"].as_array()?;
        nodes
            .iter()
            .any(|node| node["id"] == 3 && node["silent"] == true)
            .then_some(())
    })
    .await;
    assert!(
        cluster
            .refused(&["leave", "3"], 1)
            .await
            .contains("does not answer")
    );
    let refused = cluster.refused(&["replace", "3", &gateway.to_string()], 1).await;
    assert!(refused.contains("cannot hold replicas"), "{refused}");
    let new = cluster.add("").await;
    let former = cluster.done(&["replace", "3", &new.to_string()]).await;
    assert_eq!(
        (&former["node"], &former["replaced_by"]),
        (&json!(3), &json!(new))
    );
    assert_eq!(cluster.replicas(new).await, 5);
    cluster.is_ready(new).await;
    // The gateway is lost too: nothing depended on it.
    drop(cluster.nodes[gateway as usize - 1].process.take());
    eventually("the gateway is forgotten", async || {
        let output = cluster.ctl(&["forget", &gateway.to_string(), "--yes"]).await;
        output.status.success().then_some(())
    })
    .await;
    cluster.end();
}
