//! Interest of all nodes in one shard, kept by the shard owner: soft state, lost with the epoch.
//!
//! A node *registers* the conversations with subscribers and the users with sessions on it. Each delivery to it carries
//! a delivery seq (`fo`), +1 per registration, so the node detects a lost one at the next. A node that suspects a loss
//! registers again, with the last seq it has of each conversation.

use std::collections::HashMap;

use cluster::NodeId;
use protocol::{ConversationId, UserId};
use smallvec::SmallVec;

/// Id of one registration of one node; chosen by that node and never reused.
pub(crate) type NodeRegistration = u64;

/// Interest of all nodes in one shard.
#[derive(Debug, Default)]
pub(crate) struct InterestTable {
    dests: Vec<Option<NodeInterest>>,
    convs: HashMap<ConversationId, NodeSlots>,
    users: HashMap<UserId, NodeSlots>,
}

/// Destination of a delivery with its delivery seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NumberedDelivery {
    pub(crate) node: NodeId,
    pub(crate) registration: NodeRegistration,
    /// Delivery seq; 1 for the first delivery of the registration.
    pub(crate) fo: u64,
}

type NodeSlots = SmallVec<[u16; 4]>;

#[derive(Debug)]
struct NodeInterest {
    node: NodeId,
    registration: NodeRegistration,
    fo: u64,
}

// === impl InterestTable ===

impl InterestTable {
    /// Adds to a node's registration. With `fresh` it replaces the node's earlier one. Otherwise false means that the
    /// registration is unknown here and nothing was added.
    #[must_use]
    pub(crate) fn register<'a>(
        &mut self,
        node: NodeId,
        registration: NodeRegistration,
        fresh: bool,
        convs: impl IntoIterator<Item = &'a ConversationId>,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> bool {
        let known = self.slot(node);
        let slot = match known {
            Some(slot) if self.registration(slot) == Some(registration) => slot,
            _ if !fresh => return false,
            _ => {
                // The old slot is cleared everywhere first: its number may be reused for this registration.
                self.forget(node);
                let dest = Some(NodeInterest {
                    node,
                    registration,
                    fo: 0,
                });
                // Free slots are reused, so that repeated registrations do not grow the table.
                let free = self
                    .dests
                    .iter()
                    .position(Option::is_none)
                    .unwrap_or(self.dests.len());
                if free == self.dests.len() {
                    self.dests.push(dest);
                } else {
                    self.dests[free] = dest;
                }
                free
            }
        };
        let slot = u16::try_from(slot).unwrap_or(u16::MAX);
        for conv in convs {
            add(&mut self.convs, conv, slot);
        }
        for user in users {
            add(&mut self.users, user, slot);
        }
        true
    }

    /// Removes conversations without subscribers and users without sessions from a node's registration. An unknown
    /// registration is ignored.
    pub(crate) fn unregister(
        &mut self,
        node: NodeId,
        registration: NodeRegistration,
        convs: &[ConversationId],
        users: &[UserId],
    ) {
        // A late request of an earlier registration must not shrink the present one.
        let Some(slot) = self
            .slot(node)
            .filter(|slot| self.registration(*slot) == Some(registration))
        else {
            return;
        };
        let slot = u16::try_from(slot).unwrap_or(u16::MAX);
        for conv in convs {
            remove(&mut self.convs, conv, slot);
        }
        for user in users {
            remove(&mut self.users, user, slot);
        }
    }

    /// Removes all interest of a node, because its connection is down or it registers again.
    pub(crate) fn forget(&mut self, node: NodeId) {
        let Some(at) = self.slot(node) else { return };
        self.dests[at] = None;
        let slot = u16::try_from(at).unwrap_or(u16::MAX);
        for slots in [
            &mut self.convs.values_mut() as &mut dyn Iterator<Item = &mut NodeSlots>,
            &mut self.users.values_mut(),
        ] {
            for slots in slots {
                slots.retain(|known| *known != slot);
            }
        }
        self.convs.retain(|_, slots| !slots.is_empty());
        self.users.retain(|_, slots| !slots.is_empty());
    }

    /// Assigns a delivery seq for each node interested in the conversation.
    pub(crate) fn wanted(&mut self, conv: &ConversationId, each: impl FnMut(NumberedDelivery)) {
        if let Some(slots) = self.convs.get(conv) {
            number(&mut self.dests, slots, each);
        }
    }

    /// Assigns a delivery seq for each node with sessions of the user.
    pub(crate) fn wanted_by(&mut self, user: &UserId, each: impl FnMut(NumberedDelivery)) {
        if let Some(slots) = self.users.get(user) {
            number(&mut self.dests, slots, each);
        }
    }

    /// Skips a delivery seq for every node, so that all of them detect a gap and register again.
    pub(crate) fn skip(&mut self) {
        for dest in self.dests.iter_mut().flatten() {
            dest.fo += 1;
        }
    }

    /// Returns the last delivery seq of every registration.
    pub(crate) fn positions(&self) -> impl Iterator<Item = NumberedDelivery> + '_ {
        let dests = self.dests.iter().flatten();
        dests.map(|dest| NumberedDelivery {
            node: dest.node,
            registration: dest.registration,
            fo: dest.fo,
        })
    }

    /// Number of conversations with an interested node.
    #[cfg(test)]
    fn conversations(&self) -> usize {
        self.convs.len()
    }

    fn slot(&self, node: NodeId) -> Option<usize> {
        self.dests
            .iter()
            .position(|dest| dest.as_ref().is_some_and(|dest| dest.node == node))
    }

    fn registration(&self, slot: usize) -> Option<NodeRegistration> {
        self.dests.get(slot)?.as_ref().map(|dest| dest.registration)
    }
}

