//! `rookery ctl leave`, `replace` and `forget`: nodes that are members no more.

use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::progress::{Look, Progress};
use super::view::OverviewView;

/// Arguments of `rookery ctl leave`.
#[derive(Args)]
pub(super) struct Leave {
    /// Number of the node.
    node: u64,
    /// Time to wait until the node has left. It goes on leaving after it.
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Arguments of `rookery ctl replace`.
#[derive(Args)]
pub(super) struct Replace {
    /// Number of the dead node.
    dead: u64,
    /// Number of the new node, which is a member already.
    new: u64,
    /// Time to wait until the dead node is replaced. The replacement goes on after it.
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Arguments of `rookery ctl forget`.
#[derive(Args)]
pub(super) struct Forget {
    /// Number of the node.
    node: u64,
}

/// Node that is no member any more.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct FormerNode {
    node: u64,
    /// Number of the node that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<u64>,
    /// Number of members that are left.
    nodes: usize,
}

// === impl Leave, Replace, Forget ===

impl Leave {
    /// Orders the node to leave, and waits until it is no member any more.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let node = self.node;
        let fewer = if context.yes { "?fewer_replicas=true" } else { "" };
        let path = format!("/v1/admin/nodes/{node}/leave{fewer}");
        context.client.change(Method::POST, &path, None).await?;
        let former = watch(context, (node, None), self.wait).await?;
        context.output.print(&former, || {
            let nodes = former.nodes;
            format!("node {node} has left: stop it, its data directory is needed no more. {nodes} nodes are left\n")
        })
    }
}

impl Replace {
    /// Orders the replacement, and waits until the dead node is no member any more.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let Replace { dead, new, wait } = self;
        let path = format!(
            "/v1/admin/nodes/{dead}/leave?fewer_replicas={}&replaced_by={new}",
            context.yes
        );
        context.client.change(Method::POST, &path, None).await?;
        let former = watch(context, (dead, Some(new)), wait).await?;
        context.output.print(&former, || {
            format!("node {new} has taken the place of node {dead}\n")
        })
    }
}

impl Forget {
    /// Removes the node at once.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        context.confirmed()?;
        let node = self.node;
        let path = format!("/v1/admin/nodes/{node}");
        context.client.change(Method::DELETE, &path, None).await?;
        let view: OverviewView = context.client.get(OverviewView::PATH).await?;
        let former = FormerNode {
            node,
            replaced_by: None,
            nodes: view.nodes.iter().filter(|member| member.id != node).count(),
        };
        context.output.print(&former, || {
            format!(
                "node {node} is forgotten; the others copy its replicas, which `rookery ctl check` follows\n"
            )
        })
    }
}

/// Waits until a node is no member any more.
async fn watch(
    context: &CtlContext,
    (node, replaced_by): (u64, Option<u64>),
    wait: Duration,
) -> Result<FormerNode, Failure> {
    let goes_on = format!("node {node} goes on leaving; `rookery ctl resume {node}` lets it stay");
    let mut had_to_leave = false;
    let watch = Progress::new(wait, goes_on);
    watch
        .until(context, |view| match look(view, node, &mut had_to_leave)? {
            Look::Done(nodes) => Ok(Look::Done(FormerNode {
                node,
                replaced_by,
                nodes,
            })),
            Look::Waits(text) => Ok(Look::Waits(text)),
        })
        .await
}

/// Looks how far a node has left; done with the number of the remaining members.
fn look(view: &OverviewView, node: u64, had_to_leave: &mut bool) -> Result<Look<usize>, Failure> {
    let Some(member) = view.nodes.iter().find(|member| member.id == node) else {
        return Ok(Look::Done(view.nodes.len()));
    };
    // The node that answers may not know yet that this one leaves.
    if !member.leaves() && *had_to_leave {
        return Err(Failure::Refused(format!(
            "node {node} stays: its leaving was ended"
        )));
    }
    *had_to_leave = member.leaves();
    let has_replica =
        |replicas: &[super::view::ReplicaView]| replicas.iter().any(|replica| replica.node == node);
    let replicas = view.groups().filter(|group| has_replica(&group.replicas)).count();
    let sessions = member.report.as_ref().map_or(0, |report| report.sessions);
    Ok(Look::Waits(format!(
        "node {node} is leaving: {replicas} replicas, {} shards and {sessions} sessions left",
        member.owned
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::healthy;

    fn waits(look: Result<Look<usize>, Failure>) -> String {
        match look {
            Ok(Look::Waits(text)) => text,
            Ok(Look::Done(nodes)) => panic!("done, with {nodes} nodes"),
            Err(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn a_node_leaves_until_it_is_no_member_any_more() {
        let (mut view, mut had_to_leave) = (healthy(), false);
        let text = waits(look(&view, 2, &mut had_to_leave));
        assert_eq!(
            text,
            "node 2 is leaving: 4 replicas, 1 shards and 12 sessions left"
        );
        view.nodes[1].duty = "leaving".to_owned();
        view.shards[0].replicas.remove(1);
        view.nodes[1].report = None;
        let text = waits(look(&view, 2, &mut had_to_leave));
        assert_eq!(
            text,
            "node 2 is leaving: 3 replicas, 1 shards and 0 sessions left"
        );
        let mut gone = view.clone();
        gone.nodes.remove(1);
        assert!(matches!(look(&gone, 2, &mut had_to_leave), Ok(Look::Done(2))));
        view.nodes[1].duty = "replicas".to_owned();
        let stayed = look(&view, 2, &mut had_to_leave).err().unwrap();
        assert_eq!(
            stayed,
            Failure::Refused("node 2 stays: its leaving was ended".to_owned())
        );
    }

    #[test]
    fn json_of_a_former_node_is_frozen() {
        let mut former = FormerNode {
            node: 3,
            replaced_by: None,
            nodes: 4,
        };
        assert_eq!(versioned(&former), r#"{"v":1,"node":3,"nodes":4}"#);
        former.replaced_by = Some(5);
        assert_eq!(
            versioned(&former),
            r#"{"v":1,"node":3,"replaced_by":5,"nodes":4}"#
        );
    }
}
