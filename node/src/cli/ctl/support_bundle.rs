//! `rookery ctl support-bundle`: what the developers need to understand a problem, in one tar file without secrets.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use hyper::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CtlContext;
use super::failovers::FailoverPage;
use super::failure::Failure;
use super::output::{date, size};
use super::tar::TarArchive;
use super::view::OverviewView;

/// Folder of all files in the archive.
const FOLDER: &str = "rookery-support";
/// Entries of the audit log in one answer, the most that a node gives.
const PAGE: u64 = 100;
/// Number of those answers: the log has 1,000 entries.
const PAGES: usize = 10;
/// First file of the archive.
const README: &str = "\
State of a Rookery cluster for a report to its developers, by `rookery ctl support-bundle`.

overview.json       nodes and shards, as one node shows them
failovers.json      takeovers of shards
events.json         audit log, the newest entry first
node-N/version.txt  version of a node's program
node-N/settings.toml  its settings; secrets are ***
node-N/metrics.txt  its metrics
node-N/log.txt      its last warnings and errors
missing.txt         what could not be read, and why

No file has a message or a secret. The audit log and the log lines may name users, and settings have addresses: read
them before you pass the archive on.
";

/// Arguments of `rookery ctl support-bundle`.
#[derive(Args)]
pub(super) struct SupportBundle {
    /// The tar file to write. It must not exist.
    file: PathBuf,
}

/// Archive that was written.
#[derive(Serialize)]
struct WrittenBundle {
    file: String,
    bytes: u64,
    nodes: Vec<u64>,
    missing: Vec<String>,
}

/// Answer of `GET /v1/admin/nodes/{id}/support`.
#[derive(Deserialize)]
struct SupportView {
    version: String,
    settings: String,
    log: Vec<LineView>,
    metrics: String,
}

/// Warning or error of a node's log.
#[derive(Deserialize)]
struct LineView {
    ts: u64,
    level: String,
    text: String,
}

/// Archive that is being filled.
struct BundleContent {
    archive: TarArchive,
    now_s: u64,
    nodes: Vec<u64>,
    missing: Vec<String>,
}

// === impl SupportBundle ===

impl SupportBundle {
    pub(super) async fn run(self, context: &CtlContext) -> Result<(), Failure> {
        let name = self.file.display();
        let unusable = |error: std::io::Error| Failure::Config(format!("{name}: {error}"));
        // First of all: nobody waits for the answers of all nodes and then learns of a wrong path.
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.file);
        let mut file = file.map_err(unusable)?;
        let collected = BundleContent::of(context).await;
        let BundleContent {
            archive,
            nodes,
            missing,
            ..
        } = match collected {
            Ok(collected) => collected,
            Err(failure) => {
                // An empty file would look like a bundle. If it stays, the failure below says more than that.
                drop(std::fs::remove_file(&self.file));
                return Err(failure);
            }
        };
        let bytes = archive.finish();
        file.write_all(&bytes)
            .and_then(|()| file.sync_all())
            .map_err(unusable)?;
        for part in &missing {
            context.output.say(&format!("missing: {part}"));
        }
        let written = WrittenBundle {
            file: name.to_string(),
            bytes: bytes.len() as u64,
            nodes,
            missing,
        };
        context.output.print(&written, || written.text())
    }
}

// === impl BundleContent ===

impl BundleContent {
    /// Asks for all parts. Only the overview is needed: a bundle of a cluster that is not well has gaps.
    async fn of(context: &CtlContext) -> Result<BundleContent, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut all = BundleContent {
            archive: TarArchive::default(),
            now_s: now.as_secs(),
            nodes: Vec::new(),
            missing: Vec::new(),
        };
        let overview: Value = context.client.get(OverviewView::PATH).await?;
        let head = format!(
            "{README}\nmade at {} by ctl {}\n",
            date(all.now_s * 1_000),
            env!("CARGO_PKG_VERSION")
        );
        all.file("README.txt", &head);
        all.json("overview.json", &overview);
        match context.client.get::<Value>(FailoverPage::PATH).await {
            Ok(failovers) => all.json("failovers.json", &failovers),
            Err(failure) => all.misses("failovers.json", &failure),
        }
        match events(context).await {
            Ok(events) => all.json("events.json", &Value::Array(events)),
            Err(failure) => all.misses("events.json", &failure),
        }
        let ids = overview["nodes"].as_array().into_iter().flatten();
        for node in ids.filter_map(|node| node["id"].as_u64()) {
            let path = format!("/v1/admin/nodes/{node}/support");
            match context.client.get::<SupportView>(&path).await {
                Ok(report) => all.node(node, &report),
                Err(failure) => all.misses(&format!("node {node}"), &failure),
            }
        }
        let missing: String = all.missing.iter().map(|part| format!("{part}\n")).collect();
        all.file("missing.txt", &missing);
        Ok(all)
    }

    fn node(&mut self, node: u64, report: &SupportView) {
        let line = |line: &LineView| format!("{} {} {}\n", date(line.ts), line.level, line.text);
        let log: String = report.log.iter().map(line).collect();
        for (name, text) in [
            ("version.txt", format!("{}\n", report.version)),
            ("settings.toml", report.settings.clone()),
            ("metrics.txt", report.metrics.clone()),
            ("log.txt", log),
        ] {
            self.file(&format!("node-{node}/{name}"), &text);
        }
        self.nodes.push(node);
    }

    fn json(&mut self, name: &str, value: &Value) {
        // Serialising a value of JSON does not fail.
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.file(name, &format!("{text}\n"));
    }

    fn file(&mut self, name: &str, text: &str) {
        self.archive
            .file(&format!("{FOLDER}/{name}"), text.as_bytes(), self.now_s);
    }

    fn misses(&mut self, part: &str, failure: &Failure) {
        self.missing.push(format!("{part}: {failure}"));
    }
}

/// Reads the whole audit log, the newest entry first.
async fn events(context: &CtlContext) -> Result<Vec<Value>, Failure> {
    let mut found: Vec<Value> = Vec::new();
    for _ in 0..PAGES {
        let before = match found.last().and_then(|entry| entry["seq"].as_u64()) {
            Some(seq) => format!("&before={seq}"),
            None => String::new(),
        };
        let path = format!("/v1/admin/events?limit={PAGE}{before}");
        let page = context.client.send(Method::GET, &path, None).await?.accepted()?;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let is_last = (items.len() as u64) < PAGE;
        found.extend(items);
        if is_last {
            break;
        }
    }
    Ok(found)
}

// === impl WrittenBundle ===

impl WrittenBundle {
    fn text(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        let (file, size) = (&self.file, size(self.bytes));
        format!("{file}: {size}, with reports of nodes {}\n", nodes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ctl::output::versioned;

    #[test]
    fn json_and_text_of_a_bundle_are_frozen() {
        let written = WrittenBundle {
            file: "b.tar".to_owned(),
            bytes: 2_048,
            nodes: vec![1, 2],
            missing: vec!["node 3: u: no answer".to_owned()],
        };
        let expected =
            r#"{"v":1,"file":"b.tar","bytes":2048,"nodes":[1,2],"missing":["node 3: u: no answer"]}"#;
        assert_eq!(versioned(&written), expected);
        assert_eq!(written.text(), "b.tar: 2.0 KiB, with reports of nodes 1, 2\n");
    }
}
