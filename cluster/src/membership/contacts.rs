//! Addresses of members that the map does not name, or not yet: a cluster whose nodes changed their addresses meets
//! again by them.
//!
//! A member's address in the map changes by an entry in the meta group's log, which needs a majority that can reach each
//! other. After all nodes, or a majority, came back with new addresses there is none. So the map's addresses, those of
//! `cluster.join` and those that visited members name are *hints*, at every start: a hint is visited, and the node that
//! listens there says its number and its address. Only what a member says about itself is dialled in place of the
//! map's address; what it says about others is one more hint. Consul (`retry_join`) and etcd (discovery by peer URLs,
//! identity by member id) separate addresses from identity in the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::node::Node;
use crate::ownership::announce::Method;
use crate::seldom::Seldom;
use crate::shard::map::Map;
use crate::types::NodeId;

/// Pause between two rounds of visits while some member is out of reach. A round costs one connection per hint.
const ROUND: Duration = Duration::from_secs(2);
/// Longest time for one visit.
const VISIT: Duration = Duration::from_secs(2);
/// A member that is out of reach for longer is worth a line in the log.
const IN_VAIN: Duration = Duration::from_secs(30);
/// Pause between two such lines.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Most hints kept beside those of the map and the configuration: no member can fill another one's memory.
const HINTS: usize = 64;

/// Addresses that members named themselves, and hints.
#[derive(Default)]
pub(crate) struct Contacts {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Of a member: the address that it named, and the one that the map had then.
    named: BTreeMap<NodeId, Named>,
    hints: BTreeSet<String>,
}

struct Named {
    addr: String,
    map_addr: String,
}

/// A node's answer to a visit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    pub(crate) cluster: u64,
    pub(crate) node: NodeId,
    /// Where the node can be reached.
    pub(crate) addr: String,
    /// Where it reaches, or tries to reach, the other members.
    pub(crate) others: Vec<String>,
}

// === impl Contacts ===

impl Contacts {
    /// Takes the address that a member named as its own. Returns whether it is to be dialled there from now on, and was
    /// not before.
    pub(crate) fn name(&self, node: NodeId, addr: &str, map: &Map) -> bool {
        let Some(info) = map.nodes.get(&node) else {
            return false;
        };
        let mut known = self.known.lock();
        if addr.is_empty() || info.addr == addr {
            // The map is right again, or was all the time.
            return known.named.remove(&node).is_some();
        }
        if known.named.get(&node).is_some_and(|named| named.addr == addr) {
            return false;
        }
        let named = Named {
            addr: addr.to_owned(),
            map_addr: info.addr.clone(),
        };
        known.named.insert(node, named);
        true
    }

    /// Keeps addresses at which members may be.
    pub(crate) fn hint(&self, addresses: impl IntoIterator<Item = String>) {
        let mut known = self.known.lock();
        for addr in addresses {
            if known.hints.len() < HINTS {
                known.hints.insert(addr);
            }
        }
    }

    /// Returns where each member is to be dialled. A changed address in the map counts more than one named before.
    pub(crate) fn dialled(&self, map: &Map) -> Vec<(NodeId, String)> {
        let mut known = self.known.lock();
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

    /// Returns every address at which a member may be, `me` left out.
    fn all_hints(&self, map: &Map, join: &[String], me: &str) -> BTreeSet<String> {
        let mut hints: BTreeSet<String> = join.iter().cloned().collect();
        hints.extend(map.nodes.values().map(|info| info.addr.clone()));
        hints.extend(self.dialled(map).into_iter().map(|(_, addr)| addr));
        hints.extend(self.known.lock().hints.iter().cloned());
        hints.remove(me);
        hints
    }
}

// === impl Node ===

impl Node {
    /// Returns what this node says to a visitor.
    pub(crate) fn introduction(&self) -> Introduction {
        let dialled = self.contacts.dialled(&self.map());
        Introduction {
            cluster: self.cluster(),
            node: self.id(),
            addr: self.config.advertise.clone(),
            others: dialled
                .into_iter()
                .filter(|(node, _)| *node != self.id())
                .map(|(_, addr)| addr)
                .collect(),
        }
    }

