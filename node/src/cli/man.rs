//! `rookery man`: man pages, one for each command.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

/// Arguments of `rookery man`.
#[derive(Args)]
pub(super) struct Man {
    /// The directory for the pages, which is created if it is missing.
    dir: PathBuf,
}

// === impl Man ===

impl Man {
    /// Writes the pages of the command line `C`: `rookery.1`, `rookery-ctl.1` and so on.
    pub(super) fn write<C: CommandFactory>(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        clap_mangen::generate_to(C::command(), &self.dir)
    }
}
