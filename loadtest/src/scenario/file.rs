//! A scenario file: one or several scenarios together, their pace, the phases of the load, and faults. Documented in
//! docs/testing.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{Plan, Scenario};
use crate::fault::{Fault, parse_duration};
use crate::pacing::curve::Rates;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// What the report calls the run; the file's name without it.
    pub(super) name: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) size: Option<usize>,
    #[serde(default, deserialize_with = "duration")]
    pub(super) duration: Option<Duration>,
    #[serde(default, deserialize_with = "rates")]
    pub(super) rate: Option<Rates>,
    #[serde(default)]
    pub(super) steps: Vec<f64>,
    pub(super) window: Option<usize>,
    pub(super) arrival: Option<String>,
    #[serde(default)]
    pub(super) faults: Vec<String>,
    #[serde(rename = "part")]
    pub(super) parts: Vec<Part>,
    #[serde(rename = "phase", default)]
    pub(super) phases: Vec<Phase>,
}

/// One scenario of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) scenario: String,
    /// Of the rate, in proportion to the other parts; in proportion to its speakers without it.
    pub(super) share: Option<f64>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, u32>,
}

/// One stretch of the load.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phase {
    pub(super) name: String,
    #[serde(rename = "for", deserialize_with = "duration")]
    pub(super) length: Option<Duration>,
    #[serde(deserialize_with = "rates")]
    pub(super) rate: Option<Rates>,
    /// Counted from the phase's beginning.
    #[serde(default)]
    pub(super) faults: Vec<String>,
}

// === impl File ===

impl File {
    pub(super) fn read(path: &Path) -> Result<File, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        File::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<File, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let one = [file.rate.is_some(), !file.steps.is_empty(), file.window.is_some()];
        let one = one.into_iter().filter(|given| *given).count();
        if one > 1 || (one == 1 && !file.phases.is_empty()) {
            return Err("one of rate, steps, window and [[phase]] says how fast".to_owned());
        }
        if file.duration.is_some() && !file.phases.is_empty() {
            return Err("the phases say how long".to_owned());
        }
        if file.parts.is_empty() {
            return Err("at least one [[part]] is needed".to_owned());
        }
        Ok(file)
    }

    /// The scenarios of the file together; those of one part take `given` too.
    pub(super) fn plan(&self, given: &BTreeMap<String, u32>) -> Result<Plan, String> {
        if self.parts.len() > 1 && !given.is_empty() {
            return Err("parameters of a file with several parts are set in the file".to_owned());
        }
        let mut plan = Plan::default();
        for part in &self.parts {
            let scenario = part.scenario()?;
            let mut parameters = part.parameters.clone();
            parameters.extend(given.clone());
            plan.add(scenario.plan(&parameters)?, part.share);
        }
        plan.silent = plan.speakers().is_empty();
        Ok(plan)
    }

    /// All faults, with times counted from the beginning of the load.
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

impl Part {
    pub(super) fn scenario(&self) -> Result<Scenario, String> {
        Scenario::by_name(&self.scenario).ok_or_else(|| format!("there is no scenario {:?}", self.scenario))
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

/// A number, or text as on the command line.
fn rates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Rates>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Rate {
        Whole(u32),
        Number(f64),
        Text(String),
    }
    let text = match Rate::deserialize(deserializer)? {
        Rate::Whole(rate) => rate.to_string(),
        Rate::Number(rate) => rate.to_string(),
        Rate::Text(text) => text,
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