    /// Dials a member where it says it is.
    pub(crate) fn named_address(self: &Arc<Node>, member: NodeId, addr: &str) {
        if member != self.id() && self.contacts.name(member, addr, &self.map()) {
            tracing::info!(%member, addr, "a member has another address than the map says");
            self.dial_peers();
        }
    }

    fn reaches_all(&self) -> bool {
        self.others().into_iter().all(|peer| self.health.is_up(peer))
    }

    async fn visit(self: &Arc<Node>, addr: &str) {
        let answer = self
            .transport()
            .call_addr(addr, Method::Who as u16, Bytes::new(), VISIT)
            .await;
        let Ok(answer) = answer else { return };
        let Ok(met) = postcard::from_bytes::<Introduction>(&answer) else {
            return;
        };
        if met.cluster == self.cluster() {
            self.named_address(met.node, &met.addr);
            self.contacts.hint(met.others);
        }
    }
}

/// Visits hints while some member is out of reach, until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let in_vain = Seldom::every(LOG_EVERY);
    loop {
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = node.stopping().cancelled() => return,
        }
        if node.removed() {
            return;
        }
        if node.reaches_all() {
            continue;
        }
        let hints = node
            .contacts
            .all_hints(&node.map(), &node.config.join, &node.config.advertise);
        let visits = hints.iter().map(|addr| node.visit(addr));
        tokio::select! {
            _ = futures::future::join_all(visits) => {}
            () = node.stopping().cancelled() => return,
        }
        report(&node, &hints, &in_vain);
    }
}

/// Logs the members that were dialled in vain for long, with where.
fn report(node: &Node, hints: &BTreeSet<String>, in_vain: &Seldom) {
    let dialled = node.contacts.dialled(&node.map());
    let long: Vec<String> = dialled
        .into_iter()
        .filter(|(peer, _)| node.health.down_for(*peer).is_some_and(|down| down >= IN_VAIN))
        .map(|(peer, addr)| format!("{peer} at {addr}"))
        .collect();
    if !long.is_empty()
        && let Some(held_back) = in_vain.due()
    {
        tracing::warn!(members = ?long, visited = ?hints, held_back, "members dialled in vain");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::map::Change;

    fn map() -> Map {
        let mut map = Map::default();
        map.apply(Change::Create {
            cluster: 7,
            shards: 1,
            addr: "a:1".into(),
            zone: String::new(),
        });
        map.apply(Change::Join {
            ticket: 1,
            addr: "b:1".into(),
            zone: String::new(),
        });
        map
    }

    fn at(contacts: &Contacts, map: &Map, node: u64) -> String {
        let dialled = contacts.dialled(map).into_iter();
        dialled
            .filter(|(id, _)| *id == NodeId(node))
            .map(|(_, addr)| addr)
            .collect()
    }

    #[test]
    fn a_member_is_dialled_where_it_says_it_is() {
        let (contacts, map) = (Contacts::default(), map());
        assert!(contacts.name(NodeId(2), "b:2", &map));
        assert!(!contacts.name(NodeId(2), "b:2", &map), "nothing new");
        assert_eq!(at(&contacts, &map, 2), "b:2");
        assert!(contacts.name(NodeId(2), "b:1", &map), "back where the map says");
        assert_eq!(at(&contacts, &map, 2), "b:1");
        assert!(!contacts.name(NodeId(3), "c:1", &map), "no member");
    }

    #[test]
    fn a_newer_address_in_the_map_replaces_one_named_before() {
        let (contacts, mut map) = (Contacts::default(), map());
        contacts.name(NodeId(2), "b:2", &map);
        map.apply(Change::Move {
            node: NodeId(2),
            addr: "b:3".into(),
            zone: String::new(),
        });
        assert_eq!(at(&contacts, &map, 2), "b:3");
    }

    #[test]
    fn hints_come_from_the_map_the_configuration_and_visits_and_are_bounded() {
        let (contacts, map) = (Contacts::default(), map());
        contacts.hint((0..1000).map(|port| format!("x:{port}")));
        let hints = contacts.all_hints(&map, &["seed:1".into(), "me:1".into()], "me:1");
        assert!(hints.contains("seed:1") && hints.contains("a:1") && hints.contains("b:1"));
        assert!(!hints.contains("me:1"));
        assert_eq!(hints.len(), HINTS + 3);
    }
}
