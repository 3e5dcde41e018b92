//! A node on port 0, and a WebSocket client that can also break the rules.

mod client;
mod golden;
mod logging;
mod node;
pub(crate) mod session;
pub(crate) mod stream;

pub(crate) use client::{Client, Incoming, TEXT, frame, masked};
pub(crate) use golden::golden;
pub(crate) use logging::Quiet;
pub(crate) use node::{Node, config};

use std::time::Duration;

/// Long enough for a machine that is busy with other things; no test waits for it in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
