//! Generated references: every name that a user looks up has a heading there, and so an anchor. Their texts are compared
//! by `make docs-check`.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::Path;

use clap::CommandFactory;
use node::cli::Cli;
use node::testkit::{SecretString, TestCluster, WEBHOOK_SECRET};
use protocol::{CloseCode, ErrorCode};

/// Returns the headings of a document below `docs/`.
fn headings(document: &str) -> BTreeSet<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = read_to_string(docs.join(document)).unwrap();
    let titles = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| line.split_once(' '));
    titles.map(|(_, title)| title.to_owned()).collect()
}

/// Asserts that a document has a heading for each of the names.
fn assert_headings(document: &str, names: impl IntoIterator<Item = String>) -> usize {
    let headings = headings(document);
    let names: Vec<_> = names.into_iter().collect();
    for name in &names {
        assert!(
            headings.contains(name),
            "docs/{document} has no heading `{name}`: run scripts/references.sh"
        );
    }
    names.len()
}

#[test]
fn every_error_code_and_close_code_has_an_anchor() {
    let codes = ErrorCode::ALL.map(|code| code.to_string());
    let closes = CloseCode::ALL.map(|code| code.code().to_string());
    assert_headings("reference/errors.md", codes.into_iter().chain(closes));
}

#[test]
fn every_setting_has_an_anchor() {
    // A test of the settings keeps this file as the program prints them.
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/node.example.toml");
    let example = read_to_string(example).unwrap();
    let mut section = "";
    let mut keys = Vec::new();
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) {
            // A description may hold an equals sign, too, but not behind its first word.
            keys.extend((!key.contains(' ')).then(|| format!("{section}.{key}")));
        }
    }
    let count = assert_headings("reference/settings.md", keys);
    assert!(count > 60, "{count} settings");
}

#[test]
fn every_command_of_the_program_has_an_anchor() {
    fn add(command: &clap::Command, before: &str, names: &mut Vec<String>) {
        let name = format!("{before}{}", command.get_name());
        for inner in command.get_subcommands() {
            add(inner, &format!("{name} "), names);
        }
        names.push(name);
    }
    let mut names = Vec::new();
    add(&Cli::command(), "", &mut names);
    let count = assert_headings("reference/cli.md", names);
    assert!(count > 8, "{count} commands");
}

#[tokio::test]
async fn every_metric_has_an_anchor() {
    let cluster = TestCluster::with(|config| {
        // Counts posts to a service that nobody runs: no message is sent here.
        config.webhook.url = "http://127.0.0.1:9/".to_owned();
        config.webhook.secret = SecretString(WEBHOOK_SECRET.to_owned());
    })
    .await;
    let (_, metrics) = cluster.nodes[0].get("/metrics").await;
    // The heading is the name of a family with the suffix of its samples.
    let names = metrics.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        Some(format!("{name}{suffix}"))
    });
    let count = assert_headings("reference/metrics.md", names);
    assert!(count > 80, "{count} metrics");
}

#[test]
fn every_alert_has_an_anchor() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/rules.yaml");
    let rules = read_to_string(rules).unwrap();
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let count = assert_headings("operations.md", alerts.map(str::to_owned));
    assert!(count > 20, "{count} alerts");
}
