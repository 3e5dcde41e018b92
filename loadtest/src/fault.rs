//! Faults: what is done to which node, when, and for how long. Each answers what it did, so that a run whose fault
//! did not bite is seen.

use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Deserializer, Serialize};

use crate::http;
use crate::local::{self, Hit, Local};

/// One planned fault: `kill-owner@20s`, `stop-any@5s+8s`, `drain-2@10s`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Fault {
    pub(crate) how: How,
    pub(crate) whom: Whom,
    /// After the load began.
    pub(crate) at: Duration,
    /// How long the node is stopped or down.
    pub(crate) hold: Duration,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum How {
    /// kill -9, then a restart.
    Kill,
    /// SIGSTOP, then SIGCONT: a node that is there and says nothing.
    Stop,
    /// SIGTERM, then a restart when it has ended.
    Drain,
}

/// Which node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    /// The owner of the run's first conversation.
    Owner,
    /// One at random, by the seed.
    Any,
    All,
    Node(u64),
}

/// What a fault did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Injected {
    pub(crate) fault: String,
    pub(crate) nodes: Vec<u64>,
    /// Seconds of the run.
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
    pub(crate) outcome: Outcome,
    /// What went wrong with the fault itself.
    pub(crate) problem: Option<String>,
}

/// Whether a fault happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Installed,
    /// Not done, and known not to be.
    Skipped,
    /// Done, but the node did not come back as it should have.
    Indeterminate,
}

/// `GET /v1/cluster`, as far as the harness reads it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterView {
    #[serde(default)]
    pub(crate) shards: Vec<ShardView>,
}

/// One shard of it; also the answer of `GET /v1/cluster/owner`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ShardView {
    /// `None` for the meta group, which has no number.
    #[serde(deserialize_with = "number")]
    pub(crate) shard: Option<u16>,
    pub(crate) owner: Option<u64>,
}

/// How long a drained node may take to end.
const DRAIN: Duration = Duration::from_secs(20);

// === impl Fault ===

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let usage = || {
            format!("{text:?} is no fault; write for example kill-owner@20s, stop-any@5s+8s or drain-2@10s")
        };
        let (what, when) = text.split_once('@').ok_or_else(usage)?;
        let (how, whom) = what.split_once('-').ok_or_else(usage)?;
        let how = match how {
            "kill" => How::Kill,
            "stop" | "pause" => How::Stop,
            "drain" => How::Drain,
            _ => return Err(usage()),
        };
        let whom = match whom {
            "owner" => Whom::Owner,
            "any" => Whom::Any,
            "all" => Whom::All,
            node => Whom::Node(node.parse().map_err(|_| usage())?),
        };
        let (at, hold) = match when.split_once('+') {
            Some((at, hold)) => (at, Some(hold)),
            None => (when, None),
        };
        let at = parse_duration(at)?;
        let hold = hold.map_or(
            Ok(if how == How::Stop {
                Duration::from_secs(5)
            } else {
                Duration::from_secs(3)
            }),
            parse_duration,
        )?;
        Ok(Fault { how, whom, at, hold })
    }
}

impl Fault {
    /// Chooses the nodes that are hit. `conversation` is the one whose owner is meant.
    pub(crate) async fn targets(&self, local: &Local, conversation: &str, rng: &mut StdRng) -> Vec<u64> {
        let ids: Vec<u64> = local.nodes().iter().map(|node| node.id).collect();
        match self.whom {
            Whom::All => ids,
            Whom::Any => vec![ids[rng.random_range(0..ids.len())]],
            Whom::Node(id) => ids.into_iter().filter(|node| *node == id).collect(),
            Whom::Owner => {
                for node in local.nodes() {
                    if let Some(owner) = owner(&node.http, conversation)
                        .await
                        .and_then(|shard| shard.owner)
                    {
                        return vec![owner];
                    }
                }
                Vec::new()
            }
        }
    }

