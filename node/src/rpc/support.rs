//! [`SUPPORT_REPORT`](super::SUPPORT_REPORT): what a node tells about itself for a report to the developers.

use serde::{Deserialize, Serialize};

/// Query for the report → [`SupportReport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SupportQuery;

/// Report of a node, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SupportReport {
    /// Version of the program.
    pub(crate) version: String,
    /// Settings as TOML, without secrets.
    pub(crate) settings: String,
    /// Last warnings and errors of the log, the oldest first.
    pub(crate) lines: Vec<SupportLine>,
    /// Metrics in the text format of OpenMetrics.
    pub(crate) metrics: String,
}

/// Line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SupportLine {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// Level of the line: `WARN` or `ERROR`.
    pub(crate) level: String,
    pub(crate) text: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::tests::golden;

    #[test]
    fn the_encoding_of_support_reports_is_frozen() {
        golden(SupportQuery, &[1]);
        let report = SupportReport {
            version: "1".into(),
            settings: "s".into(),
            lines: vec![SupportLine {
                at_ms: 300,
                level: "W".into(),
                text: "t".into(),
            }],
            metrics: "m".into(),
        };
        golden(
            report,
            &[1, 1, b'1', 1, b's', 1, 0xac, 2, 1, b'W', 1, b't', 1, b'm'],
        );
    }
}
