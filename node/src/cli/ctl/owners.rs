//! `rookery ctl move` and `rebalance`: which nodes own the shards.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde::Serialize;
use serde_json::json;

use super::CtlContext;
use super::failure::Failure;
use super::output::Table;
use super::progress::{Look, Progress};
use super::view::OverviewView;

/// Looks at one state of the cluster map, in which every shard has its preferred owner, after which it is taken for the
/// last one: the placement follows a change of the map.
const STEADY_LOOKS: u32 = 4;

/// Arguments of `rookery ctl move`.
#[derive(Args)]
pub(super) struct Move {
    /// Number of the shard, or `meta`.
    #[arg(value_parser = shard_number)]
    shard: u16,
    /// Number of the node, which has a replica of the shard.
    node: u64,
    /// Time to wait until the node owns the shard.
    #[arg(long, default_value = "1m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Arguments of `rookery ctl rebalance`.
#[derive(Args)]
pub(super) struct Rebalance {
    /// Time to wait until every shard has its preferred owner.
    #[arg(long, default_value = "5m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Shard with its new owner.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct MovedShard {
    shard: u16,
    owner: u64,
    epoch: u64,
}

/// Nodes with the number of shards that each owns, the meta group included.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Ownership {
    owned: BTreeMap<u64, u64>,
}

/// Returns the number of a shard, or that of the meta group.
fn shard_number(text: &str) -> Result<u16, String> {
    match text {
        "meta" => Ok(u16::MAX),
        number => number
            .parse()
            .map_err(|_| "expected the number of a shard, or meta".to_owned()),
    }
}

// === impl Move, Rebalance ===

impl Move {
    /// Orders the move, and waits until the node owns the shard.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let Move { shard, node, wait } = self;
        let path = format!("/v1/admin/shards/{shard}/move");
        let order = json!({ "to": node });
        context.client.change(Method::POST, &path, Some(&order)).await?;
        let watch = Progress::new(wait, "the shard moves as soon as it can");
        let moved = watch
            .until(context, |view| Ok(owned_by(view, shard, node)))
            .await?;
        context.output.print(&moved, || {
            format!("node {node} owns the shard, until a rebalance or while it can\n")
        })
    }
}

impl Rebalance {
    /// Ends all chosen owners, and waits until every shard has its preferred one.
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        context
            .client
            .change(Method::POST, "/v1/admin/rebalance", None)
            .await?;
        let watch = Progress::new(self.wait, "shards return to their preferred owners by themselves");
        let mut steady = (0, 0);
        let owned = watch.until(context, |view| Ok(even(view, &mut steady))).await?;
        context.output.print(&owned, || owned.text())
    }
}

/// Looks whether a node owns a shard.
fn owned_by(view: &OverviewView, shard: u16, node: u64) -> Look<MovedShard> {
    let group = view.groups().find(|group| group.shard == shard);
    match group {
        Some(group) if group.owner == Some(node) => Look::Done(MovedShard {
            shard,
            owner: node,
            epoch: group.epoch,
        }),
        Some(group) => Look::Waits(match group.owner {
            Some(owner) => format!("node {owner} owns the shard"),
            None => "the shard has no owner".to_owned(),
        }),
        None => Look::Waits("the shard is not known".to_owned()),
    }
}

/// Looks whether every shard has its preferred owner, and has had for some looks at one version of the map.
fn even(view: &OverviewView, steady: &mut (u64, u32)) -> Look<Ownership> {
    let elsewhere = view
        .groups()
        .filter(|group| group.owner != group.preferred)
        .count();
    if elsewhere > 0 {
        *steady = (view.map_version, 0);
        return Look::Waits(format!("{elsewhere} shards are not at their preferred owner"));
    }
    let looks = if steady.0 == view.map_version {
        steady.1 + 1
    } else {
        1
    };
    *steady = (view.map_version, looks);
    if looks < STEADY_LOOKS {
        return Look::Waits("every shard is at its preferred owner".to_owned());
    }
    let owned = view.nodes.iter().map(|node| (node.id, node.owned)).collect();
    Look::Done(Ownership { owned })
}

// === impl Ownership ===

impl Ownership {
    fn text(&self) -> String {
        let mut table = Table::new(["NODE", "SHARDS"]);
        for (node, shards) in &self.owned {
            table.row([node.to_string(), shards.to_string()]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;
    use crate::cli::ctl::view::tests::healthy;

    #[test]
    fn shard_is_moved_once_the_node_owns_it() {
        assert_eq!((shard_number("meta"), shard_number("7")), (Ok(u16::MAX), Ok(7)));
        assert!(shard_number("all").is_err());
        let view = healthy();
        assert!(matches!(owned_by(&view, 1, 3), Look::Waits(text) if text == "node 2 owns the shard"));
        let Look::Done(moved) = owned_by(&view, u16::MAX, 1) else {
            panic!("node 1 owns the meta group")
        };
        assert_eq!(versioned(&moved), r#"{"v":1,"shard":65535,"owner":1,"epoch":7}"#);
    }

    #[test]
    fn ownership_is_even_when_the_map_stands_still() {
        let (mut view, mut steady) = (healthy(), (0, 0));
        view.shards[2].owner = Some(1);
        assert!(matches!(even(&view, &mut steady), Look::Waits(text) if text.starts_with("1 shards")));
        view.shards[2].owner = Some(3);
        for _ in 1..STEADY_LOOKS {
            assert!(matches!(even(&view, &mut steady), Look::Waits(_)));
        }
        // The placement has changed the map meanwhile: the looks count from here.
        view.map_version += 1;
        for _ in 1..STEADY_LOOKS {
            assert!(matches!(even(&view, &mut steady), Look::Waits(_)));
        }
        let Look::Done(owned) = even(&view, &mut steady) else {
            panic!("the owners are even")
        };
        assert_eq!(versioned(&owned), r#"{"v":1,"owned":{"1":2,"2":1,"3":1}}"#);
        assert_eq!(owned.text(), "NODE  SHARDS\n1     2\n2     1\n3     1\n");
    }
}
