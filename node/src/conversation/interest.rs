//! Which nodes want what of one shard, at its owner: soft state, lost with the epoch.
//!
//! A node *registers*: it says which conversations it has subscribers in and which users it has sessions of. What the
//! owner then delivers to it is numbered +1 per registration (`fo`), so the node sees at the next number whether
//! anything was lost on the way. Its answer to any doubt is the same: register anew, with the last event it has of
//! each conversation.

use std::collections::HashMap;

use cluster::NodeId;
use protocol::{ConvId, UserId};
use smallvec::SmallVec;

/// Names one registration of one node; drawn by that node, never used again.
pub(crate) type Registration = u64;

/// The interest of all nodes in one shard.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    dests: Vec<Option<Dest>>,
    convs: HashMap<ConvId, Slots>,
    users: HashMap<UserId, Slots>,
}

/// Where to send, and under which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// The node.
    pub(crate) node: NodeId,
    /// Its registration.
    pub(crate) registration: Registration,
    /// Number of this delivery: 1 for the first.
    pub(crate) fo: u64,
}

type Slots = SmallVec<[u16; 4]>;

#[derive(Debug)]
struct Dest {
    node: NodeId,
    registration: Registration,
    fo: u64,
}

// === impl Interest ===

impl Interest {
    /// Adds to a node's registration. A `fresh` one replaces the node's earlier one; otherwise `false` says that the
    /// registration is not known here and nothing was added.
    #[must_use]
    pub(crate) fn register<'a>(
        &mut self,
        node: NodeId,
        registration: Registration,
        fresh: bool,
        convs: impl IntoIterator<Item = &'a ConvId>,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> bool {
        let known = self.slot(node);
        let slot = match known {
            Some(slot) if self.registration(slot) == Some(registration) => slot,
            _ if !fresh => return false,
            _ => {
                self.forget(node);
                let dest = Some(Dest {
                    node,
                    registration,
                    fo: 0,
                });
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

    /// Takes out of a node's registration what it has no subscribers or sessions of any more.
    pub(crate) fn unregister(
        &mut self,
        node: NodeId,
        registration: Registration,
        convs: &[ConvId],
        users: &[UserId],
    ) {
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

    /// Forgets a node: its link is down, or it registers anew.
    pub(crate) fn forget(&mut self, node: NodeId) {
        let Some(at) = self.slot(node) else { return };
        self.dests[at] = None;
        let slot = u16::try_from(at).unwrap_or(u16::MAX);
        for slots in [
            &mut self.convs.values_mut() as &mut dyn Iterator<Item = &mut Slots>,
            &mut self.users.values_mut(),
        ] {
            for slots in slots {
                slots.retain(|known| *known != slot);
            }
        }
        self.convs.retain(|_, slots| !slots.is_empty());
        self.users.retain(|_, slots| !slots.is_empty());
    }

    /// Numbers a delivery for each node that wants the conversation.
    pub(crate) fn wanted(&mut self, conv: &ConvId, each: impl FnMut(Numbered)) {
        if let Some(slots) = self.convs.get(conv) {
            number(&mut self.dests, slots, each);
        }
    }

    /// Numbers a notice for each node that has sessions of the user.
    pub(crate) fn wanted_by(&mut self, user: &UserId, each: impl FnMut(Numbered)) {
        if let Some(slots) = self.users.get(user) {
            number(&mut self.dests, slots, each);
        }
    }

    /// Uses up a number for every node, so that all of them see a gap and register anew.
    pub(crate) fn skip(&mut self) {
        for dest in self.dests.iter_mut().flatten() {
            dest.fo += 1;
        }
    }

    /// The last number of every registration.
    pub(crate) fn positions(&self) -> impl Iterator<Item = Numbered> + '_ {
        let dests = self.dests.iter().flatten();
        dests.map(|dest| Numbered {
            node: dest.node,
            registration: dest.registration,
            fo: dest.fo,
        })
    }

    /// Conversations that some node wants.
    #[cfg(test)]
    fn conversations(&self) -> usize {
        self.convs.len()
    }

    fn slot(&self, node: NodeId) -> Option<usize> {
        self.dests
            .iter()
            .position(|dest| dest.as_ref().is_some_and(|dest| dest.node == node))
    }

    fn registration(&self, slot: usize) -> Option<Registration> {
        self.dests.get(slot)?.as_ref().map(|dest| dest.registration)
    }
}

fn number(dests: &mut [Option<Dest>], slots: &Slots, mut each: impl FnMut(Numbered)) {
    for slot in slots {
        if let Some(Some(dest)) = dests.get_mut(usize::from(*slot)) {
            dest.fo += 1;
            each(Numbered {
                node: dest.node,
                registration: dest.registration,
                fo: dest.fo,
            });
        }
    }
}

fn add<K: Clone + Eq + std::hash::Hash>(map: &mut HashMap<K, Slots>, key: &K, slot: u16) {
    match map.get_mut(key) {
        Some(slots) if slots.contains(&slot) => {}
        Some(slots) => slots.push(slot),
        None => {
            map.insert(key.clone(), SmallVec::from_slice(&[slot]));
        }
    }
}

fn remove<K: Eq + std::hash::Hash>(map: &mut HashMap<K, Slots>, key: &K, slot: u16) {
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

    fn conv(text: &str) -> ConvId {
        ConvId::parse(text).unwrap()
    }

    fn wanted(interest: &mut Interest, text: &str) -> Vec<(u64, u64, u64)> {
        let mut out = Vec::new();
        interest.wanted(&conv(text), |to| out.push((to.node.0, to.registration, to.fo)));
        out
    }

    #[test]
    fn deliveries_are_numbered_per_registration() {
        let mut interest = Interest::default();
        assert!(interest.register(NodeId(1), 7, true, [&conv("a"), &conv("b")], []));
        assert!(interest.register(NodeId(2), 8, true, [&conv("b")], []));
        assert_eq!(wanted(&mut interest, "a"), [(1, 7, 1)]);
        assert_eq!(wanted(&mut interest, "b"), [(1, 7, 2), (2, 8, 1)]);
        assert!(interest.register(NodeId(1), 7, false, [&conv("c")], []));
        assert_eq!(wanted(&mut interest, "c"), [(1, 7, 3)]);
    }

    #[test]
    fn a_fresh_registration_replaces_the_old_one() {
        let mut interest = Interest::default();
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
        let mut interest = Interest::default();
        assert!(!interest.register(NodeId(1), 7, false, [&conv("a")], []));
        assert!(interest.register(NodeId(1), 7, true, [&conv("a")], []));
        interest.forget(NodeId(1));
        assert!(!interest.register(NodeId(1), 7, false, [&conv("a")], []));
        assert_eq!(interest.conversations(), 0);
    }

    #[test]
    fn a_skipped_number_is_a_gap_for_all() {
        let mut interest = Interest::default();
        assert!(interest.register(NodeId(1), 7, true, [&conv("a")], []));
        interest.skip();
        assert_eq!(wanted(&mut interest, "a"), [(1, 7, 2)]);
        assert_eq!(interest.positions().map(|to| to.fo).collect::<Vec<_>>(), [2]);
    }
}
