//! `rookery ctl drain` and `resume`: shards and sessions leave a node, and return.

use std::time::{Duration, Instant};

use clap::Args;
use hyper::Method;
use serde::Serialize;

use super::CtlContext;
use super::can_stop::StopView;
use super::failure::Failure;
use super::view::{NodeView, OverviewView};

/// Pause between two looks at the node.
const PAUSE: Duration = Duration::from_millis(500);

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
struct DrainState {
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
        let path = format!("/v1/admin/nodes/{}/drain", self.node);
        context.client.change(Method::POST, &path, None).await?;
        let watching = self.watch(context);
        let drained = tokio::select! {
            drained = watching => drained?,
            _ = tokio::signal::ctrl_c() => {
                let reason = format!("no longer watched; node {} goes on draining", self.node);
                return Err(Failure::Unknown(reason));
            }
        };
        context.output.print(&drained, || {
            let DrainState { node, sessions, .. } = drained;
            format!("node {node} is drained, with {sessions} sessions left to fetch\n")
        })
    }

    async fn watch(&self, context: &CtlContext) -> Result<DrainState, Failure> {
        let given_up = Instant::now() + self.wait;
        let mut seen = None;
        loop {
            // A node that asks for the overview may drain or stop meanwhile: the next look may succeed.
            if let Ok(view) = context.client.get::<OverviewView>(OverviewView::PATH).await {
                let state = view
                    .nodes
                    .iter()
                    .find(|node| node.id == self.node)
                    .map(DrainState::of);
                let state = state.ok_or_else(|| {
                    Failure::Refused(format!("the cluster has no node {} any more", self.node))
                })?;
                match state.state.as_str() {
                    "drained" => return Ok(state),
                    "serving" => {
                        let reason = format!("node {} serves: its drain was ended", self.node);
                        return Err(Failure::Refused(reason));
                    }
                    _ => {}
                }
                if seen.as_ref() != Some(&state) {
                    let DrainState { shards, sessions, .. } = state;
                    let line = format!("{}: {shards} shards and {sessions} sessions left", state.state);
                    context.output.say(&line);
                    seen = Some(state);
                }
            }
            if Instant::now() > given_up {
                let reason = format!("node {} goes on draining", self.node);
                return Err(Failure::Unknown(reason));
            }
            tokio::time::sleep(PAUSE).await;
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
        assert_eq!(versioned(&ResumedNode { node: 1 }), r#"{"v":1,"node":1}"#);
    }
}
