//! `rookery ctl watch`: a line for each change of a node or of a shard's owner.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use super::CtlContext;
use super::failure::Failure;
use super::live::{LiveArgs, LiveOverview};
use super::output::{date, or_dash, versioned, write_on};
use super::view::{NodeView, OverviewView, group_name};

/// Arguments of `rookery ctl watch`.
#[derive(Args)]
pub(super) struct Watch {
    #[command(flatten)]
    live: LiveArgs,
}

/// Change with its time.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct TimedChange {
    ts: u64,
    #[serde(flatten)]
    change: ClusterChange,
}

/// Change between two overviews.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum ClusterChange {
    /// None of the nodes answers.
    Unreachable {
        reason: String,
    },
    /// One of the nodes answers again.
    Reachable,
    NodeJoined {
        node: u64,
    },
    NodeLeft {
        node: u64,
    },
    NodeState {
        node: u64,
        from: String,
        to: String,
        /// Reason for which the node accepts no clients.
        reason: Option<String>,
    },
    NodeVersion {
        node: u64,
        from: String,
        to: String,
    },
    Owner {
        shard: u16,
        from: Option<u64>,
        to: Option<u64>,
        epoch: u64,
    },
    FeatureLevel {
        from: u32,
        to: u32,
    },
}

// === impl Watch ===

impl Watch {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let mut live = LiveOverview::new(&context.client, &self.live);
        let Some(mut before) = live.next().await? else {
            return Ok(());
        };
        context.output.say(&before.sentence());
        let mut is_reachable = true;
        loop {
            let changes = match live.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(now)) => {
                    let mut changes = changes(&before, &now);
                    if !std::mem::replace(&mut is_reachable, true) {
                        changes.insert(0, ClusterChange::Reachable);
                    }
                    before = now;
                    changes
                }
                // All nodes may be restarting: the next look may succeed.
                Err(Failure::Unreachable(nodes)) => {
                    let reason = format!("{nodes}: no answer");
                    let was_reachable = std::mem::replace(&mut is_reachable, false);
                    let change = ClusterChange::Unreachable { reason };
                    was_reachable.then_some(change).into_iter().collect()
                }
                Err(failure) => return Err(failure),
            };
            for change in changes {
                let change = TimedChange { ts: now_ms(), change };
                let line = match context.output.is_table() {
                    true => change.text(),
                    false => versioned(&change),
                };
                if !write_on(&format!("{line}\n"))? {
                    return Ok(());
                }
            }
        }
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Returns what has changed, nodes first.
fn changes(before: &OverviewView, now: &OverviewView) -> Vec<ClusterChange> {
    let by_id = |view: &OverviewView| -> BTreeMap<u64, NodeView> {
        let nodes = view.nodes.iter();
        nodes.map(|node| (node.id, node.clone())).collect()
    };
    let (old, new) = (by_id(before), by_id(now));
    let mut found = Vec::new();
    if before.feature_level != now.feature_level {
        found.push(ClusterChange::FeatureLevel {
            from: before.feature_level,
            to: now.feature_level,
        });
    }
    let gone = old.keys().filter(|node| !new.contains_key(node));
    found.extend(gone.map(|node| ClusterChange::NodeLeft { node: *node }));
    for (id, node) in &new {
        match old.get(id) {
            None => found.push(ClusterChange::NodeJoined { node: *id }),
            Some(was) => found.extend(of_node(was, node)),
        }
    }
    for group in now.groups() {
        let mut was = before.groups().filter(|was| was.shard == group.shard);
        let Some(was) = was.next() else { continue };
        if (was.owner, was.epoch) != (group.owner, group.epoch) {
            found.push(ClusterChange::Owner {
                shard: group.shard,
                from: was.owner,
                to: group.owner,
                epoch: group.epoch,
            });
        }
    }
    found
}

fn of_node(was: &NodeView, is: &NodeView) -> Vec<ClusterChange> {
    let mut found = Vec::new();
    let reason = |node: &NodeView| node.report.as_ref().and_then(|report| report.not_ready.clone());
    if was.state() != is.state() || reason(was) != reason(is) {
        found.push(ClusterChange::NodeState {
            node: is.id,
            from: was.state().to_owned(),
            to: is.state().to_owned(),
            reason: reason(is),
        });
    }
    if let (Some(before), Some(now)) = (&was.report, &is.report)
        && before.version != now.version
    {
        found.push(ClusterChange::NodeVersion {
            node: is.id,
            from: before.version.clone(),
            to: now.version.clone(),
        });
    }
    found
}

