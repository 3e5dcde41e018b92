//! Text form of faults on the command line and in plans: `how-whom@when[+hold]`.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

use super::duration::parse_duration;
use super::fault::{Fault, FaultKind, FaultTarget};

/// Name of every fault.
const WORDS: [(FaultKind, &str); 24] = [
    (FaultKind::Kill, "kill"),
    (FaultKind::Stop, "stop"),
    (FaultKind::Drain, "drain"),
    (FaultKind::Roll, "roll"),
    (FaultKind::Chase, "chase"),
    (FaultKind::PauseKill, "pausekill"),
    (FaultKind::Cut, "cut"),
    (FaultKind::Mute, "mute"),
    (FaultKind::Deaf, "deaf"),
    (FaultKind::Swizzle, "swizzle"),
    (FaultKind::Delay, "delay"),
    (FaultKind::Loss, "loss"),
    (FaultKind::Reset, "reset"),
    (FaultKind::Throttle, "throttle"),
    (FaultKind::Rollback, "rollback"),
    (FaultKind::Full, "full"),
    (FaultKind::Slow, "slow"),
    (FaultKind::Clock, "clock"),
    (FaultKind::ClockAhead, "clock-ahead"),
    (FaultKind::ClockBehind, "clock-behind"),
    (FaultKind::ClockDrift, "clock-drift"),
    (FaultKind::PauseCut, "pausecut"),
    (FaultKind::Kick, "kick"),
    (FaultKind::Move, "move"),
];

// === impl Fault ===

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let usage = || {
            let words: Vec<_> = WORDS.iter().map(|(_, word)| *word).collect();
            format!(
                "{text:?} is not a fault; examples: kill-owner@20s, stop-any@5s+8s, cut-1:3@10s or roll-all@10s. Faults: {}; to owner, follower, any, minority, majority, all, bridge, a number, or a pair like 1:3",
                words.join(", ")
            )
        };
        let (what, when) = text.split_once('@').ok_or_else(usage)?;
        // Split at the last hyphen: names like `clock-ahead` contain one.
        let (how, target) = what.rsplit_once('-').ok_or_else(usage)?;
        let how = if how == "pause" { "stop" } else { how };
        let (how, _) = WORDS.iter().find(|(_, word)| *word == how).ok_or_else(usage)?;
        let target = match (target, target.split_once(':')) {
            ("owner", _) => FaultTarget::Owner,
            ("follower", _) => FaultTarget::Follower,
            ("any", _) => FaultTarget::Any,
            ("minority", _) => FaultTarget::Minority,
            ("majority", _) => FaultTarget::Majority,
            ("all", _) => FaultTarget::All,
            ("bridge", _) => FaultTarget::Bridge,
            (_, Some((a, b))) => {
                FaultTarget::Pair(a.parse().map_err(|_| usage())?, b.parse().map_err(|_| usage())?)
            }
            (node, None) => FaultTarget::Node(node.parse().map_err(|_| usage())?),
        };
        let links = how.is_of_links() || (*how == FaultKind::Kick && target == FaultTarget::Bridge);
        if matches!(target, FaultTarget::Bridge | FaultTarget::Pair(..)) && !links {
            return Err(usage());
        }
        let (at, hold) = match when.split_once('+') {
            Some((at, hold)) => (at, parse_duration(hold)?),
            None => (when, how.lasts()),
        };
        Ok(Fault {
            how: *how,
            target,
            at: parse_duration(at)?,
            hold,
        })
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}@", self.how, self.target)?;
        if self.at.is_zero() {
            // `Duration` would be written as "0ns".
            write!(f, "0s+{:?}", self.hold)
        } else {
            write!(f, "{:?}+{:?}", self.at, self.hold)
        }
    }
}

// === impl FaultKind ===

impl FaultKind {
    /// Returns the default duration of the fault.
    pub(super) fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            FaultKind::Kill | FaultKind::Drain | FaultKind::Rollback | FaultKind::PauseKill => 3,
            FaultKind::Roll | FaultKind::Chase => 1,
            FaultKind::PauseCut => 2,
            // Long enough for a drift to show effects, and for a pass of retention by age.
            FaultKind::ClockAhead | FaultKind::ClockBehind | FaultKind::ClockDrift => 20,
            // Less than the quorum-loss timeout, after which a node closes its sessions.
            FaultKind::Kick => 7,
            _ => 5,
        })
    }
}

impl Display for FaultKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let word = WORDS.iter().find(|(how, _)| how == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

// === impl FaultTarget ===

impl Display for FaultTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            FaultTarget::Owner => f.write_str("owner"),
            FaultTarget::Follower => f.write_str("follower"),
            FaultTarget::Any => f.write_str("any"),
            FaultTarget::Minority => f.write_str("minority"),
            FaultTarget::Majority => f.write_str("majority"),
            FaultTarget::All => f.write_str("all"),
            FaultTarget::Bridge => f.write_str("bridge"),
            FaultTarget::Node(id) => write!(f, "{id}"),
            FaultTarget::Pair(a, b) => write!(f, "{a}:{b}"),
        }
    }
}
