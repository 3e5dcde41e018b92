//! `rookery ctl drain` and `resume`: shards and sessions leave a node, and return.

use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde::Serialize;

use super::CtlContext;
use super::can_stop::StopView;
use super::failure::Failure;
use super::progress::{Look, Progress};
use super::view::{NodeView, OverviewView};

/// Arguments of `rookery ctl drain`.
#[derive(Args)]
pub(super) struct Drain {
    /// Number of the node.
    node: u64,
    /// Time to wait until the node is drained. The drain goes on after it.
    #[arg(long, default_value = "2m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Arguments of `rookery ctl resume`.
#[derive(Args)]
pub(super) struct Resume {
    /// Number of the node.
    node: u64,
}

/// Progress of a drain.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct DrainState {
    node: u64,
    state: String,
    /// Shards that the node still owns, with the meta group.
    shards: u64,
    /// Sessions that it still has, connected and detached ones.
    sessions: u64,
}

/// Node that serves again.
#[derive(Serialize)]
struct ResumedNode {
    node: u64,
}

// === impl Drain, Resume ===

impl Drain {
    /// Orders the drain, and waits until the node is drained.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let verdict = StopView::of(context, self.node).await?;
        if !verdict.can_stop {
            context.output.say(&verdict.text());
            context
                .output
                .say("the node is drained, but must not stop before that has changed");
        }
        let drained = drained(context, self.node, self.wait).await?;
        context.output.print(&drained, || {
            let DrainState { node, sessions, .. } = drained;
            format!("node {node} is drained, with {sessions} sessions left to fetch\n")
        })
    }
}

/// Orders a drain, and waits until the node is drained.
pub(super) async fn drained(context: &CtlContext, node: u64, wait: Duration) -> Result<DrainState, Failure> {
    let path = format!("/v1/admin/nodes/{node}/drain");
    context.client.change(Method::POST, &path, None).await?;
    let watch = Progress::new(wait, format!("node {node} goes on draining"));
    watch.until(context, |view| look(view, node)).await
}

/// Looks how far a node has drained.
fn look(view: &OverviewView, node: u64) -> Result<Look<DrainState>, Failure> {
    let member = view.nodes.iter().find(|member| member.id == node);
    let state = member
        .map(DrainState::of)
        .ok_or_else(|| Failure::Refused(format!("the cluster has no node {node} any more")))?;
    match state.state.as_str() {
        "drained" => Ok(Look::Done(state)),
        "serving" => Err(Failure::Refused(format!(
            "node {node} serves: its drain was ended"
        ))),
        _ => {
            let DrainState {
                state,
                shards,
                sessions,
                ..
            } = state;
            Ok(Look::Waits(format!(
                "{state}: {shards} shards and {sessions} sessions left"
            )))
        }
    }
}

impl Resume {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let path = format!("/v1/admin/nodes/{}/resume", self.node);
        context.client.change(Method::POST, &path, None).await?;
        let resumed = ResumedNode { node: self.node };
        context
            .output
            .print(&resumed, || format!("node {} serves again\n", self.node))
    }
}

// === impl DrainState ===

impl DrainState {
    fn of(node: &NodeView) -> DrainState {
        let sessions = node
            .report
            .as_ref()
            .map_or(0, |report| report.sessions + report.detached);
        DrainState {
            node: node.id,
            state: node.state().to_owned(),
            shards: node.owned,
            sessions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::healthy;

    #[test]
    fn json_of_a_drain_is_frozen() {
        let mut view = healthy();
        view.nodes[0].report.as_mut().unwrap().state = "draining".to_owned();
        let state = DrainState::of(&view.nodes[0]);
        let expected = r#"{"v":1,"node":1,"state":"draining","shards":2,"sessions":15}"#;
        assert_eq!(versioned(&state), expected);
        assert!(
            matches!(look(&view, 1), Ok(Look::Waits(text)) if text == "draining: 2 shards and 15 sessions left")
        );
        assert!(look(&view, 2).is_err(), "it serves");
        assert!(look(&view, 9).is_err(), "it is no member");
        view.nodes[0].report.as_mut().unwrap().state = "drained".to_owned();
        assert!(matches!(look(&view, 1), Ok(Look::Done(_))));
        assert_eq!(versioned(&ResumedNode { node: 1 }), r#"{"v":1,"node":1}"#);
    }
}
