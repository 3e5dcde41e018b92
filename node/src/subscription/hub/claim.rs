//! Claim of a user to the events of a conversation, until a proof of membership decides it. Pure.
//!
//! Two sources state a membership: the owner, at one position of the log (the proof), and the stream, event by event.
//! The later statement counts. A proof from before a jump of the stream is void, because the statements of the stream
//! since then are lost.

use crate::rpc::register::Proof;

/// State of a claim whose proof is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PositionClaim {
    /// Position up to which the user has all events, as a member; `None` for a new subscription.
    held: Option<u64>,
    /// Position up to which the stream has jumped: only a proof from there or later counts.
    jumped: u64,
    /// Last membership change of the user in the stream: its seq, and true for an addition.
    change: Option<(u64, bool)>,
}

/// Decision about a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimVerdict {
    /// Member, in the same membership as at the held position: events above this position are delivered.
    Admitted(u64),
    /// Member, but the held position belongs to an earlier membership.
    Renewed,
    Refused,
    /// The proof is too old: another one has to be requested.
    Stale,
}

// === impl PositionClaim ===

impl PositionClaim {
    /// Creates the claim of a subscriber that has all events up to `at`.
    pub(super) fn of_listener(at: u64) -> PositionClaim {
        PositionClaim {
            held: Some(at),
            ..PositionClaim::default()
        }
    }

    /// Records a jump: the stream continues behind `to`, and undelivered events before that are lost.
    pub(super) fn jump(&mut self, to: u64) {
        self.jumped = self.jumped.max(to);
        // A later change may be among the lost events.
        self.change = None;
    }

    /// Records a membership change of the user in the stream.
    pub(super) fn change(&mut self, s: u64, added: bool) {
        self.change = Some((s, added));
    }

    /// Returns the event since which the user is a member, by the later statement; `None` for a non-member.
    pub(super) fn since(&self, proof: Proof) -> Option<u64> {
        match self.change {
            Some((s, added)) if s > proof.at => added.then_some(s),
            _ => proof.since,
        }
    }

    /// Decides the claim by the owner's proof. `last`: position of the stream.
    pub(super) fn decide(&self, proof: Proof, last: u64) -> ClaimVerdict {
        if proof.at < self.jumped {
            return ClaimVerdict::Stale;
        }
        match (self.since(proof), self.held) {
            (None, _) => ClaimVerdict::Refused,
            // This membership began behind the held position, so the user was not a member in between.
            (Some(since), Some(held)) if since > held.saturating_add(1) => ClaimVerdict::Renewed,
            // Behind both: the proof may be ahead of the stream, or the other way round.
            (Some(_), _) => ClaimVerdict::Admitted(proof.at.max(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proof(at: u64, since: Option<u64>) -> Proof {
        let history = protocol::HistoryVisibility::Joined;
        Proof { at, since, history }
    }

    #[test]
    fn the_later_word_counts() {
        let mut claim = PositionClaim::default();
        assert_eq!(claim.decide(proof(4, Some(2)), 6), ClaimVerdict::Admitted(6));
        assert_eq!(claim.decide(proof(7, Some(2)), 6), ClaimVerdict::Admitted(7));
        claim.change(5, false);
        assert_eq!(claim.decide(proof(4, Some(2)), 6), ClaimVerdict::Refused);
        assert_eq!(claim.decide(proof(5, None), 6), ClaimVerdict::Refused);
        assert_eq!(claim.decide(proof(6, Some(6)), 6), ClaimVerdict::Admitted(6));
        claim.change(8, true);
        assert_eq!(claim.decide(proof(7, None), 8), ClaimVerdict::Admitted(8));
        assert_eq!(claim.decide(proof(9, None), 8), ClaimVerdict::Refused);
    }

    proptest! {
        /// The user joins and leaves, the log is trimmed, proofs arrive late. In every order, an admitted user is a
        /// member there, in the membership of the held position.
        #[test]
        fn a_position_moves_only_within_one_proved_membership(
            mut changes in prop::collection::vec(any::<bool>(), 2..40),
            held in 0usize..40,
            jump in 0usize..40,
            read_at in 0usize..40,
            last in 0usize..40,
        ) {
            // Membership at each position: a member where events were held, arbitrary elsewhere.
            let end = changes.len();
            let held = 1 + held % (end - 1);
            let last = held + 1 + last % (end - held);
            let (to, read_at) = (held + jump % (last + 1 - held), read_at % (end + 1));
            changes[held - 1] = true;
            let is = |at: usize| at > 0 && changes[at - 1];
            let since = |at: usize| is(at).then(|| (1..=at).rev().take_while(|at| is(*at)).last().unwrap_or(at));
            let mut claim = PositionClaim::of_listener(held as u64);
            claim.jump(to as u64);
            // The stream contains the changes behind the jump, in order.
            for at in to + 1..=last {
                if is(at) != is(at - 1) { claim.change(at as u64, is(at)); }
            }
            let proof = proof(read_at as u64, since(read_at).map(|since| since as u64));
            match claim.decide(proof, last as u64) {
                ClaimVerdict::Admitted(at) => {
                    let at = at as usize;
                    prop_assert!(at >= to && (held..=at).all(is), "admitted at {} from {}", at, held);
                }
                ClaimVerdict::Renewed => {
                    let at = read_at.max(last);
                    prop_assert!(is(at) && !(held..=at).all(is));
                }
                ClaimVerdict::Refused => prop_assert!(!is(read_at.max(last))),
                ClaimVerdict::Stale => prop_assert!(read_at < to),
            }
        }
    }
}
