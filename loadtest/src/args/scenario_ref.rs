//! Reference to a scenario on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::spec::Scenario;

/// Reference to a scenario, by name or file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ScenarioRef {
    Scenario(Scenario),
    File(PathBuf),
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
