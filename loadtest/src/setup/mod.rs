//! Resolved setup of a run: plan, pace, duration and faults, from the command line, a scenario file, or both.

mod scenario_file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use protocol::ConversationKind;

use self::scenario_file::{ScenarioFile, ScenarioPart};
use crate::args::{LoadArgs, RunArgs, ScenarioRef};
use crate::pacing::rate_curve::{RateCurve, RateSegment};
use crate::pacing::{ArrivalProcess, LoadPace};
use crate::payload::MIN_BYTES;
use crate::spec::{ActivityMix, Fault, Scenario, ScenarioPlan};

/// Base time limit of connecting and setting up.
pub(crate) const SETUP_TIMEOUT: Duration = Duration::from_secs(120);

/// Setup of a run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) plan: ScenarioPlan,
    pub(crate) pace: LoadPace,
    pub(crate) duration: Duration,
    pub(crate) size: usize,
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
    /// Parameters as they appear in the report.
    pub(crate) parameters: BTreeMap<String, String>,
}

/// Returns the time limit of connecting and setting up this number of clients.
pub(crate) fn setup_timeout(args: &RunArgs, clients: u32) -> Duration {
    let paced = args
        .connections
        .connect_rate
        .map_or(0.0, |rate| f64::from(clients) / rate.max(1e-3));
    SETUP_TIMEOUT + Duration::from_secs_f64(paced) + Duration::from_millis(10) * clients
}

// === impl Setup ===

impl Setup {
    /// Resolves the setup. The command line takes precedence over the file, and the file over the scenario's defaults.
    pub(crate) fn new(args: &RunArgs) -> Result<Setup, String> {
        let file = match &args.what {
            ScenarioRef::Scenario(scenario) => ScenarioFile::of(*scenario),
            ScenarioRef::File(path) => ScenarioFile::read(path)?,
        };
        let mut setup = Setup::of(&file, &args.load)?;
        // The stem of the file, since the scenario of one part does not describe the others.
        if let (ScenarioRef::File(path), None) = (&args.what, &file.name) {
            setup.name = path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        }
        setup.faults.extend(args.faults.iter().cloned());
        Ok(setup)
    }

    /// Returns the first rate of a search for the highest one; `None` if nothing is sent, or not in an open loop.
    pub(crate) fn first_rate(&self) -> Option<(f64, ArrivalProcess)> {
        match &self.pace {
            LoadPace::Open { rate, arrival } => rate.parts().first().map(|part| (part.from, *arrival)),
            _ => None,
        }
    }

    /// Returns `true` if the load has several parts, which the report separates.
    pub(crate) fn has_parts(&self) -> bool {
        matches!(&self.pace, LoadPace::Open { rate, .. } if rate.parts().len() > 1)
    }

    /// Returns the name of the first part; `None` with one part only.
    pub(crate) fn first_part(&self) -> Option<String> {
        match &self.pace {
            LoadPace::Open { rate, .. } if self.has_parts() => Some(rate.parts().first()?.name.clone()),
            _ => None,
        }
    }

    /// Checks that several workers can run the setup. The error is the reason against it.
    pub(crate) fn is_for_workers(&self) -> Result<(), String> {
        let plan = &self.plan;
        let refused = |what: &str, why: &str| Err(format!("--coordinator does not support {what}: {why}"));
        if plan
            .conversations
            .iter()
            .any(|planned| planned.kind == ConversationKind::Channel)
        {
            return refused(
                "channels",
                "their members join by themselves while one client creates them",
            );
        }
        if !plan.cuts.is_empty() {
            return refused(
                "storms",
                "one process must observe when the last client has caught up",
            );
        }
        if !plan.kicks.is_empty() {
            return refused(
                "removals",
                "the removal of a member must be observed in one process",
            );
        }
        if plan.sizes.is_some() || plan.hostile.is_some() {
            return refused(
                "conversations and hostile",
                "their measurements run beside the clients of one process",
            );
        }
        if plan
            .behaviors
            .values()
            .any(|behavior| behavior.acts == ActivityMix::Team)
        {
            return refused(
                "mixed and soak",
                "an edit, deletion or reaction is checked only by the worker that made it",
            );
        }
        Ok(())
    }

    /// Returns `true` for messages only: one pace, clients without behaviors, and conversations that one member
    /// creates.
    pub(crate) fn is_plain(&self) -> bool {
        let plan = &self.plan;
        let made = plan
            .conversations
            .iter()
            .all(|planned| planned.kind != ConversationKind::Channel);
        let steady = plan.behaviors.is_empty()
            && plan.cuts.is_empty()
            && plan.kicks.is_empty()
            && plan.sizes.is_none()
            && plan.hostile.is_none()
            && plan.shares.len() <= 1;
        made && steady && !self.has_parts()
    }

    /// Returns the events that should have happened and did not, by the names in `errors`. Such a run has tested
    /// nothing.
    pub(crate) fn missing(&self, errors: &BTreeMap<String, u64>) -> Option<String> {
        let expects = &self.plan.expects;
        // One is enough: the timing decides which of them occurs.
        let seen = expects.iter().any(|name| errors.contains_key(*name));
        (!expects.is_empty() && !seen).then(|| format!("none of {} occurred", expects.join(", ")))
    }

