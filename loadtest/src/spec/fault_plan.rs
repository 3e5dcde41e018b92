//! Fault plan of a run: faults from the command line, from a file, or drawn from the seed.
//!
//! ```toml
//! # Either a fault as on the command line ...
//! [[fault]]
//! do = "cut-owner@2s+6s"
//!
//! # ... or its parts. Faults whose times overlap run concurrently.
//! [[fault]]
//! how = "kill"
//! whom = "follower"
//! at = "3s"
//! hold = "2s"
//! ```
//!
//! With `gap = "3s"` at the top, each fault starts this long after the one before is healed, and its time is ignored.
//! Such plans do not depend on the speed of the machine. `times = 100` in a fault repeats it.
//!
//! `settings = ["key=value"]` at the top configures the nodes of a local cluster, for faults that need certain
//! settings.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use super::duration::parse_duration;
use super::fault::{Fault, FaultKind, FaultTarget};

/// Faults of a run, in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FaultPlan {
    pub(crate) faults: Vec<Fault>,
    /// Pause between faults that run one after the other; `None` starts each at its own time.
    pub(crate) gap: Option<Duration>,
    /// Configuration of the nodes, key=value.
    pub(crate) settings: Vec<String>,
}

/// Requirements of a plan that a local cluster must meet from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultNeeds {
    /// Connections between the nodes pass through the network proxy.
    pub(crate) proxies: bool,
    /// Each node has a small disk of its own.
    pub(crate) small_disks: bool,
    /// Each node has a wall clock that can be set.
    pub(crate) clocks: bool,
    /// The nodes keep the rate limits for real users.
    pub(crate) rates_of_people: bool,
}

