//! Loads files, environment and flags into one checked [`Config`], or reports all problems at once.

use std::fmt;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};

use super::section::ConfigSection;
use super::units::SecretString;
use super::{Config, receiver, unknown};

/// Sources of settings, in ascending precedence.
#[derive(Default)]
pub struct ConfigSources<'a> {
    /// Values set by the subcommand, such as `("auth.dev_tokens", true)`. They override the defaults only.
    pub preset: Vec<(&'static str, Value)>,
    /// Path of a TOML file.
    pub file: Option<&'a Path>,
    /// Set if `ROOKERY_SECTION__KEY` variables are read.
    pub environment: bool,
    /// `key=value` pairs of the command line.
    pub set: Vec<(String, String)>,
}

/// All problems of a configuration, each with its key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

// === impl Problems ===

impl Problems {
    pub(super) fn add(&mut self, key: &str, reason: &str) {
        self.0.push(format!("{key}: {reason}"));
    }

    pub(super) fn at_least<T: PartialOrd + fmt::Display>(&mut self, key: &str, value: T, least: T) {
        if value < least {
            self.add(key, &format!("must be at least {least}"));
        }
    }

    /// Checks the path of an endpoint, which may be empty.
    pub(super) fn path(&mut self, key: &str, path: &str) {
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.');
        if !path.is_empty() && (!path.starts_with('/') || !path.bytes().all(is_path)) {
            self.add(
                key,
                "must be empty, or a path like /cable of letters, digits, /, -, _ and .",
            );
        }
        // The interface of the node itself: one of its resources would be hidden.
        if path == "/" || path == "/v1" || path.starts_with("/v1/") {
            self.add(key, "must be outside of /v1");
        }
    }

    /// Checks the URL and key of a webhook. `prefix` is the common prefix of its keys.
    pub(super) fn webhook(&mut self, prefix: &str, url: &str, secret: &SecretString) {
        if let Err(why) = receiver::webhook_url(url) {
            self.add(&format!("{prefix}url"), why);
        }
        if let Err(why) = receiver::signing_key(&secret.0) {
            self.add(&format!("{prefix}secret"), why);
        }
    }

    /// Returns one line per problem.
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

/// Loads and checks a configuration.
///
/// # Errors
/// Every problem found: an unreadable file, unknown keys, wrong types, invalid values.
pub fn load(sources: &ConfigSources<'_>) -> Result<Config, Problems> {
    let mut problems = Problems::default();
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for (key, value) in &sources.preset {
        figment = figment.merge((*key, value));
    }
    if let Some(path) = sources.file {
        // A missing file would be read as an empty one, and the node would start with defaults.
        if path.is_file() {
            figment = figment.merge(Toml::file_exact(path));
        } else {
            problems.0.push(format!("{}: no such file", path.display()));
        }
    }
    if sources.environment {
        // Variables without a section are ignored: a wrapper's ROOKERY_LOG_DIR must not fail the start.
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
        webhook: section("webhook", &mut tables, &mut problems),
        cable: section("cable", &mut tables, &mut problems),
        socketio: section("socketio", &mut tables, &mut problems),
        mqtt: section("mqtt", &mut tables, &mut problems),
        cluster: section("cluster", &mut tables, &mut problems),
        storage: section("storage", &mut tables, &mut problems),
        telemetry: section("telemetry", &mut tables, &mut problems),
        accept_older_disks: false,
        unsafe_recover: false,
        #[cfg(feature = "test-tuning")]
        tuning: section("tuning", &mut tables, &mut problems),
        #[cfg(not(feature = "test-tuning"))]
        tuning: super::Tuning::default(),
    };
    // Known sections have been removed from the tables by now.
    for name in tables.keys() {
        problems.add(name, &unknown::section(name));
    }
    // Also runs after earlier problems, on defaults in place of the bad values, so that one run reports everything.
    config.check(&mut problems);
    if problems.0.is_empty() {
        Ok(config)
    } else {
        Err(problems)
    }
}

/// Parses a value as in an environment variable: a number, a truth value, a list, or else text.
fn parse(text: &str) -> Value {
    match text.parse() {
        Ok(value) => value,
    }
}

/// Extracts one section. An unknown key or a wrong type is reported and replaced by its default, so that one run
/// reports all of them.
fn section<S: ConfigSection>(name: &str, tables: &mut Dict, problems: &mut Problems) -> S {
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
            let full = format!("{name}.{key}");
            problems.add(&full, &unknown::setting(&full));
        }
        known
    });
    loop {
        match Value::Dict(tag, table.clone()).deserialize::<S>() {
            Ok(section) => return section,
            Err(error) => {
                let key = error.path.first().cloned().unwrap_or_default();
                problems.add(&format!("{name}.{key}"), &error.kind.to_string());
                // The error names no key of the table: removing nothing would repeat it forever.
                if table.remove(&key).is_none() {
                    return S::default();
                }
            }
        }
    }
}
