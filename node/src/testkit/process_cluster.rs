//! Three nodes, each a process of its own on free ports of this machine.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{ProcessGuard, ask, eventually, exchange, program, reserved_addr, signal, terminate};

/// Timeouts long enough for a busy machine, and short enough for a test that waits for a new owner.
const SETTINGS: &str = r#"
[auth]
dev_tokens = true
[limits]
sends_per_second = 100000
queries_per_second = 100000
[tuning]
timer_tick = "20ms"
delivered_interval = "100ms"
reconnect_spread = "100ms"
fetch_timeout = "20s"
[presence]
offline_grace = "1s"
[storage]
cache_size = "4MiB"
free_space_reserve = "1MiB"
"#;

/// Three processes, which are killed on drop.
pub struct ProcessCluster {
    nodes: Vec<NodeProcess>,
    /// Settings beside those of all tests, as environment variables.
    settings: Vec<(String, String)>,
    dir: TempDir,
}

struct NodeProcess {
    id: u64,
    addr: SocketAddr,
    mqtt: SocketAddr,
    dir: PathBuf,
    /// Settings of this node, as environment variables.
    settings: Vec<(String, String)>,
    process: Option<ProcessGuard>,
}

// === impl ProcessCluster ===

impl ProcessCluster {
    /// Starts three processes, and waits until every shard has three replicas.
    pub async fn start() -> ProcessCluster {
        ProcessCluster::with(&[]).await
    }

    /// Starts three processes with further settings, each by its section and key.
    pub async fn with(settings: &[(&str, &str)]) -> ProcessCluster {
        let dir = tempfile::tempdir().unwrap();
        let addrs: Vec<_> = (0..6).map(|_| reserved_addr()).collect();
        let (http, between) = addrs.split_at(3);
        let mut cluster = ProcessCluster {
            nodes: Vec::new(),
            settings: Vec::new(),
            dir,
        };
        cluster.set(settings);
        for (at, (http, listen)) in http.iter().zip(between).enumerate() {
            let dir = cluster.dir.path().join(format!("node-{}", at + 1));
            std::fs::create_dir(&dir).unwrap();
            let (mqtt, data) = (reserved_addr(), dir.join("data"));
            let settings = format!(
                "[server]\nlisten = \"{http}\"\nadmin = \"\"\nthreads = 1\n[mqtt]\nlisten = \"{mqtt}\"\n[cluster]\n\
                 listen = \"{listen}\"\nseeds = [\"{}\"]\nshards = 4\nelection_timeout = \"1s\"\n{}dir = {:?}\n",
                between[0], SETTINGS, data
            );
            std::fs::write(dir.join("node.toml"), settings).unwrap();
            let mut node = NodeProcess {
                id: 0,
                addr: *http,
                mqtt,
                dir,
                settings: Vec::new(),
                process: None,
            };
            node.start(&cluster.settings);
            cluster.nodes.push(node);
            if at == 0 {
                cluster.knows_itself(0).await;
            }
        }
        for at in 1..3 {
            cluster.knows_itself(at).await;
        }
        cluster.whole().await;
        cluster
    }

    /// Adds settings for nodes that are started from now on.
    pub fn set(&mut self, settings: &[(&str, &str)]) {
        self.settings.extend(variables(settings));
    }

    /// Adds settings for one node, from its next start on.
    pub fn set_at(&mut self, at: usize, settings: &[(&str, &str)]) {
        self.nodes[at].settings.extend(variables(settings));
    }

    /// Returns the address for a node's clients.
    pub fn addr(&self, at: usize) -> SocketAddr {
        self.nodes[at].addr
    }

    /// Returns the directory of the nodes' data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the address of a node's listener for MQTT.
    pub fn mqtt_addr(&self, at: usize) -> SocketAddr {
        self.nodes[at].mqtt
    }

    /// Returns the node that owns a conversation or user, and the two others.
    pub async fn owner(&self, name: &str) -> (usize, [usize; 2]) {
        let path = format!("/v1/cluster/owner?conversation={name}");
        let owner = eventually("there is an owner", async || {
            for node in self.nodes.iter().filter(|node| node.process.is_some()) {
                let (_, answer) = exchange(node.addr, "GET", &path, "", &Value::Null).await?;
                let owner = self.nodes.iter().position(|node| answer["owner"] == node.id);
                if let Some(owner) = owner.filter(|owner| self.nodes[*owner].process.is_some()) {
                    return Some(owner);
                }
            }
            None
        })
        .await;
        (owner, [(owner + 1) % 3, (owner + 2) % 3])
    }

