//! Addresses of members beyond the cluster map, so that a cluster reconnects after its nodes changed their addresses.
//!
//! A member's address in the map changes by an entry in the meta group's log, which needs a majority of connected
//! members. If all nodes, or a majority, restart with new addresses, there is none. Therefore the addresses of the map,
//! of `cluster.seeds` and those reported by contacted members are *hints*. Each hint is contacted with a single call,
//! and the node at that address returns its id and its own address. Only an address that a member reports of itself is
//! dialled in place of the map's; the addresses that it reports of others become hints.
//!
//! Consul (`retry_join`) and etcd (discovery by peer URLs, identity by member id) separate addresses from identity in
//! the same way. See `docs/decisions/0020-addresses-are-hints.md`.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::shard::ClusterMap;

/// Maximum number of hints beyond those of the map and the configuration, so that no member can fill another's memory.
const HINTS: usize = 64;

/// Addresses that members reported of themselves, and hints.
#[derive(Default)]
pub(crate) struct PeerContacts {
    known: Mutex<KnownContacts>,
}

#[derive(Default)]
struct KnownContacts {
    /// Per member the reported address, and the map's address at that time.
    named: BTreeMap<NodeId, NamedContact>,
    hints: BTreeSet<String>,
}

struct NamedContact {
    addr: String,
    map_addr: String,
}

/// Identity of a node, returned to a caller that has only an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) cluster: u64,
    pub(crate) node: NodeId,
    /// Address of the node for other nodes.
    pub(crate) addr: String,
    /// Addresses at which the node dials the other members.
    pub(crate) others: Vec<String>,
}

// === impl PeerContacts ===

impl PeerContacts {
    /// Records the address that a member reported as its own. Returns true if the address to dial has changed.
    pub(crate) fn name(&self, node: NodeId, addr: &str, map: &ClusterMap) -> bool {
        let Some(info) = map.nodes.get(&node) else {
            return false;
        };
        let mut known = self.known.lock();
        if addr.is_empty() || info.addr == addr {
            // The map's address is correct, so a recorded one is obsolete.
            return known.named.remove(&node).is_some();
        }
        // Announcements repeat the address every second: only a change may break the connections.
        if known.named.get(&node).is_some_and(|named| named.addr == addr) {
            return false;
        }
        let named = NamedContact {
            addr: addr.to_owned(),
            map_addr: info.addr.clone(),
        };
        known.named.insert(node, named);
        true
    }

    /// Records addresses at which members may be reachable; ignores new ones beyond [`HINTS`].
    pub(crate) fn hint(&self, addresses: impl IntoIterator<Item = String>) {
        let mut known = self.known.lock();
        for addr in addresses {
            if known.hints.len() < HINTS {
                known.hints.insert(addr);
            }
        }
    }

    /// Returns the address to dial for each member. A changed address in the map supersedes one reported before the
    /// change.
    pub(crate) fn dialled(&self, map: &ClusterMap) -> Vec<(NodeId, String)> {
        let mut known = self.known.lock();
        // An address reported before the map changed is older than the map's.
        known.named.retain(|node, named| {
            map.nodes
                .get(node)
                .is_some_and(|info| info.addr == named.map_addr)
        });
        map.nodes
            .values()
            .map(|info| {
                let named = known.named.get(&info.id).map(|named| &named.addr);
                (info.id, named.unwrap_or(&info.addr).clone())
            })
            .collect()
    }

    /// Returns every address at which a member may be reachable, except `me`.
    pub(crate) fn all_hints(&self, map: &ClusterMap, seeds: &[String], me: &str) -> BTreeSet<String> {
        let mut hints: BTreeSet<String> = seeds.iter().cloned().collect();
        hints.extend(map.nodes.values().map(|info| info.addr.clone()));
        hints.extend(self.dialled(map).into_iter().map(|(_, addr)| addr));
        hints.extend(self.known.lock().hints.iter().cloned());
        hints.remove(me);
        hints
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FeatureLevel;
    use crate::shard::MapChange;

    fn map() -> ClusterMap {
        let mut map = ClusterMap::default();
        map.apply(MapChange::Create {
            cluster: 7,
            shards: 1,
            addr: "a:1".into(),
            zone: String::new(),
            supported_level: FeatureLevel(1),
        });
        map.apply(MapChange::Join {
            ticket: 1,
            addr: "b:1".into(),
            zone: String::new(),
            supported_level: FeatureLevel(1),
        });
        map
    }

    fn at(contacts: &PeerContacts, map: &ClusterMap, node: u64) -> String {
        let dialled = contacts.dialled(map).into_iter();
        dialled
            .filter(|(id, _)| *id == NodeId(node))
            .map(|(_, addr)| addr)
            .collect()
    }

    #[test]
    fn a_member_is_dialled_where_it_says_it_is() {
        let (contacts, map) = (PeerContacts::default(), map());
        assert!(contacts.name(NodeId(2), "b:2", &map));
        assert!(!contacts.name(NodeId(2), "b:2", &map), "nothing new");
        assert_eq!(at(&contacts, &map, 2), "b:2");
        assert!(contacts.name(NodeId(2), "b:1", &map), "back where the map says");
        assert_eq!(at(&contacts, &map, 2), "b:1");
        assert!(!contacts.name(NodeId(3), "c:1", &map), "no member");
    }

    #[test]
    fn a_newer_address_in_the_map_replaces_one_named_before() {
        let (contacts, mut map) = (PeerContacts::default(), map());
        contacts.name(NodeId(2), "b:2", &map);
        map.apply(MapChange::Move {
            node: NodeId(2),
            addr: "b:3".into(),
            zone: String::new(),
            supported_level: FeatureLevel(1),
        });
        assert_eq!(at(&contacts, &map, 2), "b:3");
    }

    #[test]
    fn hints_merge_map_configuration_and_visits_and_are_bounded() {
        let (contacts, map) = (PeerContacts::default(), map());
        contacts.hint((0..1000).map(|port| format!("x:{port}")));
        let hints = contacts.all_hints(&map, &["seed:1".into(), "me:1".into()], "me:1");
        assert!(hints.contains("seed:1") && hints.contains("a:1") && hints.contains("b:1"));
        assert!(!hints.contains("me:1"));
        assert_eq!(hints.len(), HINTS + 3);
    }
}
