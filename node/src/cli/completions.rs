//! `rookery completions`: completions of a shell for the command line.

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
    pub(super) fn print<C: CommandFactory>(&self) {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut C::command(), "rookery", &mut text);
        print!("{}", String::from_utf8_lossy(&text));
    }
}
