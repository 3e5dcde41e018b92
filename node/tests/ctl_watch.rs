//! What `rookery ctl` shows of a running cluster: changes, load, failovers and the bundle for the developers.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use node::testkit::{ProcessGuard, eventually_blocking as eventually, program, reserved_addr, signal};
use serde_json::Value;
use tempfile::TempDir;

const OPERATE: &str = "an-admin-token-that-nobody-may-see";
const SECRET: &str = "a-secret-of-tokens-that-nobody-may-see";
const HOOK: &str = "d2hzZWMtdGhhdC1ub2JvZHktbWF5LXNlZQ==";
const HOOK_PATH: &str = "a-path-that-nobody-may-see";

/// Node with its address for everything.
struct WatchedNode {
    process: ProcessGuard,
    url: String,
    dir: TempDir,
}

// === impl WatchedNode ===

impl WatchedNode {
    fn start() -> WatchedNode {
        let dir = tempfile::tempdir().unwrap();
        let addr = reserved_addr();
        let mut dev = program();
        dev.args(["dev", "--http", &addr.to_string(), "--data"])
            .arg(dir.path().join("data"));
        for setting in [
            format!("server.admin_token={OPERATE}"),
            format!("auth.secret={SECRET}"),
            format!("webhook.url=http://127.0.0.1:9/{HOOK_PATH}"),
            format!("webhook.secret={HOOK}"),
            "cluster.shards=2".to_owned(),
            // The ports that `dev` derives from this one may be in use.
            "cluster.listen=127.0.0.1:0".to_owned(),
            "mqtt.listen=127.0.0.1:0".to_owned(),
            // A warning at the start.
            "storage.fsync=false".to_owned(),
        ] {
            dev.args(["--set", &setting]);
        }
        let node = WatchedNode {
            process: ProcessGuard(dev.spawn().unwrap()),
            url: format!("http://{addr}"),
            dir,
        };
        eventually("the node is ready", || {
            let ready = node.ctl(&["check", "--ready"]).output().unwrap();
            ready.status.success().then_some(())
        });
        node
    }

