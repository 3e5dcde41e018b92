//! The processes of a local cluster: each ends when its standard input does, so none outlives its parent.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// One node's process.
pub(super) struct Process {
    /// The node.
    pub(super) id: usize,
    /// Its process id.
    pub(super) pid: u32,
    child: Child,
    /// Whether its end has been reported.
    over: bool,
}

// === impl Process ===

impl Process {
    /// Starts `rookery node` with the configuration in the directory; its log is appended to `node.log` there.
    pub(super) fn start(id: usize, dir: &Path) -> std::io::Result<Process> {
        let log = File::options().create(true).append(true).open(log_file(dir))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["node", "--with-parent", "--config"])
            .arg(dir.join("node.toml"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal is for the parent, which then stops its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().unwrap_or_default();
        Ok(Process {
            id,
            pid,
            child,
            over: false,
        })
    }

    /// How the process ended, once.
    pub(super) fn ended(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.over = true;
                Some(status.to_string())
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Whether the process has not ended.
    pub(super) fn runs(&self) -> bool {
        !self.over
    }

    /// Asks the process to stop, and ends it if it takes too long.
    pub(super) async fn stop(mut self, patience: Duration) {
        drop(self.child.stdin.take());
        if self.over || tokio::time::timeout(patience, self.child.wait()).await.is_ok() {
            return;
        }
        eprintln!("node {} does not stop; killing it", self.id);
        // It may have ended just now.
        let _gone = self.child.kill().await;
    }
}

/// Where a node's log is.
pub(super) fn log_file(dir: &Path) -> PathBuf {
    dir.join("node.log")
}
