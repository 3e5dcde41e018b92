//! Names of metrics in the documents, the alerts and the catalogue of errors: each is one that a node shows, and each
//! alert has its section.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use node::testkit::{SecretString, TestCertificates, TestCluster, WEBHOOK_SECRET};

/// Fields of `GET /v1/cluster` that documents name without the prefix of the metrics.
const FIELDS: [&str; 4] = ["clock_skew_ms", "clock_wrong", "feature_level", "map_version"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the texts that name metrics, with their paths.
fn texts() -> Vec<(PathBuf, String)> {
    let mut files: Vec<_> = [
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
        "node/src/gateway/error_catalogue.rs",
    ]
    .map(|file| root().join(file))
    .into();
    let mut folders = vec![root().join("docs"), root().join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            // Reports are records of their day.
            if path.is_dir() && !path.ends_with("reports") {
                folders.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    let read = |path: PathBuf| read_to_string(&path).ok().map(|text| (path, text));
    files.into_iter().filter_map(read).collect()
}

/// Returns the words of a text that consist of the characters of a metric's name.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
}

/// Returns the names of a node's metrics: those of the families, and those of the samples.
fn exposed(metrics: &str) -> BTreeSet<&str> {
    let names = metrics
        .lines()
        .filter_map(|line| match line.strip_prefix("# TYPE ") {
            Some(family) => family.split(' ').next(),
            None if line.starts_with('#') => None,
            None => line.split(['{', ' ']).next(),
        });
    names.collect()
}

/// Returns `true` for a word with the prefix of metrics. The names of packages have a version behind it.
fn is_metric(word: &str) -> bool {
    word.strip_prefix("rookery_")
        .is_some_and(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
}

#[tokio::test]
async fn every_documented_metric_exists() {
    let certificates = TestCertificates::new();
    let number = Cell::new(0);
    let cluster = TestCluster::with(|config| {
        number.set(number.get() + 1);
        config.cluster.tls_dir = certificates.node_dir(number.get()).display().to_string();
        config.cluster.tls_required = true;
        // Counts posts to a service that nobody runs: no message is sent here.
        config.webhook.url = "http://127.0.0.1:9/".to_owned();
        config.webhook.secret = SecretString(WEBHOOK_SECRET.to_owned());
    })
    .await;
    let (_, metrics) = cluster.nodes[0].get("/metrics").await;
    let exposed = exposed(&metrics);
    let without_prefix: BTreeSet<_> = exposed
        .iter()
        .filter_map(|name| name.strip_prefix("rookery_"))
        .filter(|name| name.contains('_') && !FIELDS.contains(name))
        .collect();
    let mut named = 0;
    for (path, text) in texts() {
        for word in words(&text).filter(|word| is_metric(word)) {
            assert!(
                exposed.contains(word),
                "{}: no metric is named {word}",
                path.display()
            );
            named += 1;
        }
        for word in text.split('`').skip(1).step_by(2) {
            assert!(
                !without_prefix.contains(word),
                "{}: {word} lacks the prefix rookery_",
                path.display()
            );
        }
    }
    assert!(named > 60, "{named} names");
}

#[test]
fn every_alert_has_its_section_and_every_section_its_alert() {
    let rules = read_to_string(root().join("deploy/prometheus/rules.yaml")).unwrap();
    let page = read_to_string(root().join("docs/operations.md")).unwrap();
    let after = |key: &'static str| {
        rules
            .lines()
            .filter_map(move |line| line.trim().trim_start_matches("- ").strip_prefix(key))
            .map(str::trim)
    };
    let alerts: Vec<_> = after("alert:").collect();
    let links: Vec<_> = after("runbook_url:").collect();
    let sections: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Rookery"))
        .collect();
    assert!(alerts.len() > 20, "{alerts:?}");
    assert_eq!(alerts.iter().copied().collect::<BTreeSet<_>>(), sections);
    let anchors: Vec<_> = alerts
        .iter()
        .map(|alert| format!("docs/operations.md#{}", alert.to_lowercase()))
        .collect();
    assert_eq!(links, anchors);
    // Each begins with the symptom, and says where to look, what to do, and how to see that it helped.
    for section in page
        .split("\n### ")
        .filter(|section| section.starts_with("Rookery"))
    {
        let title = section.lines().next();
        let rule = rules.split("- alert: ").find(|rule| rule.lines().next() == title);
        let is_page = rule.unwrap().contains("severity: page");
        let severity = if is_page { "(Page.)" } else { "(Ticket.)" };
        assert!(section.contains(severity), "{severity} in {section}");
        for part in ["**Look:**", "**Act:**", "**Verify:**", "Do not "] {
            assert!(section.contains(part), "{part} in {section}");
        }
    }
}
