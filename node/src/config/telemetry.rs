//! `[telemetry]`: what the node tells about itself.

use serde::{Deserialize, Serialize};

use super::load::Problems;
use super::section::section;

/// Shape of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

section! {
    /// What the node tells about itself.
    pub struct Telemetry {
        /// What is logged, in the syntax of RUST_LOG: a level, or levels per module.
        log: String = "info".to_owned(),
        /// text or json, on standard error.
        format: Format = Format::Text,
    }
}

// === impl Telemetry ===

impl Telemetry {
    /// Reports every value that cannot work.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Err(error) = self.log.parse::<tracing_subscriber::EnvFilter>() {
            problems.add("telemetry.log", &format!("cannot be read: {error}"));
        }
    }
}
