//! Cluster of real processes on this machine, started by `rookery cluster`: the target of runs without `--nodes`, and
//! the only target that faults can be injected into.

mod addresses;
mod process;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use protocol::ConversationId;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};

use super::cluster_view::shard_owner;
use super::sized_disk::SizedDisk;
use crate::network_proxy::NetworkProxy;
use crate::spec::FaultNeeds;

/// Running local cluster. Dropping it kills every remaining process.
pub(crate) struct LocalProcesses {
    binary: PathBuf,
    data: PathBuf,
    /// Process of `rookery cluster`; `None` once it is being stopped.
    supervisor: Option<Child>,
    nodes: Vec<LocalNode>,
    /// Nodes that the harness has restarted after a fault.
    restarted: RefCell<HashMap<u64, Child>>,
    /// Proxy between the nodes; `None` if they connect directly.
    links: Option<NetworkProxy>,
    http_base: u16,
    /// Nodes that use the second of their two addresses.
    moved: RefCell<HashSet<u64>>,
    /// Path of libfaketime, which restarted nodes preload; `None` if clocks cannot be set.
    clocks: Cell<Option<PathBuf>>,
    /// The last field, and so dropped last: no process has files on them open any more.
    small_disks: Vec<SizedDisk>,
}

/// One node, as described in `cluster.json`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LocalNode {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) http: String,
}

/// Signal to a node's process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProcessSignal {
    /// SIGKILL: the process ends without closing its sessions.
    Kill,
    /// SIGSTOP: the connections stay open, and nothing is answered.
    Stop,
    /// SIGCONT: ends a stop.
    Continue,
    /// SIGTERM: the node moves its shards, closes its sessions and ends.
    Drain,
}

/// Error of the start of a cluster, or of an action on one of its nodes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}: {1}")]
    Spawn(PathBuf, std::io::Error),
    #[error("the cluster did not become ready within {0:?}; see {1}")]
    NotReady(Duration, PathBuf),
    #[error("the cluster ended before it was ready ({0}); see {1}")]
    Ended(std::process::ExitStatus, PathBuf),
    #[error("{0}: {1}")]
    Description(PathBuf, String),
    #[error("node {0} did not end within {1:?} and was killed")]
    Lingers(u64, Duration),
    #[error("node {0}: {1}")]
    Signal(u64, std::io::Error),
    #[error("the network proxy between the nodes: {0}")]
    Links(std::io::Error),
    #[error("--admin-nodes must have {0} addresses, one for each of --nodes")]
    AdminNodes(usize),
}

#[derive(Deserialize)]
struct Description {
    nodes: Vec<LocalNode>,
}

/// Longest time for a cluster or a node to become ready.
const READY: Duration = Duration::from_secs(90);
/// Offset from the first HTTP port to the ports that the nodes use among themselves. Each node has two.
const BETWEEN: u16 = 500;
/// Offset from the first HTTP port to the proxy's endpoints in front of those ports.
const PROXIES: u16 = 600;

// === impl LocalProcesses ===

impl LocalProcesses {
    /// Starts a cluster of `nodes` nodes and waits until all are ready.
    ///
    /// Data is stored below `data`, HTTP ports start at `http_base`, and `settings` are of the form `key=value`.
    pub(crate) async fn start(
        nodes: usize,
        data: &Path,
        http_base: u16,
        settings: &[String],
        needs: FaultNeeds,
    ) -> Result<LocalProcesses, Error> {
        let binary = binary();
        std::fs::create_dir_all(data).map_err(|error| Error::Spawn(data.to_owned(), error))?;
        let mut small_disks = Vec::new();
        if needs.small_disks {
            let folders = (1..=nodes).map(|id| folder(data, id as u64));
            // Mounting needs root. Without it, faults that need small disks are skipped and reported as such.
            small_disks.extend(folders.map_while(|folder| SizedDisk::mount(&folder).ok()));
        }
        // Before the nodes start: they dial the proxy's endpoints from their first moment on.
        let links = if needs.proxies {
            Some(NetworkProxy::open(&addresses::proxies(nodes, http_base)).map_err(Error::Links)?)
        } else {
            None
        };
        let description = data.join("cluster.json");
        // The file is the sign of readiness, so one of an earlier cluster must not be found.
        let _ = std::fs::remove_file(&description);
        let mut command = Command::new(&binary);
        command
            .args([
                "cluster",
                "--with-parent",
                "--nodes",
                &nodes.to_string(),
                "--http-base",
                &http_base.to_string(),
                "--cluster-base",
                &(http_base + BETWEEN).to_string(),
                "--data",
            ])
            .arg(data);
        // Advertised instead of the nodes' own ports, so that the nodes dial the proxy.
        if links.is_some() {
            command.args(["--advertise-base", &(http_base + PROXIES).to_string()]);
        }
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let log = data.join("cluster.log");
        let mut supervisor = spawn(&mut command, &log)?;
        let deadline = Instant::now() + READY;
        loop {
            // Checked first: a cluster that has failed must not cost the whole time limit.
            if let Ok(Some(status)) = supervisor.try_wait() {
                return Err(Error::Ended(status, log));
            }
            if Instant::now() > deadline {
                return Err(Error::NotReady(READY, log));
            }
            if description.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let malformed = |error: String| Error::Description(description.clone(), error);
        let text = std::fs::read_to_string(&description).map_err(|error| malformed(error.to_string()))?;
        let Description { nodes } =
            serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let local = LocalProcesses {
            binary,
            data: data.to_owned(),
            supervisor: Some(supervisor),
            nodes,
            restarted: RefCell::default(),
            links,
            http_base,
            moved: RefCell::default(),
            clocks: Cell::default(),
            small_disks,
        };
        if needs.clocks
            && let Some(library) = libfaketime()
        {
            local.take_clocks(library).await?;
        }
        Ok(local)
    }

    /// Restarts every node, one by one, with a wall clock that can be set.
    async fn take_clocks(&self, library: PathBuf) -> Result<(), Error> {
        self.clocks.set(Some(library));
        for node in &self.nodes {
            // The library reads the file at the start of the process, so it must exist by then.
            self.write_clock(node.id, 0.0)
                .map_err(|error| Error::Signal(node.id, error))?;
            self.hit(node.id, ProcessSignal::Drain)?;
            self.ended(node.id, READY).await?;
            self.restart(node.id).await?;
            self.ready(node.id).await?;
        }
        Ok(())
    }

    fn write_clock(&self, id: u64, ahead_s: f64) -> std::io::Result<()> {
        let (new, file) = (self.folder(id).join("clock.new"), self.folder(id).join("clock"));
        // Replaced by a rename: the node may read the file at any time and must not find it half written.
        std::fs::write(&new, format!("{ahead_s:+.3}s\n"))?;
        std::fs::rename(new, file)
    }

    /// Sets a running node's wall clock ahead of the true time, in seconds. The node follows within one second.
    pub(crate) fn set_clock(&self, id: u64, ahead_s: f64) -> Result<(), String> {
        // A `Cell` cannot be borrowed, so the path is moved out and back.
        let library = self.clocks.take();
        let known = library.is_some();
        self.clocks.set(library);
        if !known {
            return Err("libfaketime is not installed".to_owned());
        }
        self.write_clock(id, ahead_s).map_err(|error| error.to_string())
    }

    pub(crate) fn nodes(&self) -> &[LocalNode] {
        &self.nodes
    }

    pub(crate) fn node(&self, id: u64) -> Option<&LocalNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Returns the directory that holds all files of the cluster.
    pub(crate) fn root(&self) -> &Path {
        &self.data
    }

    /// Returns the directory that holds a node's files.
    pub(crate) fn folder(&self, id: u64) -> PathBuf {
        folder(&self.data, id)
    }

    /// Returns a node's data directory, within its directory of files.
    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.folder(id).join("data")
    }

