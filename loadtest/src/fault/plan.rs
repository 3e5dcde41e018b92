//! Which faults a run has: from the command line, from a file, or drawn from the seed.
//!
//! ```toml
//! # One [[fault]] each, as on the command line ...
//! [[fault]]
//! do = "cut-owner@2s+6s"
//!
//! # ... or in words. Faults whose times overlap are on together.
//! [[fault]]
//! how = "kill"
//! whom = "follower"
//! at = "3s"
//! hold = "2s"
//! ```
//! With `gap = "3s"` at the top, each begins so long after the one before is healed, whatever its time: for plans that
//! must not depend on how fast a machine is. `times = 100` in a fault repeats it there. `settings = ["key=value"]` at
//! the top are what the nodes of a local cluster are started with, so that the faults have something to break.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use super::{Fault, How, Whom, parse_duration};

/// The faults of a run, in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<Fault>,
    /// One after the other, with this pause; otherwise each at its own time.
    pub(crate) gap: Option<Duration>,
    /// Settings of the nodes, key=value.
    pub(crate) settings: Vec<String>,
}

/// What a local cluster must have from the start, so that the faults of a plan can be done to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The links between the nodes go through the harness.
    pub(crate) doors: bool,
    /// Each node's disk is a small one of its own.
    pub(crate) small_disks: bool,
    /// Each node's wall clock can be set.
    pub(crate) clocks: bool,
    /// The nodes keep the rates that are meant for people.
    pub(crate) rates_of_people: bool,
}

/// `random:N`: so many faults, drawn from the seed over the load; `random:N@5m` over its first five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Random {
    count: usize,
    within: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gap: Option<String>,
    #[serde(default)]
    settings: Vec<String>,
    #[serde(default)]
    fault: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    r#do: Option<String>,
    how: Option<String>,
    whom: Option<String>,
    at: Option<String>,
    hold: Option<String>,
    /// One after the other; only where there is a gap.
    times: Option<usize>,
}

/// What may be drawn, and to whom it is done.
const DRAWN: [(How, &[Whom]); 19] = [
    (How::Kill, &[Whom::Owner, Whom::Follower, Whom::Any, Whom::All]),
    (How::Stop, &[Whom::Owner, Whom::Follower, Whom::Any]),
    (How::Drain, &[Whom::Owner, Whom::Any]),
    (How::Roll, &[Whom::All]),
    (How::Chase, &[Whom::Owner]),
    (
        How::Cut,
        &[
            Whom::Owner,
            Whom::Follower,
            Whom::Minority,
            Whom::Bridge,
            Whom::All,
        ],
    ),
    (How::Mute, &[Whom::Owner, Whom::Follower, Whom::Bridge]),
    (How::Deaf, &[Whom::Owner, Whom::Follower, Whom::Bridge]),
    (How::Swizzle, &[Whom::All]),
    (How::Delay, &[Whom::Owner, Whom::All]),
    (How::Loss, &[Whom::Owner, Whom::All]),
    (How::Reset, &[Whom::Owner, Whom::All]),
    (How::Throttle, &[Whom::Owner]),
    (How::Full, &[Whom::Owner, Whom::Follower]),
    (How::Slow, &[Whom::Owner, Whom::Follower]),
    (How::Clock, &[Whom::Owner, Whom::Any]),
    (How::ClockAhead, &[Whom::Owner, Whom::Any]),
    (How::PauseCut, &[Whom::Owner]),
    (How::Kick, &[Whom::Owner, Whom::Follower]),
];

// === impl Plan ===

impl Plan {
    /// The same, and more faults.
    pub(crate) fn with(mut self, faults: Vec<Fault>) -> Plan {
        self.faults.extend(faults);
        if self.gap.is_none() {
            self.faults.sort_by_key(|fault| fault.at);
        }
        self
    }

    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Plan, String> {
        let wrong = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Plan::parse(&text).map_err(wrong)
    }

    pub(super) fn parse(text: &str) -> Result<Plan, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let gap = file.gap.as_deref().map(parse_duration).transpose()?;
        let mut faults = Vec::new();
        for entry in file.fault {
            let times = entry.times.unwrap_or(1);
            if times != 1 && gap.is_none() {
                return Err("`times` is for plans with a `gap`".to_owned());
            }
            faults.extend(std::iter::repeat_n(entry.into_fault()?, times));
        }
        if let Some(wrong) = file.settings.iter().find(|setting| !setting.contains('=')) {
            return Err(format!("{wrong:?} is not key=value"));
        }
        let plan = Plan {
            faults: Vec::new(),
            gap,
            settings: file.settings,
        };
        Ok(plan.with(faults))
    }

    /// Draws faults over a load's time: the same ones for the same seed. In a quarter of the plans they come in twos.
    pub(super) fn random(count: usize, duration: Duration, seed: u64) -> Vec<Fault> {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x000f_a017);
        let at_once = if rng.random_range(0..4) == 0 { 2 } else { 1 };
        let moments = count.div_ceil(at_once);
        // The last fifth is for the cluster to come back under load.
        let slot = duration.mul_f64(0.8) / moments.max(1) as u32;
        (0..count)
            .filter_map(|number| {
                let (how, whom) = DRAWN.choose(&mut rng)?;
                let begins = slot * (number / at_once) as u32;
                Some(Fault {
                    how: *how,
                    whom: *whom.choose(&mut rng)?,
                    at: tenths(begins + slot.mul_f64(rng.random_range(0.1..0.3))),
                    hold: tenths(slot.mul_f64(rng.random_range(0.3..0.6)).min(how.lasts() * 2)),
                })
            })
            .collect()
    }

    pub(crate) fn needs(&self) -> Needs {
        let any = |which: fn(How) -> bool| self.faults.iter().any(|fault| which(fault.how));
        Needs {
            doors: self.faults.iter().any(Fault::cuts_links),
            small_disks: any(|how| how == How::Full),
            clocks: any(How::is_of_clocks),
            rates_of_people: false,
        }
    }
}

/// Rounds up, for people.
fn tenths(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64 / 100 * 100 + 100)
}

// === impl Entry ===

impl Entry {
    fn into_fault(self) -> Result<Fault, String> {
        let text = match self {
            Entry {
                r#do: Some(text),
                how: None,
                whom: None,
                at: None,
                hold: None,
                ..
            } => text,
            Entry {
                r#do: None,
                how: Some(how),
                whom: Some(whom),
                at: Some(at),
                hold,
                ..
            } => match hold {
                Some(hold) => format!("{how}-{whom}@{at}+{hold}"),
                None => format!("{how}-{whom}@{at}"),
            },
            _ => return Err("a fault has either `do`, or `how`, `whom` and `at`".to_owned()),
        };
        text.parse()
    }
}

// === impl Random ===

impl Random {
    /// The faults of a load that lasts so long.
    pub(crate) fn draw(self, duration: Duration, seed: u64) -> Vec<Fault> {
        let within = self.within.map_or(duration, |within| within.min(duration));
        Plan::random(self.count, within, seed)
    }
}

impl FromStr for Random {
    type Err = String;

    fn from_str(text: &str) -> Result<Random, String> {
        let usage =
            || format!("{text:?}: write random:N or random:N@WITHIN, for example random:6 or random:6@5m");
        let drawn = text.strip_prefix("random:").ok_or_else(usage)?;
        let (count, within) = match drawn.split_once('@') {
            Some((count, within)) => (count, Some(parse_duration(within)?)),
            None => (drawn, None),
        };
        let count = count.parse().map_err(|_| usage())?;
        Ok(Random { count, within })
    }
}