    fn of(file: &ScenarioFile, load: &LoadArgs) -> Result<Setup, String> {
        // A file has at least one part. The defaults of the first apply to the whole run.
        let first = file.parts[0].scenario()?.defaults();
        let given = load.given();
        let mut plan = file.plan(&given)?;
        plan.wires = if load.wires.is_empty() {
            file.wires.clone()
        } else {
            load.wires.clone()
        };
        let arrival = match (load.arrival, &file.arrival) {
            (Some(arrival), _) => arrival,
            (None, Some(name)) => ArrivalProcess::from_str(name, true)?,
            (None, None) => ArrivalProcess::Poisson,
        };
        let phases: Duration = file.phases.iter().filter_map(|phase| phase.length).sum();
        let by_file = if file.phases.is_empty() {
            file.duration
        } else {
            Some(phases)
        };
        let duration = load.duration.or(by_file).unwrap_or(first.duration);
        // The pace is replaced as a whole: a rate of the command line must not mix with steps of the file.
        let paced = load.rate.is_some() || !load.steps.is_empty() || load.window.is_some();
        let (rate, steps, window) = if paced {
            (load.rate, load.steps.as_slice(), load.window)
        } else {
            (file.rate, file.steps.as_slice(), file.window)
        };
        let open = |rate| LoadPace::Open { rate, arrival };
        let pace = if let Some(window) = window {
            LoadPace::Closed { window }
        } else if !steps.is_empty() {
            open(RateCurve::steps(steps, duration))
        } else if let Some(rate) = rate {
            open(rate.over(duration))
        } else if !file.phases.is_empty() {
            open(file.curve())
        } else {
            open(first.rate.into())
        };
        let pace = if plan.silent { LoadPace::Silent } else { pace };
        // A later cut would never be made, since the end of the load drops the storms.
        plan.cuts.retain(|at| *at < duration);
        let size = load.size.or(file.size).unwrap_or(first.size);
        // A smaller body has no room for the due time and the checksum, so nothing could be verified.
        if size < MIN_BYTES {
            return Err(format!(
                "a size must be at least {MIN_BYTES}: a body contains its checksum"
            ));
        }
        let mut setup = Setup {
            name: file
                .name
                .clone()
                .unwrap_or_else(|| file.parts[0].scenario.clone()),
            plan,
            pace,
            duration,
            size,
            seed: load.seed.or(file.seed).unwrap_or(1),
            faults: file.faults()?,
            parameters: BTreeMap::new(),
        };
        setup.parameters = setup.describe(file, &given);
        Ok(setup)
    }

    fn describe(&self, file: &ScenarioFile, given: &BTreeMap<String, u32>) -> BTreeMap<String, String> {
        let mut parameters = BTreeMap::from([
            ("size".to_owned(), self.size.to_string()),
            ("duration".to_owned(), format!("{:?}", self.duration)),
        ]);
        for part in &file.parts {
            let prefix = if file.parts.len() > 1 {
                format!("{}.", part.scenario)
            } else {
                String::new()
            };
            let of_part = part.parameters.iter().chain(given);
            parameters.extend(of_part.map(|(name, value)| (format!("{prefix}{name}"), value.to_string())));
        }
        if !self.plan.wires.is_empty() {
            let names: Vec<_> = self.plan.wires.iter().map(|wire| wire.name()).collect();
            parameters.insert("wire".to_owned(), names.join("+"));
        }
        if file.parts.len() > 1 {
            let names: Vec<_> = file.parts.iter().map(|part| part.scenario.as_str()).collect();
            parameters.insert("parts".to_owned(), names.join("+"));
        }
        match &self.pace {
            LoadPace::Open { rate, arrival } => {
                parameters.insert("rate".to_owned(), rate.to_string());
                parameters.insert("arrival".to_owned(), format!("{arrival:?}").to_lowercase());
            }
            LoadPace::Closed { window } => drop(parameters.insert("window".to_owned(), window.to_string())),
            LoadPace::Silent => {}
        }
        parameters
    }
}

impl ScenarioFile {
    /// Returns the file that is equivalent to a scenario alone.
    fn of(scenario: Scenario) -> ScenarioFile {
        ScenarioFile {
            name: None,
            seed: None,
            size: None,
            duration: None,
            rate: None,
            steps: Vec::new(),
            window: None,
            arrival: None,
            wires: Vec::new(),
            faults: Vec::new(),
            parts: vec![ScenarioPart {
                scenario: scenario.name().to_owned(),
                share: None,
                parameters: BTreeMap::new(),
            }],
            phases: Vec::new(),
        }
    }

    fn curve(&self) -> RateCurve {
        let parts = self.phases.iter().filter_map(|phase| {
            let rate = phase.rate?;
            Some(RateSegment {
                name: phase.name.clone(),
                length: phase.length?,
                from: rate.from,
                to: rate.to,
            })
        });
        RateCurve::of(parts.collect())
    }
}
