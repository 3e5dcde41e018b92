//! Processes of the nodes: signals, their end and restarts.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::{Error, LocalProcesses, ProcessSignal, READY, spawn};
use crate::http;

// === impl LocalProcesses: processes ===

impl LocalProcesses {
    /// Returns the id of the node's current process.
    pub(crate) fn pid(&self, id: u64) -> Option<u32> {
        match self.restarted.borrow().get(&id) {
            Some(child) => child.id(),
            None => self.nodes.iter().find(|node| node.id == id).map(|node| node.pid),
        }
    }

    /// Sends a signal to a node's process.
    pub(crate) fn hit(&self, id: u64, hit: ProcessSignal) -> Result<(), Error> {
        let signal = match hit {
            ProcessSignal::Kill => Signal::KILL,
            ProcessSignal::Stop => Signal::STOP,
            ProcessSignal::Continue => Signal::CONT,
            ProcessSignal::Drain => Signal::TERM,
        };
        let gone = || Error::Signal(id, std::io::ErrorKind::NotFound.into());
        let pid = self
            .pid(id)
            .and_then(|pid| Pid::from_raw(pid as i32))
            .ok_or_else(gone)?;
        kill_process(pid, signal).map_err(|error| Error::Signal(id, error.into()))
    }

    /// Returns `true` if the node's process has ended.
    ///
    /// A zombie counts as ended once none of its threads is left: a thread that still waits for the disk keeps the
    /// ports in use.
    pub(crate) fn is_gone(&self, id: u64) -> bool {
        // `try_wait` also reaps a child of this process; other nodes are reaped by the supervisor.
        if let Some(child) = self.restarted.borrow_mut().get_mut(&id) {
            return !matches!(child.try_wait(), Ok(None));
        }
        self.state(id)
            .is_none_or(|state| matches!(state, 'Z' | 'X') && self.threads(id) <= 1)
    }

    /// Returns `true` if the node's process is stopped by a signal.
    pub(crate) fn is_stopped(&self, id: u64) -> bool {
        self.state(id) == Some('T')
    }

    fn threads(&self, id: u64) -> usize {
        let tasks = self
            .pid(id)
            .and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
        tasks.map_or(0, Iterator::count)
    }

    /// Returns the kernel's state letter of the node's process.
    fn state(&self, id: u64) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid(id)?)).ok()?;
        // The name in parentheses may contain anything, so the state is searched behind the last parenthesis.
        let (_, rest) = stat.rsplit_once(')')?;
        rest.trim_start().chars().next()
    }

    /// Kills a node and waits until its process has ended.
    pub(crate) async fn kill(&self, id: u64) -> Result<(), Error> {
        if !self.is_gone(id) {
            self.hit(id, ProcessSignal::Kill)?;
        }
        self.ended(id, READY).await
    }

    /// Waits until a node's process has ended. After `patience` it is killed, which is reported as an error.
    pub(crate) async fn ended(&self, id: u64, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        while !self.is_gone(id) {
            if Instant::now() > deadline {
                // Killed all the same, so that the fault can restart the node.
                self.hit(id, ProcessSignal::Kill)?;
                return Err(Error::Lingers(id, patience));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Restarts a node on its own data, once its process has ended.
    pub(crate) async fn restart(&self, id: u64) -> Result<(), Error> {
        // A second process would find the data directory locked and the ports in use.
        while !self.is_gone(id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let folder = self.folder(id);
        let mut command = Command::new(&self.binary);
        command
            .args(["node", "--with-parent", "--config"])
            .arg(folder.join("node.toml"));
        if let Some(library) = self.clocks.take() {
            command
                .env("LD_PRELOAD", &library)
                .env("FAKETIME_TIMESTAMP_FILE", folder.join("clock"))
                .env("FAKETIME_CACHE_DURATION", "1")
                // Two names, because the library renamed the variable.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
            self.clocks.set(Some(library));
        }
        let child = spawn(&mut command, &folder.join("restarted.log"))?;
        self.restarted.borrow_mut().insert(id, child);
        Ok(())
    }

    /// Waits until the node reports readiness.
    pub(crate) async fn ready(&self, id: u64) -> Result<(), Error> {
        let deadline = Instant::now() + READY;
        let Some(node) = self.node(id) else {
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
}
