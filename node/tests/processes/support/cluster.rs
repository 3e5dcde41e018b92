//! Three nodes, each a process of its own on free ports of this machine.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, signal, terminate};
use super::{ask, eventually, exchange};

/// Long enough for a machine that is busy with other things, and short enough for a test that waits for a new owner.
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

/// Three processes; their end ends them, whatever happens.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    /// What they are told beside what all tests tell, as variables of their environment.
    settings: Vec<(String, String)>,
    /// Their directories.
    _dir: TempDir,
}

struct Node {
    id: u64,
    addr: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts them, and waits until every shard has three replicas.
    pub(crate) async fn start() -> Cluster {
        Cluster::with(&[]).await
    }

    /// The same with further settings, each by its section and key.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        // Free until somebody takes them, which here are the nodes.
        let free: Vec<_> = (0..6)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let addrs: Vec<_> = free.iter().map(|free| free.local_addr().unwrap()).collect();
        drop(free);
        let (http, between) = addrs.split_at(3);
        let mut cluster = Cluster {
            nodes: Vec::new(),
            settings: Vec::new(),
            _dir: dir,
        };
        cluster.set(settings);
        for (at, (http, listen)) in http.iter().zip(between).enumerate() {
            let dir = cluster._dir.path().join(format!("node-{}", at + 1));
            std::fs::create_dir(&dir).unwrap();
            let how = match at {
                0 => "bootstrap = true".to_owned(),
                _ => format!("join = [\"{}\"]", between[0]),
            };
            let data = dir.join("data");
            let settings = format!(
                "[server]\nlisten = \"{http}\"\nworkers = 1\n[cluster]\nlisten = \"{listen}\"\n{how}\nshards = 4\n\
                 election_timeout = \"1s\"\n{}dir = {:?}\n",
                SETTINGS, data
            );
            std::fs::write(dir.join("node.toml"), settings).unwrap();
            let mut node = Node {
                id: 0,
                addr: *http,
                dir,
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

    /// Further settings for nodes that are started from now on.
    pub(crate) fn set(&mut self, settings: &[(&str, &str)]) {
        let variables = settings.iter().map(|(key, value)| {
            let name = key.replace('.', "__").to_uppercase();
            (format!("ROOKERY_{name}"), (*value).to_owned())
        });
        self.settings.extend(variables);
    }

    /// Where a node's clients connect.
    pub(crate) fn addr(&self, at: usize) -> SocketAddr {
        self.nodes[at].addr
    }

    /// The node that owns what is called so, a conversation or a user, and the two others.
    pub(crate) async fn owner(&self, name: &str) -> (usize, [usize; 2]) {
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

    /// Has Alice make a conversation at the first node, and names it.
    pub(crate) async fn made(&self, conversation: Value) -> String {
        let make = ("POST", "/v1/conversations", "make");
        let (_, made) = ask(self.addr(0), "alice", make, conversation).await;
        made["c"].as_str().unwrap().to_owned()
    }

    /// Kills a node with -9.
    pub(crate) fn kill(&mut self, at: usize) {
        let mut process = self.nodes[at].process.take().unwrap();
        process.0.kill().unwrap();
        process.0.wait().unwrap();
    }

    /// Asks a node to stop, as an operator does. The process is handed out, to be waited for.
    pub(crate) fn terminate(&mut self, at: usize) -> Process {
        let process = self.nodes[at].process.take().unwrap();
        terminate(&process.0);
        process
    }

    /// Takes a node the breath: it is there, and says nothing.
    pub(crate) fn suspend(&self, at: usize) {
        signal(&self.nodes[at].process.as_ref().unwrap().0, "-STOP");
    }

    /// Lets it go on.
    pub(crate) fn wake(&self, at: usize) {
        signal(&self.nodes[at].process.as_ref().unwrap().0, "-CONT");
    }

    /// Puts a node's wall clock wrong, by so many milliseconds and so many further ones for each second.
    #[cfg(feature = "clock-file")]
    pub(crate) fn set_clock(&self, at: usize, ahead_ms: i64, drift: f64) {
        // Moved into its place, so that it's read whole.
        let (file, new) = (self.nodes[at].clock_file(), self.nodes[at].dir.join("clock.new"));
        std::fs::write(&new, format!("{ahead_ms} {drift}")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// What a node is called in the cluster.
    #[cfg(feature = "clock-file")]
    pub(crate) fn id(&self, at: usize) -> u64 {
        self.nodes[at].id
    }

    /// Starts nodes again that were killed, and waits until the cluster is whole.
    pub(crate) async fn restart(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.process.is_none()) {
            node.start(&self.settings);
        }
        self.whole().await;
    }

    /// Ends every node. None of them has met with an error that it had to report.
    pub(crate) fn end(mut self) {
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

    /// Waits until every node is ready, and has its part of everything.
    pub(crate) async fn whole(&self) {
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

/// Ends what a failed test leaves behind, and says what the nodes said.
impl Drop for Cluster {
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

// === impl Node ===

impl Node {
    fn start(&mut self, settings: &[(String, String)]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .args(["node", "--config"])
            .arg(self.dir.join("node.toml"))
            .env("ROOKERY_CLOCK_FILE", self.clock_file())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(Process(process));
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