    fn ctl(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("ctl")
            .args(arguments)
            .env("ROOKERY_URL", &self.url)
            .env("ROOKERY_ADMIN_TOKEN", OPERATE)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command that succeeds, and returns its data and what it says.
    fn run(&self, arguments: &[&str]) -> (String, String) {
        let output = self.ctl(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    }
}

/// Reads lines of a command until one has all the words, and returns it.
fn line_with(lines: &mut impl Iterator<Item = std::io::Result<String>>, words: &[&str]) -> String {
    loop {
        let line = lines.next().expect("the output goes on").unwrap();
        if words.iter().all(|word| line.contains(word)) {
            return line;
        }
    }
}

fn ends(mut child: Child) {
    signal(child.id(), "-INT");
    assert!(child.wait().unwrap().success(), "Ctrl-C is no failure");
}

#[test]
fn changes_are_printed_as_they_come_and_ctrl_c_ends_them() {
    let node = WatchedNode::start();
    let mut people = node.ctl(&["watch"]).spawn().unwrap();
    let mut programs = node.ctl(&["watch", "-o", "ndjson"]).spawn().unwrap();
    for watch in [&mut people, &mut programs] {
        let mut hints = BufReader::new(watch.stderr.take().unwrap()).lines();
        line_with(&mut hints, &["1 of 1 nodes answer, 2 of 2 shards have an owner"]);
    }
    let mut texts = BufReader::new(people.stdout.take().unwrap()).lines();
    let mut jsons = BufReader::new(programs.stdout.take().unwrap()).lines();
    // Beside the first two the same feed serves a third.
    let (overviews, hints) = node.run(&["top", "--for", "3s", "-o", "ndjson", "--quiet"]);
    let first: Value = serde_json::from_str(overviews.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["v"], &first["nodes"][0]["report"]["state"], hints.as_str()),
        (&1.into(), &"serving".into(), "")
    );
    let WatchedNode { mut process, dir, .. } = node;
    signal(process.0.id(), "-TERM");
    let json = line_with(&mut jsons, &["\"what\":\"unreachable\""]);
    assert!(json.starts_with(r#"{"v":1,"ts":"#), "{json}");
    line_with(&mut texts, &["no answer"]);
    ends(people);
    ends(programs);
    assert!(process.0.wait().unwrap().success());
    drop(dir);
}

#[test]
fn load_is_plain_text_without_a_terminal() {
    let node = WatchedNode::start();
    let (text, hints) = node.run(&["top", "--for", "3s"]);
    assert!(
        !text.contains('\x1b'),
        "no terminal, no control sequences: {text}"
    );
    assert_eq!(hints, "");
    let blocks: Vec<&str> = text
        .split("1 of 1 nodes answer, 2 of 2 shards have an owner\n")
        .collect();
    assert!(blocks.len() > 2, "several overviews: {text}");
    assert!(
        blocks[1].contains(" sends/s, ") && blocks[1].contains("NODE  ADDRESS"),
        "{text}"
    );
    // Nobody but this node had its shards, if it lost and regained one at its start.
    let (text, _) = node.run(&["failovers", "-o", "json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap();
    assert!(
        items
            .iter()
            .all(|item| (&item["from"], &item["to"]) == (&1.into(), &1.into())),
        "{text}"
    );
    let (text, _) = node.run(&["failovers", "--since", "1h"]);
    assert!(text.starts_with("TIME "), "{text}");
}

#[test]
fn requests_are_printed_as_curl_without_the_token() {
    let node = WatchedNode::start();
    let (_, hints) = node.run(&["nodes", "--debug"]);
    let expected = format!(
        "curl -sS -H \"Authorization: Bearer $ROOKERY_ADMIN_TOKEN\" '{}/v1/admin/overview'\n",
        node.url
    );
    assert_eq!(hints, expected);
    let repeated = Command::new("sh")
        .args(["-c", hints.trim()])
        .env("ROOKERY_ADMIN_TOKEN", OPERATE)
        .output();
    // Not every machine has curl.
    if let Ok(repeated) = repeated
        && repeated.status.success()
    {
        let overview: Value = serde_json::from_slice(&repeated.stdout).unwrap();
        assert_eq!(overview["node"], 1);
    }
    // A context has the address and the file of the token.
    let config = node.dir.path().join("rookery");
    std::fs::create_dir(&config).unwrap();
    let token = config.join("token");
    std::fs::write(&token, OPERATE).unwrap();
    let contexts = format!("[here]\nurl = [\"{}\"]\ntoken_file = {token:?}\n", node.url);
    std::fs::write(config.join("contexts.toml"), contexts).unwrap();
    let by_context = |name: &str| {
        let mut command = program();
        command
            .args(["ctl", "nodes", "--context", name])
            .env("XDG_CONFIG_HOME", node.dir.path())
            .env_remove("ROOKERY_URL")
            .env_remove("ROOKERY_ADMIN_TOKEN");
        command.status().unwrap().code()
    };
    assert_eq!((by_context("here"), by_context("there")), (Some(0), Some(64)));
}

#[test]
fn bundle_has_everything_but_secrets() {
    let node = WatchedNode::start();
    node.run(&["resume", "1"]);
    let file = node.dir.path().join("bundle.tar");
    let path = file.display().to_string();
    let (text, hints) = node.run(&["support-bundle", &path]);
    assert!(text.contains("with reports of nodes 1"), "{text}");
    assert_eq!(hints, "");
    // Kept from others, and never overwritten.
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = node.ctl(&["support-bundle", &path]).output().unwrap();
    assert_eq!(again.status.code(), Some(64), "{again:?}");

    let bytes = std::fs::read(&file).unwrap();
    for secret in [OPERATE, SECRET, HOOK, HOOK_PATH] {
        let found = bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the bundle");
    }
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(node.dir.path())
        .status();
    assert!(unpacked.unwrap().success());
    let folder = node.dir.path().join("rookery-support");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert!(read("overview.json").contains("\"shards\""));
    assert!(read("failovers.json").contains("\"items\""));
    assert!(read("events.json").contains("nodes.resume"));
    assert!(read("node-1/settings.toml").contains("secret = \"***\""));
    assert!(read("node-1/metrics.txt").contains("rookery_build_info"));
    assert!(
        read("node-1/log.txt").contains(" WARN "),
        "{}",
        read("node-1/log.txt")
    );
    assert_eq!(read("missing.txt"), "");
}
