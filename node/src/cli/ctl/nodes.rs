//! `rookery ctl nodes`: the nodes with version, uptime, load and disk.

use clap::Args;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::output::{Table, duration, or_dash, size};
use super::view::{NodeView, OverviewView};

/// Arguments of `rookery ctl nodes`.
#[derive(Args)]
pub(super) struct Nodes {}

/// Nodes of the cluster.
#[derive(Serialize)]
pub(super) struct NodeList<'a> {
    pub(super) nodes: &'a [NodeView],
}

// === impl Nodes ===

impl Nodes {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let view: OverviewView = context.client.get(OverviewView::PATH).await?;
        let list = NodeList { nodes: &view.nodes };
        context.output.print(&list, || table(&view.nodes))
    }
}

/// Returns the nodes as a table.
pub(super) fn table(nodes: &[NodeView]) -> String {
    let mut table = Table::new([
        "NODE",
        "ADDRESS",
        "STATE",
        "VERSION",
        "UPTIME",
        "SHARDS",
        "SESSIONS",
        "CONNECTIONS",
        "SENDS/S",
        "ACK P99",
        "DISK FREE",
        "FSYNC",
        "FSYNC P99",
    ]);
    for node in nodes {
        let report = node.report.as_ref();
        table.row([
            node.id.to_string(),
            node.addr.clone(),
            node.state_and_duty(),
            or_dash(report.map(|report| &report.version)),
            or_dash(report.map(|report| duration(report.uptime_ms))),
            node.owned.to_string(),
            or_dash(report.map(|report| report.sessions)),
            or_dash(report.map(|report| report.connections)),
            or_dash(report.map(|report| format!("{:.1}", report.sends_per_second))),
            or_dash(report.and_then(|report| report.ack_p99_ms).map(latency)),
            or_dash(report.map(|report| size(report.disk_free_bytes))),
            or_dash(report.map(|report| if report.fsync { "on" } else { "off" })),
            or_dash(report.and_then(|report| report.fsync_p99_ms).map(latency)),
        ]);
    }
    table.render()
}

fn latency(ms: f64) -> String {
    format!("{ms:.1} ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::one_silent;

    #[test]
    fn json_of_the_nodes_is_frozen() {
        let view = one_silent();
        let text = versioned(&NodeList {
            nodes: &view.nodes[1..],
        });
        let expected = concat!(
            r#"{"v":1,"nodes":[{"id":2,"addr":"10.0.0.2:9080","zone":"","silent":false,"owned":1,"report":"#,
            r#"{"version":"0.1.0","uptime_ms":90061000,"state":"serving","not_ready":null,"fsync":true,"#,
            r#""disk_free_bytes":10737418240,"disk_reserve_bytes":1073741824,"sessions":12,"detached":3,"#,
            r#""connections":14,"connections_limit":1000,"sends_per_second":2.5,"frames_out_per_second":40.0,"#,
            r#""ack_p50_ms":2.5,"ack_p99_ms":9.0,"fsync_p99_ms":null,"#,
            r#""clock_skew_ms":-2}},"#,
            r#"{"id":3,"addr":"10.0.0.3:9080","zone":"","silent":true,"owned":1,"report":null}]}"#,
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn silent_node_has_a_line_without_figures() {
        let text = table(&one_silent().nodes);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| {
                line.split("  ")
                    .map(str::trim)
                    .filter(|cell| !cell.is_empty())
                    .collect()
            })
            .collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[1][..5],
            ["1", "10.0.0.1:9080", "serving", "0.1.0", "1day 1h"]
        );
        assert_eq!(lines[3][..6], ["3", "10.0.0.3:9080", "silent", "-", "-", "1"]);
    }
}
