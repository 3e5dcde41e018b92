//! `rookery completions`: completions of a shell for the command line.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Arguments of `rookery completions`.
#[derive(Args)]
pub(super) struct Completions {
    /// The shell that completes the commands.
    shell: Shell,
}

// === impl Completions ===

impl Completions {
    /// Prints the completions of the command line `C`.
    pub(super) fn print<C: CommandFactory>(&self) -> io::Result<()> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "rookery", &mut text);
        // A reader that has enough closes the pipe, which is no failure.
        match io::stdout().write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}
