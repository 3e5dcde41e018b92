//! The processes of the nodes: hit, ended, started again.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::{Error, Hit, Local, READY, spawn};
use crate::http;

// === impl Local: processes ===

impl Local {
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

    /// Tells whether the node's process is gone. One that its parent hasn't buried yet is, as soon as none of its threads is
    /// left: one that still waits for the disk keeps the ports.
    pub(crate) fn is_gone(&self, id: u64) -> bool {
        if let Some(child) = self.restarted.borrow_mut().get_mut(&id) {
            return !matches!(child.try_wait(), Ok(None));
        }
        self.state(id)
            .is_none_or(|state| matches!(state, 'Z' | 'X') && self.threads(id) <= 1)
    }

    /// Tells whether the node's process stands still.
    pub(crate) fn is_stopped(&self, id: u64) -> bool {
        self.state(id) == Some('T')
    }

    fn threads(&self, id: u64) -> usize {
        let tasks = self
            .pid(id)
            .and_then(|pid| std::fs::read_dir(format!("/proc/{pid}/task")).ok());
        tasks.map_or(0, Iterator::count)
    }

    /// The state of the node's process, as the kernel has it.
    fn state(&self, id: u64) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid(id)?)).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        rest.trim_start().chars().next()
    }

    /// Kills a node and waits until it is gone.
    pub(crate) async fn kill(&self, id: u64) -> Result<(), Error> {
        if !self.is_gone(id) {
            self.hit(id, Hit::Kill)?;
        }
        self.ended(id, READY).await
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
                // Both names, for both generations of the library.
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
            self.clocks.set(Some(library));
        }
        let child = spawn(&mut command, &folder.join("restarted.log"))?;
        self.restarted.borrow_mut().insert(id, child);
        Ok(())
    }

    /// Waits until the node says that it is ready.
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
