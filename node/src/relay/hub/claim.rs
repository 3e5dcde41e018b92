//! A user's claim to listen, until a proof of membership decides it. Pure.
//!
//! Two speak of a membership: the owner, of one place of the log (the proof), and the stream, event by event. Of both the
//! later word counts, and a proof from before a jump of the stream is worth nothing, because what the stream would have
//! said since is gone.

use crate::rpc::register::Proof;

/// What is known while the proof is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// The user has everything up to this place and was a member there; `None` for who begins.
    held: Option<u64>,
    /// The stream has jumped over what is before this place: only a proof from there or later counts.
    jumped: u64,
    /// What the stream said last of the user: at which place, and whether added.
    change: Option<(u64, bool)>,
}

/// What becomes of the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A member, of one membership with what is held: events above this place are for the user.
    Admitted(u64),
    /// A member, and what is held is of an earlier membership.
    Renewed,
    /// No member.
    Refused,
    /// The proof is too old: it is to be asked for again.
    Stale,
}

// === impl Claim ===

impl Claim {
    /// The claim of one who listened and has everything up to `at`.
    pub(super) fn of_listener(at: u64) -> Claim {
        Claim {
            held: Some(at),
            ..Claim::default()
        }
    }

    /// The stream goes on behind `to`; what lies before that and was not seen is gone.
    pub(super) fn jump(&mut self, to: u64) {
        self.jumped = self.jumped.max(to);
        self.change = None;
    }

    /// The stream says that the user was added or removed.
    pub(super) fn change(&mut self, s: u64, added: bool) {
        self.change = Some((s, added));
    }

    /// Since when the user is a member, by the later word.
    pub(super) fn since(&self, proof: Proof) -> Option<u64> {
        match self.change {
            Some((s, added)) if s > proof.at => added.then_some(s),
            _ => proof.since,
        }
    }

    /// Decides the claim by what the owner read. `last`: how far the stream has come.
    pub(super) fn decide(&self, proof: Proof, last: u64) -> Verdict {
        if proof.at < self.jumped {
            return Verdict::Stale;
        }
        match (self.since(proof), self.held) {
            (None, _) => Verdict::Refused,
            (Some(since), Some(held)) if since > held.saturating_add(1) => Verdict::Renewed,
            (Some(_), _) => Verdict::Admitted(proof.at.max(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proof(at: u64, since: Option<u64>) -> Proof {
        let history = protocol::History::Joined;
        Proof { at, since, history }
    }

    #[test]
    fn the_later_word_counts() {
        let mut claim = Claim::default();
        assert_eq!(claim.decide(proof(4, Some(2)), 6), Verdict::Admitted(6));
        assert_eq!(claim.decide(proof(7, Some(2)), 6), Verdict::Admitted(7));
        claim.change(5, false);
        assert_eq!(claim.decide(proof(4, Some(2)), 6), Verdict::Refused);
        assert_eq!(claim.decide(proof(5, None), 6), Verdict::Refused);
        assert_eq!(claim.decide(proof(6, Some(6)), 6), Verdict::Admitted(6));
        claim.change(8, true);
        assert_eq!(claim.decide(proof(7, None), 8), Verdict::Admitted(8));
        assert_eq!(claim.decide(proof(9, None), 8), Verdict::Refused);
    }

    proptest! {
        /// A user comes and goes, the log loses its beginning, proofs are read and arrive late. Whatever the order, one
        /// who is admitted is a member there, in the membership of what is held.
        #[test]
        fn a_position_moves_only_within_one_proved_membership(
            mut changes in prop::collection::vec(any::<bool>(), 2..40),
            held in 0usize..40,
            jump in 0usize..40,
            read_at in 0usize..40,
            last in 0usize..40,
        ) {
            // What the user is at each place: a member where events were held, anything elsewhere.
            let end = changes.len();
            let held = 1 + held % (end - 1);
            let last = held + 1 + last % (end - held);
            let (to, read_at) = (held + jump % (last + 1 - held), read_at % (end + 1));
            changes[held - 1] = true;
            let is = |at: usize| at > 0 && changes[at - 1];
            let since = |at: usize| is(at).then(|| (1..=at).rev().take_while(|at| is(*at)).last().unwrap_or(at));
            let mut claim = Claim::of_listener(held as u64);
            claim.jump(to as u64);
            // The stream says what changes behind the jump, in order.
            for at in to + 1..=last {
                if is(at) != is(at - 1) { claim.change(at as u64, is(at)); }
            }
            let proof = proof(read_at as u64, since(read_at).map(|since| since as u64));
            match claim.decide(proof, last as u64) {
                Verdict::Admitted(at) => {
                    let at = at as usize;
                    prop_assert!(at >= to && (held..=at).all(is), "admitted at {} from {}", at, held);
                }
                Verdict::Renewed => {
                    let at = read_at.max(last);
                    prop_assert!(is(at) && !(held..=at).all(is));
                }
                Verdict::Refused => prop_assert!(!is(read_at.max(last))),
                Verdict::Stale => prop_assert!(read_at < to),
            }
        }
    }
}
