//! [`Tally`]: count of the voters' answers, up to a majority.

use std::collections::BTreeSet;

use crate::ids::NodeId;

/// Counts the answers of a group's voters. A group that is changing its members has two sets of voters, and needs a
/// majority of each (Ongaro's joint consensus).
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    sets: Vec<BTreeSet<NodeId>>,
    yes: BTreeSet<NodeId>,
    no: BTreeSet<NodeId>,
}

// === impl Tally ===

impl Tally {
    pub(crate) fn of(sets: Vec<BTreeSet<NodeId>>) -> Tally {
        Tally {
            sets,
            yes: BTreeSet::new(),
            no: BTreeSet::new(),
        }
    }

    /// Returns the union of the voter sets.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.sets.iter().flatten().copied().collect()
    }

    /// Counts an answer; `yes` is false for a refusal and for a missing response. Later answers of the same node are
    /// ignored.
    pub(crate) fn count(&mut self, node: NodeId, yes: bool) {
        if self.yes.contains(&node) || self.no.contains(&node) {
            return;
        }
        let side = if yes { &mut self.yes } else { &mut self.no };
        side.insert(node);
    }

    /// Returns true if a majority of each set has answered yes, false once that is impossible, `None` until then.
    pub(crate) fn verdict(&self) -> Option<bool> {
        let majority = |set: &BTreeSet<NodeId>| set.len() / 2 + 1;
        let won = |set: &BTreeSet<NodeId>| set.intersection(&self.yes).count() >= majority(set);
        let lost = |set: &BTreeSet<NodeId>| set.len() - set.intersection(&self.no).count() < majority(set);
        // Without any voter nothing can be proved: a membership that is not known yet must not confirm a read.
        if self.sets.is_empty() || self.sets.iter().any(lost) {
            Some(false)
        } else {
            self.sets.iter().all(won).then_some(true)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = BTreeSet<NodeId>> {
        prop::collection::btree_set((1_u64..8).prop_map(NodeId), 1..6)
    }

    fn answers() -> impl Strategy<Value = Vec<(NodeId, bool)>> {
        prop::collection::vec(((1_u64..8).prop_map(NodeId), any::<bool>()), 0..12)
    }

    fn tally(sets: &[BTreeSet<NodeId>], answers: &[(NodeId, bool)]) -> Tally {
        let mut tally = Tally::of(sets.to_vec());
        for &(node, yes) in answers {
            tally.count(node, yes);
        }
        tally
    }

    #[test]
    fn one_of_three_more_than_the_leader_is_enough() {
        let three = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
        let mut tally = Tally::of(vec![three]);
        tally.count(NodeId(1), true);
        assert_eq!(tally.verdict(), None);
        tally.count(NodeId(2), false);
        assert_eq!(tally.verdict(), None);
        tally.count(NodeId(3), true);
        assert_eq!(tally.verdict(), Some(true));
    }

    proptest! {
        /// An election and the proof that there was none never both reach their majorities.
        #[test]
        fn two_majorities_of_one_group_share_a_member(sets in prop::collection::vec(set(), 1..3), answers in answers()) {
            let turned: Vec<_> = answers.iter().map(|&(node, yes)| (node, !yes)).collect();
            let both = [tally(&sets, &answers), tally(&sets, &turned)];
            prop_assert!(both.iter().any(|tally| tally.verdict() != Some(true)));
        }

        #[test]
        fn a_verdict_stands_whatever_comes_later(
            sets in prop::collection::vec(set(), 1..3),
            answers in answers(),
            later in answers(),
        ) {
            let mut tally = tally(&sets, &answers);
            if let Some(verdict) = tally.verdict() {
                for (node, yes) in later {
                    tally.count(node, yes);
                }
                prop_assert_eq!(tally.verdict(), Some(verdict));
            }
        }

        #[test]
        fn when_everybody_has_answered_there_is_a_verdict(sets in prop::collection::vec(set(), 1..3), answers in answers()) {
            let mut tally = tally(&sets, &answers);
            for node in tally.voters() {
                tally.count(node, true);
            }
            prop_assert!(tally.verdict().is_some());
        }
    }
}