    /// Returns the network proxy; `None` if the nodes connect directly.
    pub(crate) fn links(&self) -> Option<&NetworkProxy> {
        self.links.as_ref()
    }

    pub(crate) fn has_small_disks(&self) -> bool {
        !self.small_disks.is_empty()
    }

    /// Returns the shard owner of a conversation: that of the highest epoch that a running node reports.
    pub(crate) async fn owner(&self, conversation: Option<&ConversationId>) -> Option<u64> {
        let conversation = conversation?.as_str();
        // A stopped node would block the query until its timeout.
        let running = self.nodes.iter().filter(|node| !self.is_stopped(node.id));
        let words = running.map(|node| shard_owner(&node.http, conversation));
        let words = futures::future::join_all(words).await.into_iter().flatten();
        words
            .filter(|shard| shard.owner.is_some())
            .max_by_key(|shard| shard.epoch)?
            .owner
    }

    /// Stops all processes: with SIGTERM, then with SIGKILL after 20 s.
    pub(crate) async fn stop(mut self) {
        // A stopped process does not handle SIGTERM.
        for node in &self.nodes {
            let _ = self.hit(node.id, ProcessSignal::Continue);
        }
        let children: Vec<Child> = self
            .restarted
            .take()
            .into_values()
            .chain(self.supervisor.take())
            .collect();
        for pid in children
            .iter()
            .filter_map(|child| Pid::from_raw(child.id()? as i32))
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        for mut child in children {
            if tokio::time::timeout(Duration::from_secs(20), child.wait())
                .await
                .is_err()
            {
                let _ = child.kill().await;
            }
        }
        // Nodes of the supervisor are no children of this process, so its end may have left some of them.
        for node in &self.nodes {
            let _ = self.hit(node.id, ProcessSignal::Kill);
        }
    }
}

impl Drop for LocalProcesses {
    fn drop(&mut self) {
        // After a panic or an interrupted run. `kill_on_drop` ends the own children; this ends the supervisor's.
        for node in &self.nodes {
            if !self.is_gone(node.id) {
                let _ = self.hit(node.id, ProcessSignal::Kill);
            }
        }
    }
}

fn folder(data: &Path, id: u64) -> PathBuf {
    data.join(format!("node-{id}"))
}

/// Searches libfaketime in the directories in which distributions install it.
fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders
        .filter_map(Result::ok)
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .chain(["/usr/lib/faketime/libfaketimeMT.so.1".into()])
        .find(|library| library.exists())
}

/// Returns the path of the server's binary: `ROOKERY_BIN`, or `rookery` beside this one, or the search path.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROOKERY_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    // A test binary is one directory below.
    let beside = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("rookery"))
        .find(|path| path.is_file());
    beside.unwrap_or_else(|| "rookery".into())
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child, Error> {
    let failed = |error| Error::Spawn(log.to_owned(), error);
    let out = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed)?;
    let err = out.try_clone().map_err(failed)?;
    command
        // The pipe closes when this process ends, and the node ends with it (`--with-parent`), even after a SIGKILL.
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true);
    command
        .spawn()
        .map_err(|error| Error::Spawn(command.as_std().get_program().into(), error))
}
