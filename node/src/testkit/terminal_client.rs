//! `rookery chat` as a process, with a test at its keyboard.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{ProcessGuard, program};

/// Terminal client of a user, which is killed on drop.
pub struct TerminalClient {
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    _process: ProcessGuard,
}

// === impl TerminalClient ===

impl TerminalClient {
    /// Starts the client, which tries the nodes in this order.
    pub fn start(user: &str, nodes: &[SocketAddr]) -> TerminalClient {
        let mut command = program();
        command.args(["chat", "--user", user]);
        for node in nodes {
            command.arg("--url").arg(format!("ws://{node}"));
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = process.stdin.take().unwrap();
        let mut output = process.stdout.take().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let printed = screen.clone();
        // Ends with the process, which closes the pipe.
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut chunk) {
                printed.lock().push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        });
        TerminalClient {
            keyboard,
            screen,
            _process: ProcessGuard(process),
        }
    }

    /// Types a line and the return key.
    pub fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Returns everything printed so far.
    pub fn screen(&self) -> String {
        self.screen.lock().clone()
    }
}

/// Prints the screen of a failed test.
impl Drop for TerminalClient {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- terminal client:\n{}", self.screen());
        }
    }
}
