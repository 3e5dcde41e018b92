//! Processes of the program under test.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Guard of a process: kills it on drop, unless it has ended.
pub struct ProcessGuard(pub Child);

impl Drop for ProcessGuard {
    fn drop(&mut self) {
        // Both fail if the process has ended already.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Returns a command of the program under test, without input and output.
pub fn program() -> Command {
    let mut command = Command::new(path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Returns the path that cargo or nextest names, or else that beside the folder of the test binary.
fn path() -> PathBuf {
    ["CARGO_BIN_EXE_rookery", "NEXTEST_BIN_EXE_rookery"]
        .into_iter()
        .find_map(std::env::var_os)
        .map_or_else(
            || {
                let test = std::env::current_exe().unwrap();
                test.parent().unwrap().parent().unwrap().join("rookery")
            },
            PathBuf::from,
        )
}

/// Requests an orderly stop, as an operator does.
pub fn terminate(process: &Child) {
    signal(process.id(), "-TERM");
}

/// Sends a signal to a process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(sent.unwrap().success());
}
