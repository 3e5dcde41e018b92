//! Faults as they are written, on the command line and in plans: `how-whom@when[+hold]`.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

use super::{Fault, How, Whom};

/// Every fault by its word.
const WORDS: [(How, &str); 24] = [
    (How::Kill, "kill"),
    (How::Stop, "stop"),
    (How::Drain, "drain"),
    (How::Roll, "roll"),
    (How::Chase, "chase"),
    (How::PauseKill, "pausekill"),
    (How::Cut, "cut"),
    (How::Mute, "mute"),
    (How::Deaf, "deaf"),
    (How::Swizzle, "swizzle"),
    (How::Delay, "delay"),
    (How::Loss, "loss"),
    (How::Reset, "reset"),
    (How::Throttle, "throttle"),
    (How::Rollback, "rollback"),
    (How::Full, "full"),
    (How::Slow, "slow"),
    (How::Clock, "clock"),
    (How::ClockAhead, "clock-ahead"),
    (How::ClockBehind, "clock-behind"),
    (How::ClockDrift, "clock-drift"),
    (How::PauseCut, "pausecut"),
    (How::Kick, "kick"),
    (How::Move, "move"),
];

// === impl Fault ===

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let usage = || {
            let words: Vec<_> = WORDS.iter().map(|(_, word)| *word).collect();
            format!(
                "{text:?} is no fault; write for example kill-owner@20s, stop-any@5s+8s, cut-1:3@10s or roll-all@10s. What can be done: {}; to owner, follower, any, minority, majority, all, bridge, a number, or a pair like 1:3",
                words.join(", ")
            )
        };
        let (what, when) = text.split_once('@').ok_or_else(usage)?;
        let (how, whom) = what.rsplit_once('-').ok_or_else(usage)?;
        let how = if how == "pause" { "stop" } else { how };
        let (how, _) = WORDS.iter().find(|(_, word)| *word == how).ok_or_else(usage)?;
        let whom = match (whom, whom.split_once(':')) {
            ("owner", _) => Whom::Owner,
            ("follower", _) => Whom::Follower,
            ("any", _) => Whom::Any,
            ("minority", _) => Whom::Minority,
            ("majority", _) => Whom::Majority,
            ("all", _) => Whom::All,
            ("bridge", _) => Whom::Bridge,
            (_, Some((a, b))) => Whom::Pair(a.parse().map_err(|_| usage())?, b.parse().map_err(|_| usage())?),
            (node, None) => Whom::Node(node.parse().map_err(|_| usage())?),
        };
        let links = how.is_of_links() || (*how == How::Kick && whom == Whom::Bridge);
        if matches!(whom, Whom::Bridge | Whom::Pair(..)) && !links {
            return Err(usage());
        }
        let (at, hold) = match when.split_once('+') {
            Some((at, hold)) => (at, parse_duration(hold)?),
            None => (when, how.lasts()),
        };
        Ok(Fault {
            how: *how,
            whom,
            at: parse_duration(at)?,
            hold,
        })
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}@", self.how, self.whom)?;
        if self.at.is_zero() {
            // Not "0ns", which nobody would write.
            write!(f, "0s+{:?}", self.hold)
        } else {
            write!(f, "{:?}+{:?}", self.at, self.hold)
        }
    }
}

// === impl How ===

impl How {
    /// How long it lasts unless the plan says so.
    pub(super) fn lasts(self) -> Duration {
        Duration::from_secs(match self {
            How::Kill | How::Drain | How::Rollback | How::PauseKill => 3,
            How::Roll | How::Chase => 1,
            How::PauseCut => 2,
            // Long enough to see what a drift does, and for retention by age to look.
            How::ClockAhead | How::ClockBehind | How::ClockDrift => 20,
            // Less than the silence after which a node closes its sessions as isolated.
            How::Kick => 7,
            _ => 5,
        })
    }
}

impl Display for How {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let word = WORDS.iter().find(|(how, _)| how == self);
        f.write_str(word.map_or("", |(_, word)| word))
    }
}

// === impl Whom ===

impl Display for Whom {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Whom::Owner => f.write_str("owner"),
            Whom::Follower => f.write_str("follower"),
            Whom::Any => f.write_str("any"),
            Whom::Minority => f.write_str("minority"),
            Whom::Majority => f.write_str("majority"),
            Whom::All => f.write_str("all"),
            Whom::Bridge => f.write_str("bridge"),
            Whom::Node(id) => write!(f, "{id}"),
            Whom::Pair(a, b) => write!(f, "{a}:{b}"),
        }
    }
}

/// Reads `20s`, `1.5s`, `250ms`, `2m` or a bare number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?}: the unit is one of ms, s, m, h")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is no duration; write for example 20s or 250ms"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| format!("{text:?}: {error}"))
}
