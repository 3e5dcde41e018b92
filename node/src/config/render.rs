//! Renders the example file from the defaults.

use std::fmt::Write;

use super::Config;
use super::section::ConfigSection;

/// Returns the text of `config/node.example.toml`: every key with its description and its default, commented out.
///
/// # Panics
/// Never: the sections are plain tables, and writing to a string does not fail.
#[must_use]
pub fn example() -> String {
    let mut text = String::from(
        "# Every setting of a Rookery node with its default. Later sources win: the defaults, this file, the\n\
         # environment (ROOKERY_SESSION__IDLE_TIMEOUT=60s), the command line (--set session.idle_timeout=60s).\n\
         # Rendered by `rookery config`; a test keeps it so.\n",
    );
    let defaults = Config::default();
    section(&mut text, "server", &defaults.server);
    section(&mut text, "auth", &defaults.auth);
    section(&mut text, "login", &defaults.login);
    section(&mut text, "limits", &defaults.limits);
    section(&mut text, "session", &defaults.session);
    section(&mut text, "chat", &defaults.chat);
    section(&mut text, "presence", &defaults.presence);
    section(&mut text, "retention", &defaults.retention);
    section(&mut text, "webhook", &defaults.webhook);
    section(&mut text, "cable", &defaults.cable);
    section(&mut text, "socketio", &defaults.socketio);
    section(&mut text, "mqtt", &defaults.mqtt);
    section(&mut text, "cluster", &defaults.cluster);
    section(&mut text, "storage", &defaults.storage);
    section(&mut text, "telemetry", &defaults.telemetry);
    text
}

fn section<S: ConfigSection>(text: &mut String, name: &str, values: &S) {
    let table = toml::Table::try_from(values).expect("a section is a table");
    text.push('\n');
    for line in S::ABOUT {
        writeln!(text, "#{line}").expect("a string takes everything");
    }
    writeln!(text, "[{name}]").expect("a string takes everything");
    for (key, doc) in S::KEYS {
        for line in *doc {
            writeln!(text, "#{line}").expect("a string takes everything");
        }
        let value = table.get(*key).expect("every key has a default");
        writeln!(text, "# {key} = {value}").expect("a string takes everything");
    }
}
