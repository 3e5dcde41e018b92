//! A cluster of real processes on this machine, made by `rookery cluster`, for runs that need no other one and for
//! faults, which need processes to kill.

mod addresses;
mod process;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::disk::SmallDisk;
use crate::fault::{self, Needs};
use crate::links::Links;

/// The running cluster. Dropping it kills what is left of it.
pub(crate) struct Local {
    binary: PathBuf,
    data: PathBuf,
    /// `rookery cluster`; taken when it is stopped.
    supervisor: Option<Child>,
    nodes: Vec<Node>,
    /// Nodes that this harness started again after a fault.
    restarted: RefCell<HashMap<u64, Child>>,
    /// What the nodes talk through, if the harness holds it.
    links: Option<Links>,
    http_base: u16,
    /// Nodes that have the second one of their two addresses.
    moved: RefCell<HashSet<u64>>,
    /// libfaketime, under which nodes are restarted.
    clocks: Cell<Option<PathBuf>>,
    /// Last of all: nothing on them is open any more.
    small_disks: Vec<SmallDisk>,
}

/// One node, as `cluster.json` has it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) http: String,
}

/// What the harness can do to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hit {
    /// SIGKILL: no goodbye.
    Kill,
    /// SIGSTOP: the sockets stay open, nobody answers.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGTERM: hands over, says goodbye, ends.
    Drain,
}

/// Why there is no cluster, or why a node cannot be reached.
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
    #[error("the links between the nodes: {0}")]
    Links(std::io::Error),
}

#[derive(Deserialize)]
struct Description {
    nodes: Vec<Node>,
}

/// How long a cluster or a node may take to become ready.
const READY: Duration = Duration::from_secs(90);
/// Ports above the first HTTP port: of the nodes' listeners for each other ...
const BETWEEN: u16 = 500;
/// ... and of the harness's doors in front of them. Each node has a second port of either kind.
const DOORS: u16 = 600;

// === impl Local ===

impl Local {
    /// Starts `nodes` nodes with their data below `data`, HTTP on ports from `http_base`, and the settings
    /// `key=value`. Returns when all are ready.
    pub(crate) async fn start(
        nodes: usize,
        data: &Path,
        http_base: u16,
        settings: &[String],
        needs: Needs,
    ) -> Result<Local, Error> {
        let binary = binary();
        std::fs::create_dir_all(data).map_err(|error| Error::Spawn(data.to_owned(), error))?;
        let mut small_disks = Vec::new();
        if needs.small_disks {
            let folders = (1..=nodes).map(|id| folder(data, id as u64));
            // Refused without root: the faults that need them are skipped, and say so.
            small_disks.extend(folders.map_while(|folder| SmallDisk::mount(&folder).ok()));
        }
        let links = if needs.doors {
            Some(Links::open(&addresses::doors(nodes, http_base)).map_err(Error::Links)?)
        } else {
            None
        };
        let description = data.join("cluster.json");
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
        if links.is_some() {
            command.args(["--advertise-base", &(http_base + DOORS).to_string()]);
        }
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let log = data.join("cluster.log");
        let mut supervisor = spawn(&mut command, &log)?;
        let deadline = Instant::now() + READY;
        loop {
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
        let local = Local {
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

    /// Restarts every node so that its wall clock can be set from now on.
    async fn take_clocks(&self, library: PathBuf) -> Result<(), Error> {
        self.clocks.set(Some(library));
        for node in &self.nodes {
            self.write_clock(node.id, 0.0)
                .map_err(|error| Error::Signal(node.id, error))?;
            self.hit(node.id, Hit::Drain)?;
            self.ended(node.id, READY).await?;
            self.restart(node.id).await?;
            self.ready(node.id).await?;
        }
        Ok(())
    }

    fn write_clock(&self, id: u64, ahead_s: f64) -> std::io::Result<()> {
        let (new, file) = (self.folder(id).join("clock.new"), self.folder(id).join("clock"));
        std::fs::write(&new, format!("{ahead_s:+.3}s\n"))?;
        std::fs::rename(new, file)
    }

    /// Sets a running node's wall clock ahead of the true time; it notices within a second.
    pub(crate) fn set_clock(&self, id: u64, ahead_s: f64) -> Result<(), String> {
        let library = self.clocks.take();
        let known = library.is_some();
        self.clocks.set(library);
        if !known {
            return Err("libfaketime is not installed".to_owned());
        }
        self.write_clock(id, ahead_s).map_err(|error| error.to_string())
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Where all of them have their files.
    pub(crate) fn root(&self) -> &Path {
        &self.data
    }

    /// Where a node has its files ...
    pub(crate) fn folder(&self, id: u64) -> PathBuf {
        folder(&self.data, id)
    }

    /// ... and among them, its data.
    pub(crate) fn data(&self, id: u64) -> PathBuf {
        self.folder(id).join("data")
    }

    /// The wires between the nodes, if they go through the harness.
    pub(crate) fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    pub(crate) fn has_small_disks(&self) -> bool {
        !self.small_disks.is_empty()
    }

    /// Who owns a conversation, by the newest word of all nodes that answer.
    pub(crate) async fn owner(&self, conversation: &str) -> Option<u64> {
        let running = self.nodes.iter().filter(|node| !self.is_stopped(node.id));
        let words = running.map(|node| fault::owner(&node.http, conversation));
        let words = futures::future::join_all(words).await.into_iter().flatten();
        words
            .filter(|shard| shard.owner.is_some())
            .max_by_key(|shard| shard.epoch)?
            .owner
    }

    /// Stops everything, gently first.
    pub(crate) async fn stop(mut self) {
        for node in &self.nodes {
            let _ = self.hit(node.id, Hit::Continue);
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
        for node in &self.nodes {
            let _ = self.hit(node.id, Hit::Kill);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // After a panic, or when the run was cut short: leave no process behind. `kill_on_drop` ends our children.
        for node in &self.nodes {
            if !self.is_gone(node.id) {
                let _ = self.hit(node.id, Hit::Kill);
            }
        }
    }
}

fn folder(data: &Path, id: u64) -> PathBuf {
    data.join(format!("node-{id}"))
}

/// The library that sets the wall clock of a process, where Debian and others put it.
fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders
        .filter_map(Result::ok)
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .chain(["/usr/lib/faketime/libfaketimeMT.so.1".into()])
        .find(|library| library.exists())
}

/// The server's binary: beside this one, or where `ROOKERY_BIN` says.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ROOKERY_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    // A test binary lives one folder below.
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
        // It ends when this does: a harness that is killed leaves no process behind.
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true);
    command
        .spawn()
        .map_err(|error| Error::Spawn(command.as_std().get_program().into(), error))
}
