//! `rookery ctl can-stop`: the effect of a node's stop on the majorities of the shards.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::CtlContext;
use super::failure::Failure;

/// Arguments of `rookery ctl can-stop`.
#[derive(Args)]
pub(super) struct CanStop {
    /// Number of the node.
    node: u64,
}

/// Answer of `GET /v1/admin/nodes/{id}/can-stop`.
#[derive(Serialize, Deserialize)]
pub(super) struct StopView {
    pub(super) node: u64,
    pub(super) can_stop: bool,
    shards: Vec<u16>,
    meta: bool,
    down: Vec<u64>,
}

// === impl CanStop ===

impl CanStop {
    /// Ends with success if the node can stop.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let verdict = StopView::of(context, self.node).await?;
        context
            .output
            .print(&verdict, || format!("{}\n", verdict.text()))?;
        match verdict.can_stop {
            true => Ok(()),
            false => Err(Failure::Refused(format!("node {} must not stop now", self.node))),
        }
    }
}

// === impl StopView ===

impl StopView {
    pub(super) async fn of(context: &CtlContext, node: u64) -> Result<StopView, Failure> {
        context
            .client
            .get(&format!("/v1/admin/nodes/{node}/can-stop"))
            .await
    }

    pub(super) fn text(&self) -> String {
        let node = self.node;
        if self.can_stop {
            return format!("node {node} can stop: every shard keeps a majority");
        }
        let mut groups: Vec<String> = self.shards.iter().map(ToString::to_string).collect();
        if self.meta {
            groups.push("meta".to_owned());
        }
        let mut text = format!(
            "node {node} cannot stop: without a majority would be {}",
            groups.join(", ")
        );
        if !self.down.is_empty() {
            let down: Vec<String> = self.down.iter().map(ToString::to_string).collect();
            text.push_str(&format!("; down or draining already: {}", down.join(", ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_and_text_of_the_verdict_are_frozen() {
        let mut verdict = StopView {
            node: 2,
            can_stop: false,
            shards: vec![0, 7],
            meta: true,
            down: vec![3],
        };
        let expected = r#"{"v":1,"node":2,"can_stop":false,"shards":[0,7],"meta":true,"down":[3]}"#;
        assert_eq!(versioned(&verdict), expected);
        let expected =
            "node 2 cannot stop: without a majority would be 0, 7, meta; down or draining already: 3";
        assert_eq!(verdict.text(), expected);
        verdict.can_stop = true;
        assert_eq!(verdict.text(), "node 2 can stop: every shard keeps a majority");
    }
}
