//! Scenario file: one or several scenarios with their pace, the phases of the load, and faults. Documented in
//! docs/loadtest.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::pacing::rate_curve::RateRange;
use crate::spec::{Fault, Scenario, ScenarioPlan, parse_duration};
use crate::wire::{Wire, wires};

/// Contents of a scenario file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    /// Name of the run in the report; the file's name if `None`.
    pub(super) name: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) size: Option<usize>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) duration: Option<Duration>,
    #[serde(default, deserialize_with = "rates")]
    pub(super) rate: Option<RateRange>,
    #[serde(default)]
    pub(super) steps: Vec<f64>,
    pub(super) window: Option<usize>,
    pub(super) arrival: Option<String>,
    /// Protocols of the clients, in turn.
    #[serde(default, rename = "wire", deserialize_with = "wires")]
    pub(super) wires: Vec<Wire>,
    #[serde(default)]
    pub(super) faults: Vec<String>,
    #[serde(rename = "part")]
    pub(super) parts: Vec<ScenarioPart>,
    #[serde(rename = "phase", default)]
    pub(super) phases: Vec<LoadPhase>,
}

/// One scenario of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioPart {
    pub(super) scenario: String,
    /// Share of the rate, relative to the other parts. Without it the share is proportional to the speakers.
    pub(super) share: Option<f64>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, u32>,
}

/// Phase of the load.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadPhase {
    pub(super) name: String,
    #[serde(rename = "for", deserialize_with = "duration")]
    pub(super) length: Option<Duration>,
    #[serde(deserialize_with = "rates")]
    pub(super) rate: Option<RateRange>,
    /// Faults with times relative to the start of the phase.
    #[serde(default)]
    pub(super) faults: Vec<String>,
}

// === impl ScenarioFile ===

impl ScenarioFile {
    pub(super) fn read(path: &Path) -> Result<ScenarioFile, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        ScenarioFile::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<ScenarioFile, String> {
        let file: ScenarioFile = toml::from_str(text).map_err(|error| error.to_string())?;
        // Two paces would silently override each other, so a file may have one only.
        let one = [file.rate.is_some(), !file.steps.is_empty(), file.window.is_some()];
        let one = one.into_iter().filter(|given| *given).count();
        if one > 1 || (one == 1 && !file.phases.is_empty()) {
            return Err("only one of rate, steps, window and [[phase]] may set the pace".to_owned());
        }
        if file.duration.is_some() && !file.phases.is_empty() {
            return Err(
                "duration is not allowed with [[phase]]: the phases have durations of their own".to_owned(),
            );
        }
        if file.parts.is_empty() {
            return Err("at least one [[part]] is needed".to_owned());
        }
        Ok(file)
    }

    /// Returns the combined plan of all parts. A file with one part also accepts the parameters `given`.
    pub(super) fn plan(&self, given: &BTreeMap<String, u32>) -> Result<ScenarioPlan, String> {
        if self.parts.len() > 1 && !given.is_empty() {
            return Err("the parameters of a file with several parts can only be set in the file".to_owned());
        }
        let mut plan = ScenarioPlan::default();
        for part in &self.parts {
            let scenario = part.scenario()?;
            let mut parameters = part.parameters.clone();
            // The command line takes precedence.
            parameters.extend(given.clone());
            plan.add(scenario.plan(&parameters)?, part.share);
        }
        // A plan without speakers has no pace.
        plan.silent = plan.speakers().is_empty();
        Ok(plan)
    }

    /// Returns all faults, with times relative to the start of the load.
    pub(super) fn faults(&self) -> Result<Vec<Fault>, String> {
        let mut faults = parse_all(&self.faults, Duration::ZERO)?;
        let mut begins = Duration::ZERO;
        for phase in &self.phases {
            faults.extend(parse_all(&phase.faults, begins)?);
            begins += phase.length.unwrap_or_default();
        }
        Ok(faults)
    }
}

impl ScenarioPart {
    pub(super) fn scenario(&self) -> Result<Scenario, String> {
        Scenario::by_name(&self.scenario).ok_or_else(|| format!("unknown scenario {:?}", self.scenario))
    }
}

fn parse_all(faults: &[String], begins: Duration) -> Result<Vec<Fault>, String> {
    let parsed = faults.iter().map(|text| {
        let mut fault: Fault = text.parse()?;
        fault.at += begins;
        Ok(fault)
    });
    parsed.collect()
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Accepts a number, or text as on the command line.
fn rates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RateRange>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum FileRate {
        Whole(u32),
        Number(f64),
        Text(String),
    }
    let text = match FileRate::deserialize(deserializer)? {
        FileRate::Whole(rate) => rate.to_string(),
        FileRate::Number(rate) => rate.to_string(),
        FileRate::Text(text) => text,
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
