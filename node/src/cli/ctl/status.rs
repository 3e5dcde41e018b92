//! `rookery ctl status`: the state of the cluster in one sentence, its problems and its nodes.

use clap::Args;
use serde::Serialize;

use super::CtlContext;
use super::check::{ClusterProblem, problems};
use super::failure::Failure;
use super::nodes;
use super::view::{NodeView, OverviewView};

/// Arguments of `rookery ctl status`.
#[derive(Args)]
pub(super) struct Status {}

/// State of the cluster.
#[derive(Serialize)]
struct ClusterState<'a> {
    cluster: &'a str,
    feature_level: u32,
    nodes_total: usize,
    nodes_silent: usize,
    shards_total: usize,
    shards_without_owner: usize,
    problems: Vec<ClusterProblem>,
    nodes: &'a [NodeView],
    #[serde(skip)]
    sentence: String,
}

// === impl Status ===

impl Status {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let view: OverviewView = context.client.get(OverviewView::PATH).await?;
        let state = ClusterState::of(&view);
        context.output.print(&state, || state.text())
    }
}

// === impl ClusterState ===

impl ClusterState<'_> {
    fn of(view: &OverviewView) -> ClusterState<'_> {
        ClusterState {
            cluster: &view.cluster,
            feature_level: view.feature_level,
            nodes_total: view.nodes.len(),
            nodes_silent: view.nodes.iter().filter(|node| node.silent).count(),
            shards_total: view.shards.len(),
            shards_without_owner: view.shards.iter().filter(|shard| shard.owner.is_none()).count(),
            problems: problems(view),
            nodes: &view.nodes,
            sentence: view.sentence(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.sentence);
        for problem in &self.problems {
            text.push_str(&format!("{problem}\n"));
        }
        format!("{text}\n{}", nodes::table(self.nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::{healthy, one_silent};

    #[test]
    fn json_of_the_status_is_frozen() {
        let view = one_silent();
        let state = ClusterState::of(&view);
        let text = versioned(&state);
        let head = r#"{"v":1,"cluster":"f5e62b3f67b8a9d9","feature_level":1,"nodes_total":3,"nodes_silent":1,"shards_total":3,"shards_without_owner":1,"problems":[{"severity":"critical","what":"shard_without_owner","detail":"shard 2 has no owner"},"#;
        assert!(text.starts_with(head), "{text}");
        let nodes = versioned(&nodes::NodeList { nodes: &view.nodes });
        let tail = nodes.strip_prefix(r#"{"v":1,"#).unwrap();
        assert!(text.ends_with(tail), "{text}");
    }

    #[test]
    fn the_first_line_says_how_much_of_the_cluster_works() {
        let view = healthy();
        let text = ClusterState::of(&view).text();
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "3 of 3 nodes answer, 3 of 3 shards have an owner");
        assert!(rest.starts_with("\nNODE "), "no problems between: {rest}");
    }
}