// === impl TimedChange ===

impl TimedChange {
    fn text(&self) -> String {
        let what = match &self.change {
            ClusterChange::Unreachable { reason } => reason.clone(),
            ClusterChange::Reachable => "a node answers again".to_owned(),
            ClusterChange::NodeJoined { node } => format!("node {node} joined"),
            ClusterChange::NodeLeft { node } => format!("node {node} left"),
            ClusterChange::NodeState {
                node,
                from,
                to,
                reason,
            } => match reason {
                Some(reason) => format!("node {node}: {from} -> {to} ({reason})"),
                None => format!("node {node}: {from} -> {to}"),
            },
            ClusterChange::NodeVersion { node, from, to } => {
                format!("node {node}: version {from} -> {to}")
            }
            ClusterChange::Owner {
                shard,
                from,
                to,
                epoch,
            } => {
                let (shard, from, to) = (group_name(*shard), or_dash(*from), or_dash(*to));
                format!("shard {shard}: owner {from} -> {to}, epoch {epoch}")
            }
            ClusterChange::FeatureLevel { from, to } => format!("feature level {from} -> {to}"),
        };
        format!("{}  {what}", date(self.ts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::view::tests::{healthy, one_silent};

    fn lines(before: &OverviewView, now: &OverviewView) -> Vec<(String, String)> {
        let timed = |change| TimedChange { ts: 0, change };
        let changes = changes(before, now).into_iter().map(timed);
        changes
            .map(|change| (versioned(&change), change.text().split_off(22)))
            .collect()
    }

    #[test]
    fn json_and_text_of_changes_are_frozen() {
        assert_eq!(lines(&healthy(), &healthy()), []);
        let mut now = one_silent();
        now.feature_level = 2;
        let report = now.nodes[1].report.as_mut().unwrap();
        report.not_ready = Some("draining".to_owned());
        report.version = "0.2.0".to_owned();
        now.shards[0].owner = Some(2);
        now.shards[0].epoch = 9;
        now.nodes.remove(0);
        let mut joined = now.nodes[0].clone();
        joined.id = 4;
        now.nodes.push(joined);
        let expected = [
            (
                r#"{"v":1,"ts":0,"what":"feature_level","from":1,"to":2}"#,
                "feature level 1 -> 2",
            ),
            (r#"{"v":1,"ts":0,"what":"node_left","node":1}"#, "node 1 left"),
            (
                r#"{"v":1,"ts":0,"what":"node_state","node":2,"from":"serving","to":"not_ready","reason":"draining"}"#,
                "node 2: serving -> not_ready (draining)",
            ),
            (
                r#"{"v":1,"ts":0,"what":"node_version","node":2,"from":"0.1.0","to":"0.2.0"}"#,
                "node 2: version 0.1.0 -> 0.2.0",
            ),
            (
                r#"{"v":1,"ts":0,"what":"node_state","node":3,"from":"serving","to":"silent","reason":null}"#,
                "node 3: serving -> silent",
            ),
            (r#"{"v":1,"ts":0,"what":"node_joined","node":4}"#, "node 4 joined"),
            (
                r#"{"v":1,"ts":0,"what":"owner","shard":0,"from":1,"to":2,"epoch":9}"#,
                "shard 0: owner 1 -> 2, epoch 9",
            ),
            (
                r#"{"v":1,"ts":0,"what":"owner","shard":2,"from":3,"to":null,"epoch":7}"#,
                "shard 2: owner 3 -> -, epoch 7",
            ),
        ];
        let expected = expected.map(|(json, text)| (json.to_owned(), text.to_owned()));
        assert_eq!(lines(&healthy(), &now), expected);
        let lost = TimedChange {
            ts: 0,
            change: ClusterChange::Unreachable {
                reason: "u: no answer".to_owned(),
            },
        };
        assert_eq!(lost.text(), "1970-01-01T00:00:00Z  u: no answer");
        let back = TimedChange {
            ts: 0,
            change: ClusterChange::Reachable,
        };
        assert_eq!(versioned(&back), r#"{"v":1,"ts":0,"what":"reachable"}"#);
    }
}