    /// Creates a conversation as alice at the first node, and returns its id.
    pub async fn made(&self, conversation: Value) -> String {
        let make = ("POST", "/v1/conversations", "make");
        let (_, made) = ask(self.addr(0), "alice", make, conversation).await;
        made["c"].as_str().unwrap().to_owned()
    }

    /// Kills a node with -9.
    pub fn kill(&mut self, at: usize) {
        let mut process = self.nodes[at].process.take().unwrap();
        process.0.kill().unwrap();
        process.0.wait().unwrap();
    }

    /// Requests an orderly stop of a node, as an operator does, and returns its process.
    pub fn terminate(&mut self, at: usize) -> ProcessGuard {
        let process = self.nodes[at].process.take().unwrap();
        terminate(&process.0);
        process
    }

    /// Suspends a node: its connections stay open, and it sends nothing.
    pub fn suspend(&self, at: usize) {
        signal(self.nodes[at].process.as_ref().unwrap().0.id(), "-STOP");
    }

    /// Continues a suspended node.
    pub fn wake(&self, at: usize) {
        signal(self.nodes[at].process.as_ref().unwrap().0.id(), "-CONT");
    }

    /// Sets a node's wall clock wrong, by this offset and this drift in milliseconds per second.
    #[cfg(feature = "clock-file")]
    pub fn set_clock(&self, at: usize, ahead_ms: i64, drift: f64) {
        // Renamed into place: a node must not read half of the file.
        let (file, new) = (self.nodes[at].clock_file(), self.nodes[at].dir.join("clock.new"));
        std::fs::write(&new, format!("{ahead_ms} {drift}")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Returns a node's id in the cluster.
    pub fn id(&self, at: usize) -> u64 {
        self.nodes[at].id
    }

    /// Restarts killed nodes, and waits until the cluster is complete.
    pub async fn restart(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            node.start(&self.settings);
        }
        self.whole().await;
    }

    /// Ends every node, and checks that no node has logged an error or a panic.
    pub fn end(mut self) {
        for at in 0..3 {
            if self.nodes[at].process.is_some() {
                self.kill(at);
            }
            let log = self.nodes[at].log();
            let alarming: Vec<_> = log
                .lines()
                .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
                .collect();
            assert!(alarming.is_empty(), "node {}: {alarming:#?}", at + 1);
        }
    }

    async fn knows_itself(&mut self, at: usize) {
        let addr = self.nodes[at].addr;
        self.nodes[at].id = eventually("a node belongs to the cluster", async || {
            let (_, status) = exchange(addr, "GET", "/v1/cluster", "", &Value::Null).await?;
            status["node"].as_u64().filter(|id| *id > 0)
        })
        .await;
    }

    /// Waits until every node is ready and every shard has three replicas.
    pub async fn whole(&self) {
        eventually(
            "every shard has three replicas, and every node is ready",
            async || {
                for node in &self.nodes {
                    let (ready, _) = exchange(node.addr, "GET", "/readyz", "", &Value::Null).await?;
                    let (_, status) = exchange(node.addr, "GET", "/v1/cluster", "", &Value::Null).await?;
                    let shards = status["shards"].as_array()?;
                    let replicated =
                        |shard: &Value| shard["replicas"].as_array().is_some_and(|all| all.len() == 3);
                    if ready != 200 || !shards.iter().all(replicated) {
                        return None;
                    }
                }
                Some(())
            },
        )
        .await;
    }
}

/// Returns environment variables for settings, each by its section and key.
fn variables(settings: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    settings.iter().map(|(key, value)| {
        let name = key.replace('.', "__").to_uppercase();
        (format!("ROOKERY_{name}"), (*value).to_owned())
    })
}

/// Ends the processes of a failed test, and prints the last lines of their logs.
impl Drop for ProcessCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            drop(node.process.take());
            if std::thread::panicking() {
                let log = node.log();
                let lines: Vec<_> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(20)..];
                eprintln!("--- node {} ({}):\n{}", node.id, node.addr, last.join("\n"));
            }
        }
    }
}

// === impl NodeProcess ===

impl NodeProcess {
    fn start(&mut self, settings: &[(String, String)]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let process = program()
            .args(["node", "--config"])
            .arg(self.dir.join("node.toml"))
            .env("ROOKERY_CLOCK_FILE", self.clock_file())
            .envs(
                settings
                    .iter()
                    .chain(&self.settings)
                    .map(|(name, value)| (name, value)),
            )
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(ProcessGuard(process));
    }

    fn clock_file(&self) -> PathBuf {
        self.dir.join("clock")
    }

    fn log_file(&self) -> PathBuf {
        Path::join(&self.dir, "node.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}
