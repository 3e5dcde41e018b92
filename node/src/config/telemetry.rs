//! `[telemetry]`: level and format of the log.

use serde::{Deserialize, Serialize};

use super::load::Problems;
use super::section::section;

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Text,
    /// One JSON object per line.
    Json,
}

section! {
    /// Logging to standard error.
    pub struct TelemetryConfig {
        /// Log filter in the syntax of RUST_LOG: a level, or levels per module.
        log: String = "info".to_owned(),
        /// Format of log lines: text or json.
        format: Format = Format::Text,
    }
}

// === impl TelemetryConfig ===

impl TelemetryConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Err(error) = self.log.parse::<tracing_subscriber::EnvFilter>() {
            problems.add("telemetry.log", &format!("cannot be read: {error}"));
        }
    }
}
