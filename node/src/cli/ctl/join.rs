//! `rookery ctl join`: what a new node needs, and its way into the cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::progress::{Look, Progress};
use super::view::{NodeView, OverviewView};
use super::whole;

/// Maximum number of seeds: more do not help a node to find its cluster.
const SEEDS: usize = 5;

/// Arguments of `rookery ctl join`.
#[derive(Args)]
pub(super) struct Join {
    /// Time to wait for a new node to hold its share. 0s only prints what it needs.
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Settings that a new node needs.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct JoinNeeds {
    cluster: String,
    feature_level: u32,
    /// The number that the next node will have, if none joins before it.
    next_node: u64,
    seeds: Vec<String>,
}

/// New node that holds its share.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct JoinedNode {
    node: u64,
    addr: String,
    /// Number of its replicas, with that of the meta group.
    replicas: usize,
}

// === impl Join ===

impl Join {
    /// Prints what a new node needs, and waits for one.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let view: OverviewView = context.client.get(OverviewView::PATH).await?;
        let known: BTreeSet<u64> = view.nodes.iter().map(|node| node.id).collect();
        let needs = JoinNeeds::of(&view);
        if self.wait.is_zero() {
            return context.output.print(&needs, || needs.text());
        }
        // The data of this command is the new node; a pipe that reads it must not wait behind this.
        eprint!("{}", needs.text());
        let watch = Progress::new(self.wait, "a node that starts joins by itself, watched or not");
        let joined = watch.until(context, |view| Ok(look(view, &known))).await?;
        context.output.print(&joined, || {
            let JoinedNode { node, addr, replicas } = &joined;
            format!("node {node} at {addr} has joined, and holds {replicas} replicas\n")
        })
    }
}

/// Looks for a node that was not known before, and whether it holds its share.
fn look(view: &OverviewView, known: &BTreeSet<u64>) -> Look<JoinedNode> {
    let Some(new) = view.nodes.iter().find(|node| !known.contains(&node.id)) else {
        return Look::Waits("waiting for the new node".to_owned());
    };
    let replicas = replicas(view, new);
    match whole::missing(view) {
        None => Look::Done(JoinedNode {
            node: new.id,
            addr: new.addr.clone(),
            replicas,
        }),
        Some(missing) => Look::Waits(format!("node {} has {replicas} replicas; {missing}", new.id)),
    }
}

/// Returns the number of groups in which a node votes.
fn replicas(view: &OverviewView, node: &NodeView) -> usize {
    let votes = |replica: &super::view::ReplicaView| replica.node == node.id && replica.voter == Some(true);
    view.groups()
        .filter(|group| group.replicas.iter().any(votes))
        .count()
}

// === impl JoinNeeds ===

impl JoinNeeds {
    fn of(view: &OverviewView) -> JoinNeeds {
        JoinNeeds {
            cluster: view.cluster.clone(),
            feature_level: view.feature_level,
            next_node: view.nodes.iter().map(|node| node.id).max().unwrap_or(0) + 1,
            seeds: view
                .nodes
                .iter()
                .take(SEEDS)
                .map(|node| node.addr.clone())
                .collect(),
        }
    }

    fn text(&self) -> String {
        let JoinNeeds {
            cluster,
            feature_level,
            next_node,
            seeds,
        } = self;
        let seeds: Vec<String> = seeds.iter().map(|seed| format!("{seed:?}")).collect();
        let seeds = seeds.join(", ");
        format!(
            "# Settings of a new node of cluster {cluster} (feature level {feature_level}), beside those that all nodes share:\n\
             [cluster]\n\
             listen = \"ADDRESS:9080\"          # reachable from the other nodes\n\
             seeds = [{seeds}]\n\
             # secret: the cluster.secret of the other nodes, which proves that the node belongs to them\n\
             # tls_dir: if the others have one, the output of `rookery certs issue --node {next_node} DIR` with their ca.key\n\
             [storage]\n\
             dir = \"DIRECTORY\"                # empty\n\
             # auth, login and webhook: as on the other nodes\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output;
    use crate::cli::ctl::view::tests::healthy;

    #[test]
    fn needs_have_addresses_and_no_secret() {
        let needs = JoinNeeds::of(&healthy());
        let expected = concat!(
            r#"{"v":1,"cluster":"f5e62b3f67b8a9d9","feature_level":1,"next_node":4,"#,
            r#""seeds":["10.0.0.1:9080","10.0.0.2:9080","10.0.0.3:9080"]}"#,
        );
        assert_eq!(output::versioned(&needs), expected);
        let text = needs.text();
        assert!(
            text.contains("seeds = [\"10.0.0.1:9080\", \"10.0.0.2:9080\", \"10.0.0.3:9080\"]\n"),
            "{text}"
        );
        // A person fills in the two words, and the rest is a settings file.
        let settings: toml::Table = text.parse().unwrap();
        assert!(settings["cluster"].get("secret").is_none());
    }

    #[test]
    fn new_node_has_joined_when_nothing_is_missing() {
        let mut view = healthy();
        let known = BTreeSet::from([1, 2]);
        let Look::Done(joined) = look(&view, &known) else {
            panic!("node 3 votes everywhere")
        };
        let expected = r#"{"v":1,"node":3,"addr":"10.0.0.3:9080","replicas":4}"#;
        assert_eq!(output::versioned(&joined), expected);
        view.shards[0].replicas[2].voter = Some(false);
        assert!(
            matches!(look(&view, &known), Look::Waits(text) if text == "node 3 has 3 replicas; shard 0 has 2 of 3 replicas")
        );
        assert!(matches!(look(&view, &(1..=3).collect()), Look::Waits(text) if text.contains("waiting")));
    }
}
