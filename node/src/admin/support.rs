//! Report of a node for the developers: settings, metrics and the last warnings and errors, without secrets.

use std::time::Duration;

use cluster::NodeId;
use serde::Serialize;
use utoipa::ToSchema;

use super::NodeAdmin;
use crate::rpc::{self, SupportLine, SupportQuery, SupportReport};
use crate::telemetry::{RecentLine, recent_lines};

/// Time for the report of a node, whose metrics are rendered for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The report of a node for the developers. It has no secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeSupport {
    pub node: u64,
    /// The version of the program.
    pub version: String,
    /// The settings as TOML. Secrets are `***`.
    pub settings: String,
    /// The last warnings and errors of the log, the oldest first; at most 200.
    pub log: Vec<LoggedLine>,
    /// The metrics in the text format of OpenMetrics.
    pub metrics: String,
}

/// A warning or error of the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LoggedLine {
    /// The time in milliseconds since the epoch.
    pub ts: u64,
    /// The level: `WARN` or `ERROR`.
    pub level: String,
    /// The message and its fields; cut off after 1,024 bytes.
    pub text: String,
}

// === impl NodeAdmin: support ===

impl NodeAdmin {
    /// Returns whether the node is a member.
    pub(crate) fn has_node(&self, node: NodeId) -> bool {
        let members = self.inner.deps.cluster.nodes();
        members.iter().any(|member| member.id == node)
    }

    /// Asks a node for its report; `None` without an answer in time.
    pub(crate) async fn support(&self, node: NodeId) -> Option<NodeSupport> {
        let report: SupportReport = self
            .ask(node, rpc::SUPPORT_REPORT, &SupportQuery, TIMEOUT)
            .await?;
        let line = |line: SupportLine| LoggedLine {
            ts: line.at_ms,
            level: line.level,
            text: line.text,
        };
        Some(NodeSupport {
            node: node.0,
            version: report.version,
            settings: report.settings,
            log: report.lines.into_iter().map(line).collect(),
            metrics: report.metrics,
        })
    }

    /// Returns the report of this node.
    pub(super) fn support_report(&self) -> SupportReport {
        let deps = &self.inner.deps;
        let line = |line: RecentLine| SupportLine {
            at_ms: line.at_ms,
            level: line.level.to_owned(),
            text: line.text,
        };
        SupportReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: deps.settings.to_string(),
            lines: recent_lines().into_iter().map(line).collect(),
            metrics: deps.figures.render(),
        }
    }
}
