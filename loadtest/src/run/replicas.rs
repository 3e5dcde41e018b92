//! Comparison of the replicas of each shard: every node publishes, per replica, the applied position and a digest of
//! the state. Replicas at the same position must be equal, because a difference would be permanent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use crate::http;
use crate::load::SharedRun;
use crate::oracle::ViolationKind;

/// Published digests of all nodes, and the number of comparisons.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    shards: BTreeMap<String, Digests>,
    /// Number of compared pairs of digests.
    compared: u64,
}

/// Digests of one shard by log position, each with the node that published it first.
type Digests = BTreeMap<u64, (String, String)>;

/// Part of the response to `GET /v1/cluster` that concerns replicas.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct ReplicaView {
    shards: Vec<ReplicaShard>,
    meta: Option<ReplicaShard>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct ReplicaShard {
    /// Number of the shard, or the name of the meta group.
    shard: Value,
    local: Option<LocalReplica>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct LocalReplica {
    applied: u64,
    digest: Option<String>,
}

/// Progress of the final comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
enum CompareProgress {
    /// Every shard has all replicas at one position, and they are equal.
    Same,
    /// Some replicas are at other positions, or a node does not answer.
    Apart(String),
    /// No node publishes digests: it is another build, or requires an operator's token.
    Missing,
}

/// Maximum number of held positions per shard.
const POSITIONS: usize = 1024;
/// Interval of the comparison during the load.
const PAUSE: Duration = Duration::from_millis(700);

// === impl Replicas ===

impl Replicas {
    /// Compares the digests of one node with those of the others. Returns the differences.
    fn compare(&mut self, node: &str, view: &ReplicaView) -> Vec<String> {
        let mut differences = Vec::new();
        for (shard, local) in view.locals() {
            let Some(digest) = &local.digest else { continue };
            let digests = self.shards.entry(shard.clone()).or_default();
            match digests.get(&local.applied) {
                None => {
                    digests.insert(local.applied, (digest.clone(), node.to_owned()));
                    // The lowest position is the least likely to be published again.
                    if digests.len() > POSITIONS {
                        digests.pop_first();
                    }
                }
                // A node cannot differ from itself; repeated readings of an idle shard are not counted.
                Some((_, source)) if source == node => {}
                Some((known, _)) if known == digest => self.compared += 1,
                Some((known, source)) => differences.push(format!(
                    "shard {shard} at {}: {known} at {source}, {digest} at {node}",
                    local.applied
                )),
            }
        }
        differences
    }

    /// Compares repeatedly, until it is dropped.
    pub(crate) async fn watch(&mut self, common: &SharedRun, nodes: &[String]) -> std::convert::Infallible {
        loop {
            self.look(common, nodes).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every shard has all replicas at one position, and compares them. Different positions after
    /// `patience` are a violation.
    ///
    /// Must be called when nothing is written any more. Returns the reason if no comparison was possible.
    pub(crate) async fn finish(
        &mut self,
        common: &SharedRun,
        nodes: &[String],
        patience: Duration,
    ) -> Option<String> {
        let began = Instant::now();
        loop {
            let why = match self.look(common, nodes).await {
                CompareProgress::Same => return None,
                CompareProgress::Missing => {
                    return Some("the nodes report no digests of their replicas".to_owned());
                }
                CompareProgress::Apart(why) => why,
            };
            let late = began.elapsed() > patience;
            {
                let oracle = &mut common.context.borrow_mut().oracle;
                if late {
                    let detail = format!("the replicas could not be compared within {patience:?}: {why}");
                    oracle.violate(ViolationKind::Wedged, None, None, 0, detail);
                }
                if oracle.counts().violations > 0 {
                    return None;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn look(&mut self, common: &SharedRun, nodes: &[String]) -> CompareProgress {
        // Concurrently: readings of the same moment are most likely to have equal positions.
        let views = join_all(nodes.iter().map(|node| http::get(node, "/v1/cluster"))).await;
        let views: Vec<Option<ReplicaView>> = views
            // A node that does not answer has no view, which is no difference.
            .into_iter()
            .map(|body| serde_json::from_str(&body.ok()?).ok())
            .collect();
        let before = self.compared;
        let mut differences = Vec::new();
        for (node, view) in nodes.iter().zip(&views) {
            differences.extend(view.iter().flat_map(|view| self.compare(node, view)));
        }
        let oracle = &mut common.context.borrow_mut().oracle;
        oracle.replicas_compared(self.compared - before);
        for detail in differences {
            oracle.violate(ViolationKind::ReplicasDiffer, None, None, 0, detail);
        }
        progress(nodes, &views)
    }
}

/// Returns the progress of all replicas.
fn progress(nodes: &[String], views: &[Option<ReplicaView>]) -> CompareProgress {
    let locals = views.iter().flatten().flat_map(ReplicaView::locals);
    if !locals.clone().any(|(_, local)| local.digest.is_some()) {
        return CompareProgress::Missing;
    }
    if let Some((node, _)) = nodes.iter().zip(views).find(|(_, view)| view.is_none()) {
        return CompareProgress::Apart(format!("{node} does not respond"));
    }
    let mut positions: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (shard, local) in locals {
        positions.entry(shard).or_default().insert(local.applied);
    }
    match positions.iter().find(|(_, positions)| positions.len() > 1) {
        Some((shard, positions)) => {
            CompareProgress::Apart(format!("shard {shard} has replicas at {positions:?}"))
        }
        None => CompareProgress::Same,
    }
}

// === impl ReplicaView ===

impl ReplicaView {
    fn locals(&self) -> impl Iterator<Item = (String, &LocalReplica)> + Clone {
        let all = self.shards.iter().chain(&self.meta);
        all.filter_map(|shard| Some((shard.shard.to_string(), shard.local.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shard: u32, applied: u64, digest: &str) -> ReplicaView {
        let text = format!(
            r#"{{"shards":[{{"shard":{shard},"owner":1,"local":{{"role":"leader","applied":{applied},"digest":"{digest}"}}}},
                {{"shard":9}}],"meta":{{"shard":"meta","local":{{"applied":1,"digest":"m"}}}},"nodes":[]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_replicas_at_one_position_are_compared() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.compare("a", &view(0, 7, "x")), [""; 0]);
        assert_eq!(replicas.compare("b", &view(0, 8, "y")), [""; 0]);
        assert_eq!(replicas.compare("b", &view(1, 7, "z")), [""; 0]);
        assert_eq!(replicas.compare("c", &view(0, 7, "x")), [""; 0]);
        let differences = replicas.compare("c", &view(0, 8, "x"));
        assert_eq!(differences.len(), 1);
        assert!(differences[0].contains("shard 0 at 8"), "{differences:?}");
        assert_eq!(replicas.compared, 5, "meta is compared, too");
    }

    #[test]
    fn a_final_comparison_waits_for_equal_positions() {
        let nodes = ["a", "b"].map(str::to_owned);
        let got = |views: [Option<ReplicaView>; 2]| progress(&nodes, &views);
        assert_eq!(
            got([Some(view(0, 7, "x")), Some(view(0, 7, "x"))]),
            CompareProgress::Same
        );
        assert!(matches!(
            got([Some(view(0, 7, "x")), Some(view(0, 8, "x"))]),
            CompareProgress::Apart(why) if why.contains("[7, 8]") || why.contains("{7, 8}")
        ));
        assert!(matches!(
            got([Some(view(0, 7, "x")), None]),
            CompareProgress::Apart(_)
        ));
        let silent = || Some(ReplicaView::default());
        assert_eq!(got([silent(), silent()]), CompareProgress::Missing);
        assert_eq!(got([None, None]), CompareProgress::Missing);
    }
}