/// `random:N` draws N faults over the load, and `random:N@5m` over its first five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RandomFaults {
    count: usize,
    within: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultFile {
    gap: Option<String>,
    #[serde(default)]
    settings: Vec<String>,
    #[serde(default)]
    fault: Vec<FaultEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultEntry {
    r#do: Option<String>,
    how: Option<String>,
    #[serde(rename = "whom")]
    target: Option<String>,
    at: Option<String>,
    hold: Option<String>,
    /// Number of repetitions; needs a gap.
    times: Option<usize>,
}

/// Faults that may be drawn, with their possible targets.
const DRAWN: [(FaultKind, &[FaultTarget]); 19] = [
    (
        FaultKind::Kill,
        &[
            FaultTarget::Owner,
            FaultTarget::Follower,
            FaultTarget::Any,
            FaultTarget::All,
        ],
    ),
    (
        FaultKind::Stop,
        &[FaultTarget::Owner, FaultTarget::Follower, FaultTarget::Any],
    ),
    (FaultKind::Drain, &[FaultTarget::Owner, FaultTarget::Any]),
    (FaultKind::Roll, &[FaultTarget::All]),
    (FaultKind::Chase, &[FaultTarget::Owner]),
    (
        FaultKind::Cut,
        &[
            FaultTarget::Owner,
            FaultTarget::Follower,
            FaultTarget::Minority,
            FaultTarget::Bridge,
            FaultTarget::All,
        ],
    ),
    (
        FaultKind::Mute,
        &[FaultTarget::Owner, FaultTarget::Follower, FaultTarget::Bridge],
    ),
    (
        FaultKind::Deaf,
        &[FaultTarget::Owner, FaultTarget::Follower, FaultTarget::Bridge],
    ),
    (FaultKind::Swizzle, &[FaultTarget::All]),
    (FaultKind::Delay, &[FaultTarget::Owner, FaultTarget::All]),
    (FaultKind::Loss, &[FaultTarget::Owner, FaultTarget::All]),
    (FaultKind::Reset, &[FaultTarget::Owner, FaultTarget::All]),
    (FaultKind::Throttle, &[FaultTarget::Owner]),
    (FaultKind::Full, &[FaultTarget::Owner, FaultTarget::Follower]),
    (FaultKind::Slow, &[FaultTarget::Owner, FaultTarget::Follower]),
    (FaultKind::Clock, &[FaultTarget::Owner, FaultTarget::Any]),
    (FaultKind::ClockAhead, &[FaultTarget::Owner, FaultTarget::Any]),
    (FaultKind::PauseCut, &[FaultTarget::Owner]),
    (FaultKind::Kick, &[FaultTarget::Owner, FaultTarget::Follower]),
];

// === impl FaultPlan ===

impl FaultPlan {
    /// Returns the plan with additional faults.
    pub(crate) fn with(mut self, faults: Vec<Fault>) -> FaultPlan {
        self.faults.extend(faults);
        // With a gap the order of the file counts, not the times.
        if self.gap.is_none() {
            self.faults.sort_by_key(|fault| fault.at);
        }
        self
    }

    /// Reads a plan file.
    pub(crate) fn read(path: &Path) -> Result<FaultPlan, String> {
        let wrong = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        FaultPlan::parse(&text).map_err(wrong)
    }

    pub(super) fn parse(text: &str) -> Result<FaultPlan, String> {
        let file: FaultFile = toml::from_str(text).map_err(|error| error.to_string())?;
        let gap = file.gap.as_deref().map(parse_duration).transpose()?;
        let mut faults = Vec::new();
        for entry in file.fault {
            let times = entry.times.unwrap_or(1);
            // Without a gap, all repetitions would start at the same time.
            if times != 1 && gap.is_none() {
                return Err("`times` requires `gap`".to_owned());
            }
            faults.extend(std::iter::repeat_n(entry.into_fault()?, times));
        }
        if let Some(wrong) = file.settings.iter().find(|setting| !setting.contains('=')) {
            return Err(format!("{wrong:?} is not key=value"));
        }
        let plan = FaultPlan {
            faults: Vec::new(),
            gap,
            settings: file.settings,
        };
        // `with` sorts the faults by their times.
        Ok(plan.with(faults))
    }

    /// Draws faults over the duration of a load. The same seed draws the same faults. In a quarter of the plans, two
    /// start together.
    pub(super) fn random(count: usize, duration: Duration, seed: u64) -> Vec<Fault> {
        // Altered, so that the faults do not use the same random numbers as the load.
        let mut rng = StdRng::seed_from_u64(seed ^ 0x000f_a017);
        let at_once = if rng.random_range(0..4) == 0 { 2 } else { 1 };
        let moments = count.div_ceil(at_once);
        // No fault starts in the last fifth, in which the cluster recovers under load.
        let slot = duration.mul_f64(0.8) / moments.max(1) as u32;
        (0..count)
            .filter_map(|number| {
                let (how, target) = DRAWN.choose(&mut rng)?;
                let begins = slot * (number / at_once) as u32;
                Some(Fault {
                    how: *how,
                    target: *target.choose(&mut rng)?,
                    at: tenths(begins + slot.mul_f64(rng.random_range(0.1..0.3))),
                    // At most twice the default: a long run would hold a fault for minutes.
                    hold: tenths(slot.mul_f64(rng.random_range(0.3..0.6)).min(how.lasts() * 2)),
                })
            })
            .collect()
    }

    pub(crate) fn needs(&self) -> FaultNeeds {
        let any = |which: fn(FaultKind) -> bool| self.faults.iter().any(|fault| which(fault.how));
        FaultNeeds {
            proxies: self.faults.iter().any(Fault::cuts_links),
            small_disks: any(|how| how == FaultKind::Full),
            clocks: any(FaultKind::is_of_clocks),
            rates_of_people: false,
        }
    }
}

/// Rounds up to tenths of a second, for readable output.
fn tenths(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64 / 100 * 100 + 100)
}

// === impl FaultEntry ===

impl FaultEntry {
    fn into_fault(self) -> Result<Fault, String> {
        let text = match self {
            FaultEntry {
                r#do: Some(text),
                how: None,
                target: None,
                at: None,
                hold: None,
                ..
            } => text,
            FaultEntry {
                r#do: None,
                how: Some(how),
                target: Some(target),
                at: Some(at),
                hold,
                ..
            } => match hold {
                Some(hold) => format!("{how}-{target}@{at}+{hold}"),
                None => format!("{how}-{target}@{at}"),
            },
            _ => return Err("a fault has either `do`, or `how`, `whom` and `at`".to_owned()),
        };
        text.parse()
    }
}

// === impl RandomFaults ===

impl RandomFaults {
    /// Draws the faults for a load of this duration.
    pub(crate) fn draw(self, duration: Duration, seed: u64) -> Vec<Fault> {
        let within = self.within.map_or(duration, |within| within.min(duration));
        FaultPlan::random(self.count, within, seed)
    }
}

impl FromStr for RandomFaults {
    type Err = String;

    fn from_str(text: &str) -> Result<RandomFaults, String> {
        let usage =
            || format!("{text:?}: write random:N or random:N@WITHIN, for example random:6 or random:6@5m");
        let drawn = text.strip_prefix("random:").ok_or_else(usage)?;
        let (count, within) = match drawn.split_once('@') {
            Some((count, within)) => (count, Some(parse_duration(within)?)),
            None => (drawn, None),
        };
        let count = count.parse().map_err(|_| usage())?;
        Ok(RandomFaults { count, within })
    }
}