    /// Hits the nodes.
    pub(crate) fn begin(&self, local: &Local, nodes: &[u64]) -> Result<(), local::Error> {
        let hit = match self.how {
            How::Kill => Hit::Kill,
            How::Stop => Hit::Stop,
            How::Drain => Hit::Drain,
        };
        nodes.iter().try_for_each(|node| local.hit(*node, hit))
    }

    /// Heals the nodes, and returns when they are ready again. A node that has to be killed to end is healed too, and
    /// told as an error.
    pub(crate) async fn heal(&self, local: &Local, nodes: &[u64]) -> Result<(), local::Error> {
        let mut lingers = Ok(());
        for node in nodes {
            if self.how == How::Drain {
                lingers = local.ended(*node, DRAIN).await.and(lingers);
            }
            match self.how {
                How::Stop => local.hit(*node, Hit::Continue)?,
                How::Kill | How::Drain => local.restart(*node).await?,
            }
        }
        for node in nodes {
            local.ready(*node).await?;
        }
        lingers
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.how {
            How::Kill => "kill",
            How::Stop => "stop",
            How::Drain => "drain",
        };
        let whom = match self.whom {
            Whom::Owner => "owner".to_owned(),
            Whom::Any => "any".to_owned(),
            Whom::All => "all".to_owned(),
            Whom::Node(id) => id.to_string(),
        };
        write!(f, "{how}-{whom}@{:?}+{:?}", self.at, self.hold)
    }
}

/// Asks a node who owns a conversation.
pub(crate) async fn owner(node: &str, conversation: &str) -> Option<ShardView> {
    let body = http::get(node, &format!("/v1/cluster/owner?conversation={conversation}"))
        .await
        .ok()?;
    serde_json::from_str(&body).ok()
}

/// Asks a node for the whole ownership table.
pub(crate) async fn cluster(node: &str) -> Option<ClusterView> {
    serde_json::from_str(&http::get(node, "/v1/cluster").await.ok()?).ok()
}

/// Reads a shard's number, written as a number or as text.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Shard {
        Number(u16),
        Text(String),
    }
    Ok(match Shard::deserialize(deserializer)? {
        Shard::Number(number) => Some(number),
        Shard::Text(text) => text.parse().ok(),
    })
}

/// Reads `20s`, `1.5s`, `250ms`, `2m` or a bare number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?}: the unit is one of ms, s, m, h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no duration; write for example 20s or 250ms"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| format!("{text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read_by_number_and_the_meta_group_has_none() {
        let text = r#"{"shards":[{"shard":"7","owner":1,"epoch":3},{"shard":"meta","owner":2},{"shard":8,"owner":null}]}"#;
        let view: ClusterView = serde_json::from_str(text).unwrap();
        let shards: Vec<_> = view
            .shards
            .iter()
            .map(|shard| (shard.shard, shard.owner))
            .collect();
        assert_eq!(shards, [(Some(7), Some(1)), (None, Some(2)), (Some(8), None)]);
    }

    #[test]
    fn a_plan_is_read_as_it_is_written() {
        let fault: Fault = "kill-owner@20s".parse().unwrap();
        assert_eq!(
            (fault.how, fault.whom, fault.at),
            (How::Kill, Whom::Owner, Duration::from_secs(20))
        );
        let fault: Fault = "stop-2@1.5s+250ms".parse().unwrap();
        assert_eq!(
            (fault.whom, fault.at, fault.hold),
            (
                Whom::Node(2),
                Duration::from_millis(1500),
                Duration::from_millis(250)
            )
        );
        assert_eq!(
            "drain-any@2m".parse::<Fault>().unwrap().to_string(),
            "drain-any@120s+3s"
        );
        for wrong in [
            "kill",
            "kill@20s",
            "kill-owner",
            "burn-owner@1s",
            "kill-me@1s",
            "kill-any@1y",
            "kill-any@x",
        ] {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
