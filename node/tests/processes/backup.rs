//! A cluster is backed up while people talk, dies as a whole, and is restored elsewhere: into one node, which then becomes
//! three and five.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use storage::inspect::InspectReport;

use node::testkit::{
    ProcessCluster, ProcessGuard, SendingClient, TABLES, ask, eventually, exchange, get, program,
    reserved_addr,
};

/// Messages that are acknowledged before the backup begins.
const BEFORE: u64 = 150;

/// Runs a command of the program to its end.
async fn rookery(args: &[&str]) -> Output {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || {
        program()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Runs a command that has to succeed, and returns its output.
async fn done(args: &[&str]) -> String {
    let output = rookery(args).await;
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A node of the restored cluster.
struct RestoredNode {
    addr: SocketAddr,
    between: SocketAddr,
    dir: PathBuf,
    _process: ProcessGuard,
}

// === impl RestoredNode ===

impl RestoredNode {
    /// Starts a node: the first one of its cluster without a seed, as its own, the others with the address of that one.
    fn start(dir: &Path, seed: Option<SocketAddr>) -> RestoredNode {
        let (addr, between) = (reserved_addr(), reserved_addr());
        let seed = seed.unwrap_or(between);
        let settings = format!(
            "[server]\nlisten = \"{addr}\"\nadmin = \"\"\nthreads = 1\n[mqtt]\nlisten = \"\"\n[cluster]\n\
             listen = \"{between}\"\nseeds = [\"{seed}\"]\nelection_timeout = \"1s\"\n[auth]\n\
             dev_tokens = true\n[limits]\nsends_per_second = 100000\nqueries_per_second = 100000\n\
             [storage]\ncache_size = \"4MiB\"\nfree_space_reserve = \"1MiB\"\ndir = {:?}\n",
            dir.join("data")
        );
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("node.toml"), settings).unwrap();
        let process = program()
            .args(["node", "--config"])
            .arg(dir.join("node.toml"))
            .stderr(File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        RestoredNode {
            addr,
            between,
            dir: dir.to_owned(),
            _process: ProcessGuard(process),
        }
    }

    async fn status(&self) -> Option<Value> {
        let (_, status) = exchange(self.addr, "GET", "/v1/cluster", "", &Value::Null).await?;
        Some(status)
    }

    async fn is_ready(&self) {
        eventually("the node is ready", async || {
            let (status, _) = exchange(self.addr, "GET", "/readyz", "", &Value::Null).await?;
            (status == 200).then_some(())
        })
        .await;
    }
}

/// Key and position of every message of a conversation, the oldest first.
async fn messages(addr: SocketAddr, c: &str) -> Vec<(String, u64)> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/v1/conversations/{c}/events?limit=100&after={after}");
        let page = get(addr, "bob", &path).await;
        let events = page["events"].as_array().unwrap_or_else(|| panic!("{page}"));
        for event in events {
            after = event["s"].as_u64().unwrap();
            if event["t"] == "msg" {
                found.push((event["cid"].as_str().unwrap().to_owned(), after));
            }
        }
        if events.is_empty() {
            return found;
        }
    }
}

/// Waits until every shard has this number of replicas, and those of each shard are at one position with one digest.
async fn replicas_agree(nodes: &[RestoredNode], replicas: usize) {
    eventually("all replicas are equal by digest", async || {
        let mut digests: HashMap<u64, Vec<(Value, Value)>> = HashMap::new();
        for node in nodes {
            let status = node.status().await?;
            for shard in status["shards"].as_array()? {
                if shard["replicas"].as_array()?.len() != replicas {
                    return None;
                }
                let local = &shard["local"];
                if !local.is_null() {
                    let found = (local["applied"].clone(), local["digest"].clone());
                    digests.entry(shard["shard"].as_u64()?).or_default().push(found);
                }
            }
        }
        let agree = |found: &Vec<(Value, Value)>| {
            found.len() == replicas && found.iter().collect::<HashSet<_>>().len() == 1
        };
        (digests.len() == 4 && digests.values().all(agree)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn acked_messages_are_in_the_cluster_that_is_restored_elsewhere() {
    let mut cluster = ProcessCluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let backups = dir.path().join("backups").display().to_string();
    let mut groups = Vec::new();
    for n in 0..3 {
        let (key, group) = (format!("make{n}"), json!({"kind": "group", "members": ["bob"]}));
        let make = ("POST", "/v1/conversations", key.as_str());
        let (_, made) = ask(cluster.addr(n), "alice", make, group).await;
        groups.push(made["c"].as_str().unwrap().to_owned());
    }
    let senders: Vec<SendingClient> = groups
        .iter()
        .enumerate()
        .map(|(at, c)| SendingClient::start(cluster.addr(at), "alice", c, ["a", "b", "c"][at]))
        .collect();
    for sender in &senders {
        sender.says(BEFORE).await;
    }
    let url = format!("http://{}", cluster.addr(0));
    let made = done(&["backup", "create", &backups, "--url", &url]).await;
    assert!(made.contains("4 shards"), "{made}");
    let (_, log) = exchange(cluster.addr(0), "GET", "/v1/admin/events", "", &Value::Null)
        .await
        .unwrap();
    let read = log["items"].as_array().unwrap().iter();
    let read = read.filter(|item| item["act"] == "backups.read" && item["outcome"] == "done");
    assert_eq!(read.count(), 4, "{log}");
    for sender in &senders {
        sender.says(20).await;
    }
    // The second one, through another node, stores only what is new.
    let url = format!("http://{}", cluster.addr(1));
    done(&["backup", "create", &backups, "--url", &url]).await;
    for sender in &senders {
        sender.says(20).await;
    }
    let mut sent = Vec::new();
    for sender in senders {
        sent.push(sender.stop().await);
    }
    // A node holds few copies at once: each backup must close its own, at whichever node they are.
    let elsewhere = dir.path().join("elsewhere").display().to_string();
    for n in 0..9 {
        let url = format!("http://{}", cluster.addr(n % 3));
        done(&["backup", "create", &elsewhere, "--url", &url]).await;
    }
    for at in 0..3 {
        cluster.kill(at);
    }
    let whole = done(&["backup", "verify", &backups]).await;
    assert!(whole.contains("is whole"), "{whole}");

    let first = dir.path().join("first");
    std::fs::create_dir(&first).unwrap();
    let data = first.join("data").display().to_string();
    let restored = done(&["restore", &backups, "--data", &data]).await;
    assert!(restored.contains("with one node"), "{restored}");
    let mut nodes = vec![RestoredNode::start(&first, None)];
    nodes[0].is_ready().await;
    let mut logs = Vec::new();
    for (c, sent) in groups.iter().zip(&sent) {
        let found = messages(nodes[0].addr, c).await;
        // Everything that was acknowledged before the second backup, each once, in order, at its position; of what was
        // acknowledged while it ran a part, and nothing from behind it.
        let least = usize::try_from(BEFORE).unwrap() + 20;
        assert!(
            found.len() >= least && found.len() < sent.len(),
            "{}",
            found.len()
        );
        assert_eq!(found, sent[..found.len()]);
        logs.push(found);
    }
    let list = get(nodes[0].addr, "bob", "/v1/conversations?limit=100").await;
    let listed: HashSet<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["c"].as_str().unwrap())
        .collect();
    assert_eq!(listed, groups.iter().map(String::as_str).collect());

    // Two more nodes, then two more: each shard has three replicas, equal by digest.
    let seed = Some(nodes[0].between);
    for more in [1..3, 3..5] {
        for n in more {
            nodes.push(RestoredNode::start(&dir.path().join(format!("node-{n}")), seed));
        }
        for node in &nodes {
            node.is_ready().await;
        }
        replicas_agree(&nodes, 3).await;
    }
    for ((c, sent), log) in groups.iter().zip(&sent).zip(&mut logs) {
        let path = format!("/v1/conversations/{c}/messages");
        let last = log.last().unwrap().1;
        // A repeated send is known from before the restoration; the first lost one is a new one.
        for (cid, expected, is_new) in [
            (&sent[0].0, sent[0].1, false),
            (&sent[log.len()].0, last + 1, true),
        ] {
            let body = json!({"b": {"text": cid}});
            let (_, ack) = ask(nodes[4].addr, "alice", ("POST", &path, cid), body).await;
            assert_eq!(ack["s"], expected, "{ack}");
            if is_new {
                log.push((cid.clone(), expected));
            }
        }
        for node in &nodes {
            assert_eq!(&messages(node.addr, c).await, log);
        }
    }
    // The outbox of the restored shards works: a change of a membership reaches the user's shard.
    let path = format!("/v1/conversations/{}/members/carol", groups[0]);
    let (status, _) = ask(nodes[2].addr, "alice", ("PUT", &path, "invite"), json!({})).await;
    assert!(status < 300, "{status}");
    eventually("carol's list has the conversation", async || {
        let list = get(nodes[1].addr, "carol", "/v1/conversations").await;
        list["items"]
            .as_array()?
            .iter()
            .any(|row| row["c"] == groups[0].as_str())
            .then_some(())
    })
    .await;

    replicas_agree(&nodes, 3).await;
    let urls: Vec<String> = nodes.iter().map(|node| format!("http://{}", node.addr)).collect();
    let equal = done(&["audit", "--url", &urls.join(",")]).await;
    assert!(equal.contains("of 5 shards are equal"), "{equal}");
    let dirs: Vec<PathBuf> = nodes.iter().map(|node| node.dir.clone()).collect();
    for dir in &dirs {
        let log = std::fs::read_to_string(dir.join("log")).unwrap();
        let is_alarming = |line: &&str| line.contains(" ERROR ") || line.contains("panicked");
        let alarming: Vec<_> = log.lines().filter(is_alarming).collect();
        assert!(alarming.is_empty(), "{alarming:#?}");
    }
    drop(nodes);
    // Equal also row by row.
    let mut rows: HashMap<(u16, Vec<u8>), HashSet<u128>> = HashMap::new();
    let mut compared = 0;
    for dir in &dirs {
        let report = InspectReport::read(TABLES, &dir.join("data")).unwrap();
        for shard in report.shards {
            let position = (shard.shard.0, shard.applied.unwrap_or_default().to_vec());
            compared += 1;
            rows.entry(position).or_default().insert(shard.rows.digest);
        }
    }
    assert!(rows.len() < compared, "some replicas are at one position");
    assert!(rows.values().all(|digests| digests.len() == 1), "{rows:?}");
    cluster.end();
}

#[tokio::test]
async fn data_directory_is_restored_row_by_row() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    let backups = dir.path().join("backups").display().to_string();
    std::fs::create_dir_all(&first).unwrap();
    let node = start_dev(&first);
    let (addr, mut process) = node;
    eventually("the node is ready", async || {
        let (status, _) = exchange(addr, "GET", "/readyz", "", &Value::Null).await?;
        (status == 200).then_some(())
    })
    .await;
    let group = json!({"kind": "group", "members": ["bob", "carol"]});
    let (_, made) = ask(addr, "alice", ("POST", "/v1/conversations", "make"), group).await;
    let c = made["c"].as_str().unwrap().to_owned();
    for n in 0..30 {
        let (path, cid) = (format!("/v1/conversations/{c}/messages"), format!("m{n}"));
        ask(addr, "alice", ("POST", &path, &cid), json!({"b": {"text": cid}})).await;
    }
    let url = format!("http://{addr}");
    let create = ["backup", "create", &backups, "--url", &url, "--include-keys"];
    done(&create).await;
    // The directory is in use.
    let data = first.join("data").display().to_string();
    let refused = rookery(&["backup", "create", &backups, "--data", &data]).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("in use by another process"), "{text}");
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    let absent = rookery(&create).await;
    assert_eq!(absent.status.code(), Some(3), "{absent:?}");

    done(&["backup", "create", &backups, "--data", &data, "--include-keys"]).await;
    let list = done(&["backup", "list", &backups]).await;
    let names: Vec<&str> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names.len(), 2, "{list}");
    let digests = |data: &Path| {
        let report = InspectReport::read(TABLES, data).unwrap();
        let shards = report
            .shards
            .into_iter()
            .filter(|shard| shard.shard.0 != u16::MAX);
        shards.map(|shard| (shard.shard, shard.rows)).collect::<Vec<_>>()
    };
    // The node was stopped before the second one, so nothing has changed since.
    let expected = digests(&first.join("data"));
    assert!(expected.iter().any(|(_, rows)| rows.rows > 30), "{expected:?}");
    let (again, other) = (dir.path().join("again"), dir.path().join("other"));
    for (name, data) in [(names[1], &again), (names[0], &other)] {
        let data = data.display().to_string();
        let restored = done(&["restore", &backups, "--data", &data, "--backup", name]).await;
        assert!(
            restored.contains("0 memberships, 0 blocks, 0 positions, 0 devices"),
            "{restored}"
        );
    }
    assert_eq!(digests(&again), expected);
    let pruned = done(&["backup", "prune", &backups, "--keep", "1"]).await;
    assert!(pruned.contains("removed 1 backups"), "{pruned}");
    done(&["backup", "verify", &backups]).await;
    let refused = rookery(&["restore", &backups, "--data", &data]).await;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
}

/// Starts a node for development, in a cluster of its own.
fn start_dev(dir: &Path) -> (SocketAddr, ProcessGuard) {
    let addr = reserved_addr();
    let process = program()
        .args(["dev", "--http", &addr.to_string(), "--data"])
        .arg(dir.join("data"))
        .args(["--set", "mqtt.listen="])
        .args(["--set", &format!("cluster.listen={}", reserved_addr())])
        .spawn()
        .unwrap();
    (addr, ProcessGuard(process))
}
