//! A cluster of real processes on this machine, made by `rookery cluster`, for runs that need no other one and for
//! faults, which need processes to kill.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::http;

/// The running cluster. Dropping it kills what is left of it.
pub(crate) struct Local {
    binary: PathBuf,
    data: PathBuf,
    /// `rookery cluster`; taken when it is stopped.
    supervisor: Option<Child>,
    nodes: Vec<Node>,
    /// Nodes that this harness started again after a fault.
    restarted: RefCell<HashMap<u64, Child>>,
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
}

#[derive(Deserialize)]
struct Description {
    nodes: Vec<Node>,
}

/// How long a cluster or a node may take to become ready.
const READY: Duration = Duration::from_secs(90);

// === impl Local ===

impl Local {
    /// Starts `nodes` nodes with their data below `data`, HTTP on ports from `http_base`, and the settings
    /// `key=value`. Returns when all are ready.
    pub(crate) async fn start(
        nodes: usize,
        data: &Path,
        http_base: u16,
        settings: &[String],
    ) -> Result<Local, Error> {
        let binary = binary();
        std::fs::create_dir_all(data).map_err(|error| Error::Spawn(data.to_owned(), error))?;
        let description = data.join("cluster.json");
        let _ = std::fs::remove_file(&description);
        let mut command = Command::new(&binary);
        command
            .args([
                "cluster",
                "--nodes",
                &nodes.to_string(),
                "--http-base",
                &http_base.to_string(),
                "--data",
            ])
            .arg(data);
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
        Ok(Local {
            binary,
            data: data.to_owned(),
            supervisor: Some(supervisor),
            nodes,
            restarted: RefCell::default(),
        })
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The process that is this node now.
    pub(crate) fn pid(&self, id: u64) -> Option<u32> {
        match self.restarted.borrow().get(&id) {
            Some(child) => child.id(),
            None => self.nodes.iter().find(|node| node.id == id).map(|node| node.pid),
        }
    }

    /// Does something to a node's process.
    pub(crate) fn hit(&self, id: u64, hit: Hit) -> Result<(), Error> {
        let signal = match hit {
            Hit::Kill => Signal::KILL,
            Hit::Stop => Signal::STOP,
            Hit::Continue => Signal::CONT,
            Hit::Drain => Signal::TERM,
        };
        let gone = || Error::Signal(id, std::io::ErrorKind::NotFound.into());
        let pid = self
            .pid(id)
            .and_then(|pid| Pid::from_raw(pid as i32))
            .ok_or_else(gone)?;
        kill_process(pid, signal).map_err(|error| Error::Signal(id, error.into()))
    }

    /// Tells whether the node's process is gone; a process that its parent hasn't buried yet is.
    pub(crate) fn is_gone(&self, id: u64) -> bool {
        if let Some(child) = self.restarted.borrow_mut().get_mut(&id) {
            return !matches!(child.try_wait(), Ok(None));
        }
        let Some(pid) = self.pid(id) else { return true };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
    }

    /// Waits until a node's process has ended. One that doesn't is killed, and that is an error.
    pub(crate) async fn ended(&self, id: u64, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        while !self.is_gone(id) {
            if Instant::now() > deadline {
                self.hit(id, Hit::Kill)?;
                return Err(Error::Lingers(id, patience));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Starts a node again on its own data, once its process has ended.
    pub(crate) async fn restart(&self, id: u64) -> Result<(), Error> {
        while !self.is_gone(id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let folder = self.data.join(format!("node-{id}"));
        let mut command = Command::new(&self.binary);
        command.args(["node", "--config"]).arg(folder.join("node.toml"));
        let child = spawn(&mut command, &folder.join("restarted.log"))?;
        self.restarted.borrow_mut().insert(id, child);
        Ok(())
    }

    /// Waits until the node says that it is ready.
    pub(crate) async fn ready(&self, id: u64) -> Result<(), Error> {
        let deadline = Instant::now() + READY;
        let Some(node) = self.nodes.iter().find(|node| node.id == id) else {
            return Ok(());
        };
        while http::get(&node.http, "/readyz").await.is_err() {
            if Instant::now() > deadline {
                return Err(Error::NotReady(READY, self.data.clone()));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
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
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true);
    command
        .spawn()
        .map_err(|error| Error::Spawn(command.as_std().get_program().into(), error))
}
