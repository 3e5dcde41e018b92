//! `rookery chat` as a process, with a test at its keyboard.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, Command, Stdio};
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
        let urls: Vec<_> = nodes.iter().map(|node| format!("ws://{node}")).collect();
        TerminalClient::with(user, &urls, program())
    }

    /// Starts the client at these URLs, as a command of the program with an environment.
    pub fn with(user: &str, urls: &[String], mut command: Command) -> TerminalClient {
        command.args(["chat", "--user", user]);
        for url in urls {
            command.args(["--url", url]);
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
