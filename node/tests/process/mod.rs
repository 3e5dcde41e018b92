//! A process of the binary that the tests are of.

use std::process::{Child, Command};

/// Killed at the end, if it is still there.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, if all went well.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Asks a process to stop, as an operator does.
pub(crate) fn terminate(process: &Child) {
    signal(process, "-TERM");
}

/// Sends a process a signal.
pub(crate) fn signal(process: &Child, which: &str) {
    let sent = Command::new("kill")
        .args([which, &process.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}
