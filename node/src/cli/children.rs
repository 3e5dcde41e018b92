//! Processes of a local cluster. Each stops at the end of its standard input, so none outlives its parent.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// Process of one node.
pub(super) struct Process {
    pub(super) id: usize,
    pub(super) pid: u32,
    child: Child,
    /// Set when the exit has been reported.
    over: bool,
}

// === impl Process ===

impl Process {
    /// Starts `rookery node` with the configuration in the directory. Its output is appended to `node.log` there.
    pub(super) fn start(id: usize, dir: &Path) -> std::io::Result<Process> {
        let log = File::options().create(true).append(true).open(log_file(dir))?;
        let child = Command::new(std::env::current_exe()?)
            .args(["node", "--with-parent", "--config"])
            .arg(dir.join("node.toml"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in a terminal reaches the whole process group. Only the parent shall receive it, and stop its
            // children in order.
            .process_group(0)
            // Covers an exit of the parent without an orderly stop, for example by a panic.
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

    /// Returns the exit status of the process, once.
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

    /// Returns `true` until the exit has been reported.
    pub(super) fn runs(&self) -> bool {
        !self.over
    }

    /// Closes the standard input, and kills the process if it does not exit in time.
    pub(super) async fn stop(mut self, patience: Duration) {
        drop(self.child.stdin.take());
        if self.over || tokio::time::timeout(patience, self.child.wait()).await.is_ok() {
            return;
        }
        eprintln!("node {} did not stop in time; killing it", self.id);
        // An error means that the process exited meanwhile.
        let _gone = self.child.kill().await;
    }
}

/// Returns the path of a node's log file.
pub(super) fn log_file(dir: &Path) -> PathBuf {
    dir.join("node.log")
}
