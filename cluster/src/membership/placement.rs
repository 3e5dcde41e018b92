//! Placement of replicas: a pure function of the members.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1996) ranks the members for each shard. A new member therefore gets a
//! fair share from all others, and a removed one leaves its share to all others. Beyond the ranking, two replicas avoid
//! one zone, and no member holds more than its share if that is possible. The function only proposes; the cluster map
//! in the meta group decides.

use std::collections::{BTreeMap, BTreeSet};

use storage::ShardId;

use crate::ids::{META_SHARD, NodeId, NodeInfo};
use crate::shard::{ClusterMap, Placement};

/// Returns the placement for the members of a map, without those that hold no replicas, and with the owners that
/// operators chose.
#[must_use]
pub(crate) fn placement_of(map: &ClusterMap, replication: usize) -> (Vec<Placement>, Placement) {
    let holders: Vec<NodeInfo> = map.holders().cloned().collect();
    let shards = u16::try_from(map.shards.len()).unwrap_or(u16::MAX);
    let (mut shards, mut meta) = assign(&holders, shards, replication);
    map.prefer_pinned(&mut shards, &mut meta);
    (shards, meta)
}

/// Places `shards` shards and the meta group, with `replication` replicas each, limited by the number of members.
fn assign(nodes: &[NodeInfo], shards: u16, replication: usize) -> (Vec<Placement>, Placement) {
    let replication = replication.min(nodes.len());
    let share = (usize::from(shards) * replication).div_ceil(nodes.len().max(1));
    let mut held: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut placed = Vec::with_capacity(usize::from(shards));
    for shard in (0..shards).map(ShardId) {
        let replicas = choose(nodes, shard, replication, |node| {
            held.get(&node).copied().unwrap_or(0) < share
        });
        for &node in &replicas {
            *held.entry(node).or_default() += 1;
        }
        placed.push(with_preferred(replicas, &mut led));
    }
    // The meta group has no share: one more replica does not matter.
    let meta = with_preferred(choose(nodes, META_SHARD, replication, |_| true), &mut led);
    (placed, meta)
}

/// Returns the best-ranked members: first those with room in unused zones, then any in unused zones, then any.
fn choose(
    nodes: &[NodeInfo],
    shard: ShardId,
    count: usize,
    has_room: impl Fn(NodeId) -> bool,
) -> Vec<NodeId> {
    let mut ranked: Vec<&NodeInfo> = nodes.iter().collect();
    // The id breaks ties: every node must compute the same ranking.
    ranked.sort_by_key(|node| std::cmp::Reverse((score(shard, node.id), node.id)));
    let mut chosen: Vec<NodeId> = Vec::with_capacity(count);
    let mut zones: BTreeSet<&str> = BTreeSet::new();
    // Each pass relaxes one rule: a replica in a used zone is better than a missing one.
    for strictness in 0..3 {
        for node in &ranked {
            let zone_is_free = node.zone.is_empty() || !zones.contains(node.zone.as_str());
            let fits = match strictness {
                0 => zone_is_free && has_room(node.id),
                1 => zone_is_free,
                _ => true,
            };
            if chosen.len() < count && fits && !chosen.contains(&node.id) {
                chosen.push(node.id);
                zones.insert(&node.zone);
            }
        }
    }
    chosen
}

/// Prefers the replica that leads the fewest shards so far, among equals the best-ranked.
fn with_preferred(replicas: Vec<NodeId>, led: &mut BTreeMap<NodeId, usize>) -> Placement {
    let preferred = replicas
        .iter()
        .copied()
        .min_by_key(|node| led.get(node).copied().unwrap_or(0));
    let preferred = preferred.unwrap_or_default();
    *led.entry(preferred).or_default() += 1;
    Placement { replicas, preferred }
}

fn score(shard: ShardId, node: NodeId) -> u64 {
    // Another hash or byte order would move nearly every replica of a running cluster.
    let mut key = [0; 10];
    key[..2].copy_from_slice(&shard.0.to_be_bytes());
    key[2..].copy_from_slice(&node.0.to_be_bytes());
    xxhash_rust::xxh3::xxh3_64(&key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(zones: &[&str]) -> Vec<NodeInfo> {
        (1..)
            .zip(zones)
            .map(|(id, zone)| NodeInfo {
                supported_level: crate::ids::FeatureLevel(1),
                id: NodeId(id),
                addr: String::new(),
                zone: (*zone).to_owned(),
            })
            .collect()
    }

    #[test]
    fn one_member_holds_everything() {
        let (shards, meta) = assign(&members(&[""]), 8, 3);
        assert!(
            shards
                .iter()
                .chain([&meta])
                .all(|p| p.replicas == [NodeId(1)] && p.preferred == NodeId(1))
        );
    }

    #[test]
    fn two_replicas_avoid_one_zone() {
        let nodes = members(&["a", "a", "b", "b", "c"]);
        let zone = |id: &NodeId| nodes.iter().find(|n| n.id == *id).unwrap().zone.clone();
        let (shards, _) = assign(&nodes, 64, 3);
        for placement in shards {
            let zones: BTreeSet<String> = placement.replicas.iter().map(zone).collect();
            assert_eq!(zones.len(), 3, "{placement:?}");
        }
    }

    #[test]
    fn a_fifth_member_moves_about_its_share_and_no_more() {
        let before = assign(&members(&[""; 4]), 64, 3).0;
        let after = assign(&members(&[""; 5]), 64, 3).0;
        let moved: usize = before
            .iter()
            .zip(&after)
            .map(|(b, a)| {
                a.replicas
                    .iter()
                    .filter(|node| !b.replicas.contains(node))
                    .count()
            })
            .sum();
        let fair = 64 * 3 / 5;
        assert!(moved < fair * 2, "{moved} replicas moved, a fair share is {fair}");
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_and_leaders_are_balanced(
            count in 1..9_usize, shards in 1..65_u16, replication in 1..6_usize,
        ) {
            let nodes = members(&vec![""; count]);
            let (placed, meta) = assign(&nodes, shards, replication);
            let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
            for placement in placed.iter().chain([&meta]) {
                let distinct: BTreeSet<_> = placement.replicas.iter().collect();
                prop_assert_eq!(distinct.len(), replication.min(count));
                prop_assert!(placement.replicas.contains(&placement.preferred));
                *led.entry(placement.preferred).or_default() += 1;
            }
            if replication >= count {
                let most = led.values().max().copied().unwrap_or(0);
                prop_assert!(most <= (usize::from(shards) + 1).div_ceil(count) + 1);
            }
        }
    }
}
