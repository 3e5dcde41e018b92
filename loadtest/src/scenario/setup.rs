//! Resolved setup of a run: plan, pace, duration and faults, from the command line, a scenario file, or both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::file::ScenarioFile;
use super::{Scenario, ScenarioPlan};
use crate::cli::{LoadArgs, RunArgs};
use crate::client::ActivityMix;
use crate::fault::Fault;
use crate::pacing::rate_curve::{RateCurve, RateSegment};
use crate::pacing::{ArrivalProcess, LoadPace};
use crate::payload::MIN_BYTES;

/// Reference to a scenario, by name or file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ScenarioRef {
    Scenario(Scenario),
    File(PathBuf),
}

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

// === impl ScenarioRef ===

impl FromStr for ScenarioRef {
    type Err = String;

    fn from_str(text: &str) -> Result<ScenarioRef, String> {
        if let Some(scenario) = Scenario::by_name(text) {
            return Ok(ScenarioRef::Scenario(scenario));
        }
        if text.ends_with(".toml") {
            return Ok(ScenarioRef::File(text.into()));
        }
        let names: Vec<_> = Scenario::ALL.into_iter().map(Scenario::name).collect();
        Err(format!(
            "{text:?} is neither a scenario ({}) nor a file that ends in .toml",
            names.join(", ")
        ))
    }
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
        if plan.conversations.iter().any(|planned| planned.kind == "channel") {
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
        let made = plan.conversations.iter().all(|planned| planned.kind != "channel");
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
            faults: Vec::new(),
            parts: vec![super::file::ScenarioPart {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, CliCommand};
    use clap::Parser;

    const FILE: &str = r#"
        seed = 9
        [[part]]
        scenario = "groups"
        share = 3
        parameters = { groups = 2, members = 3 }
        [[part]]
        scenario = "pairs"
        share = 1
        [[phase]]
        name = "quiet"
        for = "10s"
        rate = 50
        [[phase]]
        name = "rush"
        for = "20s"
        rate = "50..400"
        faults = ["kill-owner@5s"]
    "#;

    fn load(line: &str) -> LoadArgs {
        let cli = Cli::try_parse_from(format!("x run pairs --local 3 {line}").split_whitespace()).unwrap();
        let CliCommand::Run(run) = cli.command else {
            panic!("{cli:?}")
        };
        run.load
    }

    #[test]
    fn a_file_says_who_and_how_fast_and_when_what_breaks() {
        let setup = Setup::of(&ScenarioFile::parse(FILE).unwrap(), &load("")).unwrap();
        assert_eq!((setup.plan.clients, setup.seed), (26, 9));
        assert_eq!(setup.duration, Duration::from_secs(30));
        assert_eq!(
            setup.faults[0].at,
            Duration::from_secs(15),
            "ten before its phase"
        );
        let LoadPace::Open { rate, .. } = &setup.pace else {
            panic!("{setup:?}")
        };
        assert!((rate.reaches(500.0) - 10.0).abs() < 1e-6);
        assert_eq!(rate.parts()[1].name, "rush");
    }

    #[test]
    fn workers_are_refused_what_one_process_must_see_whole() {
        let of = |scenario| Setup::of(&ScenarioFile::of(scenario), &load("")).unwrap();
        for scenario in Scenario::ALL {
            let refused = of(scenario).is_for_workers();
            let expected = match scenario {
                Scenario::Channel => Some("channels"),
                Scenario::ReconnectStorm => Some("storms"),
                Scenario::Mixed | Scenario::Soak => Some("mixed"),
                Scenario::Conversations | Scenario::Hostile => Some("hostile"),
                _ => None,
            };
            match expected {
                Some(word) => assert!(refused.unwrap_err().contains(word), "{scenario:?}"),
                None => assert_eq!(refused, Ok(()), "{scenario:?}"),
            }
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = ScenarioFile::parse(FILE).unwrap();
        let setup = Setup::of(&file, &load("--rate 7 --duration 3s --seed 2 --size 100")).unwrap();
        assert_eq!(
            (setup.pace, setup.duration, setup.seed, setup.size),
            (
                LoadPace::Open {
                    rate: 7.0.into(),
                    arrival: ArrivalProcess::Poisson
                },
                Duration::from_secs(3),
                2,
                100
            )
        );
        assert!(
            Setup::of(&file, &load("--clients 4")).is_err(),
            "which part is meant?"
        );
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        for wrong in [
            "rate = 1",
            "rate = 1\nwindow = 2\n[[part]]\nscenario = \"pairs\"",
            "rates = 1\n[[part]]\nscenario = \"pairs\"",
            "duration = \"1y\"\n[[part]]\nscenario = \"pairs\"",
        ] {
            assert!(ScenarioFile::parse(wrong).is_err(), "{wrong}");
        }
        let unknown = ScenarioFile::parse("[[part]]\nscenario = \"duel\"").unwrap();
        assert!(Setup::of(&unknown, &load("")).unwrap_err().contains("duel"));
    }

    #[test]
    fn steps_and_a_ramp_last_as_long_as_the_load() {
        let setup = Setup::of(
            &ScenarioFile::of(Scenario::Pairs),
            &load("--steps 100,200,400 --duration 30s"),
        )
        .unwrap();
        let LoadPace::Open { rate, .. } = &setup.pace else {
            panic!("{setup:?}")
        };
        assert!((rate.reaches(3000.0) - 20.0).abs() < 1e-6);
        let setup = Setup::of(
            &ScenarioFile::of(Scenario::Pairs),
            &load("--rate 100..300 --duration 10s"),
        )
        .unwrap();
        assert_eq!(setup.parameters["rate"], "100..300");
    }
}
