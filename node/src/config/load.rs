//! From files, environment and flags to one checked [`Config`], or to everything that is wrong with them.

use std::fmt;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};

use super::Config;
use super::section::Section;
use super::units::Secret;
use crate::webhook;

/// Sources in the order in which they win, weakest first.
#[derive(Default)]
pub struct Sources<'a> {
    /// What the command means by itself, stronger than the defaults: `("auth.dev_tokens", true)`.
    pub preset: Vec<(&'static str, Value)>,
    /// A TOML file.
    pub file: Option<&'a Path>,
    /// Whether `ROOKERY_SECTION__KEY` variables count.
    pub environment: bool,
    /// `key=value` from the command line.
    pub set: Vec<(String, String)>,
}

/// Everything that is wrong with a configuration, each named by its key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

// === impl Problems ===

impl Problems {
    pub(super) fn add(&mut self, key: &str, reason: &str) {
        self.0.push(format!("{key}: {reason}"));
    }

    pub(super) fn at_least(&mut self, key: &str, value: u64, least: u64) {
        if value < least {
            self.add(key, &format!("must be at least {least}"));
        }
    }

    /// Where a receiver of posts listens, and the key that it knows; `prefix` is what its settings begin with.
    pub(super) fn webhook(&mut self, prefix: &str, url: &str, secret: &Secret) {
        if let Err(why) = webhook::address(url) {
            self.add(&format!("{prefix}url"), &why.to_string());
        }
        if let Err(why) = webhook::Key::parse(&secret.0) {
            self.add(&format!("{prefix}secret"), &why.to_string());
        }
    }

    /// One line per problem.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for Problems {}

// === load ===

/// Reads and checks a configuration.
///
/// # Errors
/// With every problem found: unreadable file, unknown key, wrong type, impossible value.
pub fn load(sources: &Sources<'_>) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for (key, value) in &sources.preset {
        figment = figment.merge((*key, value));
    }
    if let Some(path) = sources.file {
        if path.is_file() {
            figment = figment.merge(Toml::file_exact(path));
        } else {
            problems.0.push(format!("{}: no such file", path.display()));
        }
    }
    if sources.environment {
        // Without a section it's no setting: ROOKERY_LOG_DIR of some wrapper is none of our business.
        figment = figment.merge(
            Env::prefixed("ROOKERY_")
                .filter(|key| key.as_str().contains("__"))
                .split("__"),
        );
    }
    for (key, value) in &sources.set {
        if key.split('.').count() == 2 {
            figment = figment.merge((key.as_str(), parse(value)));
        } else {
            problems.add(key, "settings are named section.key");
        }
    }
    let mut tables = match figment.extract::<Dict>() {
        Ok(tables) => tables,
        Err(errors) => {
            problems
                .0
                .extend(errors.into_iter().map(|error| error.to_string()));
            return Err(problems);
        }
    };
    let config = Config {
        server: section("server", &mut tables, &mut problems),
        auth: section("auth", &mut tables, &mut problems),
        login: section("login", &mut tables, &mut problems),
        limits: section("limits", &mut tables, &mut problems),
        session: section("session", &mut tables, &mut problems),
        chat: section("chat", &mut tables, &mut problems),
        presence: section("presence", &mut tables, &mut problems),
        retention: section("retention", &mut tables, &mut problems),
        hooks: section("hooks", &mut tables, &mut problems),
        cluster: section("cluster", &mut tables, &mut problems),
        storage: section("storage", &mut tables, &mut problems),
        telemetry: section("telemetry", &mut tables, &mut problems),
    };
    for name in tables.keys() {
        problems.add(name, "no such section");
    }
    config.check(&mut problems);
    if problems.0.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

/// `2000`, `true`, `[a, b]` or else text, as in an environment variable.
fn parse(text: &str) -> Value {
    match text.parse() {
        Ok(value) => value,
    }
}

/// Takes one section out of the tables. A key that is unknown or has the wrong type is reported and left at its
/// default, so that one run reports them all.
fn section<S: Section>(name: &str, tables: &mut Dict, problems: &mut Problems) -> S {
    let Some(table) = tables.remove(name) else {
        return S::default();
    };
    let Value::Dict(tag, mut table) = table else {
        problems.add(name, "must be a table");
        return S::default();
    };
    table.retain(|key, _| {
        let known = S::KEYS.iter().any(|(name, _)| name == key);
        if !known {
            problems.add(&format!("{name}.{key}"), "no such setting");
        }
        known
    });
    loop {
        match Value::Dict(tag, table.clone()).deserialize::<S>() {
            Ok(section) => return section,
            Err(error) => {
                let key = error.path.first().cloned().unwrap_or_default();
                problems.add(&format!("{name}.{key}"), &error.kind.to_string());
                if table.remove(&key).is_none() {
                    return S::default();
                }
            }
        }
    }
}