fn number(dests: &mut [Option<NodeInterest>], slots: &NodeSlots, mut each: impl FnMut(NumberedDelivery)) {
    for slot in slots {
        if let Some(Some(dest)) = dests.get_mut(usize::from(*slot)) {
            dest.fo += 1;
            each(NumberedDelivery {
                node: dest.node,
                registration: dest.registration,
                fo: dest.fo,
            });
        }
    }
}

fn add<K: Clone + Eq + std::hash::Hash>(map: &mut HashMap<K, NodeSlots>, key: &K, slot: u16) {
    match map.get_mut(key) {
        Some(slots) if slots.contains(&slot) => {}
        Some(slots) => slots.push(slot),
        None => {
            map.insert(key.clone(), SmallVec::from_slice(&[slot]));
        }
    }
}

fn remove<K: Eq + std::hash::Hash>(map: &mut HashMap<K, NodeSlots>, key: &K, slot: u16) {
    if let Some(slots) = map.get_mut(key) {
        slots.retain(|known| *known != slot);
        if slots.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(text: &str) -> ConversationId {
        ConversationId::parse(text).unwrap()
    }

    fn wanted(interest: &mut InterestTable, text: &str) -> Vec<(u64, u64, u64)> {
        let mut out = Vec::new();
        interest.wanted(&conv(text), |to| out.push((to.node.0, to.registration, to.fo)));
        out
    }

    #[test]
    fn deliveries_are_numbered_per_registration() {
        let mut interest = InterestTable::default();
        assert!(interest.register(NodeId(1), 7, true, [&conv("a"), &conv("b")], []));
        assert!(interest.register(NodeId(2), 8, true, [&conv("b")], []));
        assert_eq!(wanted(&mut interest, "a"), [(1, 7, 1)]);
        assert_eq!(wanted(&mut interest, "b"), [(1, 7, 2), (2, 8, 1)]);
        assert!(interest.register(NodeId(1), 7, false, [&conv("c")], []));
        assert_eq!(wanted(&mut interest, "c"), [(1, 7, 3)]);
    }

    #[test]
    fn a_fresh_registration_replaces_the_old_one() {
        let mut interest = InterestTable::default();
        let user = UserId::parse("u").unwrap();
        assert!(interest.register(NodeId(1), 7, true, [&conv("a")], [&user]));
        assert!(interest.register(NodeId(1), 9, true, [&conv("b")], []));
        assert_eq!(wanted(&mut interest, "a"), []);
        assert_eq!(wanted(&mut interest, "b"), [(1, 9, 1)]);
        interest.wanted_by(&user, |_| panic!("the new registration doesn't name the user"));
        interest.unregister(NodeId(1), 7, &[conv("b")], &[]);
        assert_eq!(
            wanted(&mut interest, "b"),
            [(1, 9, 2)],
            "the old one has no say any more"
        );
    }

    #[test]
    fn adding_to_an_unknown_registration_is_refused() {
        let mut interest = InterestTable::default();
        assert!(!interest.register(NodeId(1), 7, false, [&conv("a")], []));
        assert!(interest.register(NodeId(1), 7, true, [&conv("a")], []));
        interest.forget(NodeId(1));
        assert!(!interest.register(NodeId(1), 7, false, [&conv("a")], []));
        assert_eq!(interest.conversations(), 0);
    }

    #[test]
    fn a_skipped_number_is_a_gap_for_all() {
        let mut interest = InterestTable::default();
        assert!(interest.register(NodeId(1), 7, true, [&conv("a")], []));
        interest.skip();
        assert_eq!(wanted(&mut interest, "a"), [(1, 7, 2)]);
        assert_eq!(interest.positions().map(|to| to.fo).collect::<Vec<_>>(), [2]);
    }
}
