//! Whether the replicas of each shard are the same: every node tells of each of its replicas how far it has applied the
//! log, and a digest of what that did. At the same place two of them are the same, or they differ for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use crate::client::Common;
use crate::http;
use crate::oracle::Kind;

/// What all nodes have told, and what came of comparing it.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    shards: BTreeMap<String, Digests>,
    /// Pairs of digests that were compared.
    compared: u64,
}

/// The digests of one shard, by the place in its log, and who told each first.
type Digests = BTreeMap<u64, (String, String)>;

/// `GET /v1/cluster`, as far as it is about replicas.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct View {
    shards: Vec<Shard>,
    meta: Option<Shard>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Shard {
    /// A number, or a name.
    shard: Value,
    local: Option<Local>,
}

#[derive(Deserialize, Debug, Default)]
#[serde(default)]
struct Local {
    applied: u64,
    digest: Option<String>,
}

/// How far a final comparison got.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Progress {
    /// All replicas of all shards are at one place each, and the same there.
    Same,
    /// Some are not at the same place yet, or a node doesn't answer.
    Apart(String),
    /// No node tells digests: they are of another build, or want to be asked by an operator.
    Missing,
}

/// How many places of each shard are remembered.
const POSITIONS: usize = 1024;
/// The pause between two looks while there is a load.
const PAUSE: Duration = Duration::from_millis(700);

// === impl Replicas ===

impl Replicas {
    /// Compares what one node tells. Returns what differs.
    fn compare(&mut self, node: &str, view: &View) -> Vec<String> {
        let mut differences = Vec::new();
        for (shard, local) in view.locals() {
            let Some(digest) = &local.digest else { continue };
            let digests = self.shards.entry(shard.clone()).or_default();
            match digests.get(&local.applied) {
                None => {
                    digests.insert(local.applied, (digest.clone(), node.to_owned()));
                    if digests.len() > POSITIONS {
                        digests.pop_first();
                    }
                }
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

    /// Looks again and again; for as long as it is wanted.
    pub(crate) async fn watch(&mut self, common: &Common, nodes: &[String]) -> std::convert::Infallible {
        loop {
            self.look(common, nodes).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// When nothing is written any more, every replica of every shard comes to one place and is the same there. What
    /// doesn't within `patience` is a violation. Returns why nothing could be compared at all, if so.
    pub(crate) async fn finish(
        &mut self,
        common: &Common,
        nodes: &[String],
        patience: Duration,
    ) -> Option<String> {
        let began = Instant::now();
        loop {
            let why = match self.look(common, nodes).await {
                Progress::Same => return None,
                Progress::Missing => return Some("the nodes tell no digests of their replicas".to_owned()),
                Progress::Apart(why) => why,
            };
            let late = began.elapsed() > patience;
            {
                let oracle = &mut common.world.borrow_mut().oracle;
                if late {
                    let detail = format!("the replicas could not be compared within {patience:?}: {why}");
                    oracle.violate(Kind::Wedged, None, None, 0, detail);
                }
                if oracle.counts().violations > 0 {
                    return None;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn look(&mut self, common: &Common, nodes: &[String]) -> Progress {
        let views = join_all(nodes.iter().map(|node| http::get(node, "/v1/cluster"))).await;
        let views: Vec<Option<View>> = views
            .into_iter()
            .map(|body| serde_json::from_str(&body.ok()?).ok())
            .collect();
        let before = self.compared;
        let mut differences = Vec::new();
        for (node, view) in nodes.iter().zip(&views) {
            differences.extend(view.iter().flat_map(|view| self.compare(node, view)));
        }
        let oracle = &mut common.world.borrow_mut().oracle;
        oracle.replicas_compared(self.compared - before);
        for detail in differences {
            oracle.violate(Kind::ReplicasDiffer, None, None, 0, detail);
        }
        progress(nodes, &views)
    }
}

/// How far all of them are.
fn progress(nodes: &[String], views: &[Option<View>]) -> Progress {
    let locals = views.iter().flatten().flat_map(View::locals);
    if !locals.clone().any(|(_, local)| local.digest.is_some()) {
        return Progress::Missing;
    }
    if let Some((node, _)) = nodes.iter().zip(views).find(|(_, view)| view.is_none()) {
        return Progress::Apart(format!("{node} doesn't answer"));
    }
    let mut places: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (shard, local) in locals {
        places.entry(shard).or_default().insert(local.applied);
    }
    match places.iter().find(|(_, places)| places.len() > 1) {
        Some((shard, places)) => Progress::Apart(format!("shard {shard} has replicas at {places:?}")),
        None => Progress::Same,
    }
}

// === impl View ===

impl View {
    fn locals(&self) -> impl Iterator<Item = (String, &Local)> + Clone {
        let all = self.shards.iter().chain(&self.meta);
        all.filter_map(|shard| Some((shard.shard.to_string(), shard.local.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shard: u32, applied: u64, digest: &str) -> View {
        let text = format!(
            r#"{{"shards":[{{"shard":{shard},"owner":1,"local":{{"role":"leader","applied":{applied},"digest":"{digest}"}}}},
                {{"shard":9}}],"meta":{{"shard":"meta","local":{{"applied":1,"digest":"m"}}}},"nodes":[]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn replicas_that_differ_at_one_place_are_caught_and_those_at_different_places_are_not_compared() {
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
    fn a_final_comparison_waits_for_everybody_at_one_place() {
        let nodes = ["a", "b"].map(str::to_owned);
        let got = |views: [Option<View>; 2]| progress(&nodes, &views);
        assert_eq!(
            got([Some(view(0, 7, "x")), Some(view(0, 7, "x"))]),
            Progress::Same
        );
        assert!(matches!(
            got([Some(view(0, 7, "x")), Some(view(0, 8, "x"))]),
            Progress::Apart(why) if why.contains("[7, 8]") || why.contains("{7, 8}")
        ));
        assert!(matches!(got([Some(view(0, 7, "x")), None]), Progress::Apart(_)));
        let silent = || Some(View::default());
        assert_eq!(got([silent(), silent()]), Progress::Missing);
        assert_eq!(got([None, None]), Progress::Missing);
    }
}
