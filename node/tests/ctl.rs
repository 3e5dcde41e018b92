//! `rookery ctl` as an operator and a script start it: what it prints where, and each of its exit codes.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};

use node::testkit::{ProcessGuard, eventually_blocking as eventually, program, reserved_addr, signal};
use serde_json::Value;
use tempfile::TempDir;

const READ: &str = "a-token-that-reads-in-tests";
const OPERATE: &str = "a-token-that-operates-in-tests";

/// A node of `rookery dev` with tokens of operators.
struct CtlNode {
    process: ProcessGuard,
    url: String,
    dir: TempDir,
}

// === impl CtlNode ===

impl CtlNode {
    fn start(settings: &[&str]) -> CtlNode {
        let dir = tempfile::tempdir().unwrap();
        let addr = reserved_addr();
        let mut dev = program();
        dev.args(["dev", "--http", &addr.to_string(), "--data"])
            .arg(dir.path().join("data"))
            .args([
                "--set",
                &format!("server.admin_token=read:monitor:{READ} operate:ci:{OPERATE}"),
            ])
            .args(["--set", "cluster.shards=2"])
            // The ports that `dev` derives from this one may be in use.
            .args([
                "--set",
                "cluster.listen=127.0.0.1:0",
                "--set",
                "mqtt.listen=127.0.0.1:0",
            ]);
        for setting in settings {
            dev.args(["--set", setting]);
        }
        let node = CtlNode {
            process: ProcessGuard(dev.spawn().unwrap()),
            url: format!("http://{addr}"),
            dir,
        };
        eventually("the node is ready", || {
            let ready = ctl(&node.url, "", &["check", "--ready"]);
            (code(&ready) == 0).then_some(())
        });
        node
    }

    /// Runs a command with the token that may operate.
    fn run(&self, arguments: &[&str]) -> Output {
        ctl(&self.url, OPERATE, arguments)
    }

    /// Runs a command that succeeds, and returns its data.
    fn data(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {output:?}");
        text(&output.stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let data = self.data(&[arguments, &["-o", "json"]].concat());
        assert!(data.starts_with(r#"{"v":1,"#) && data.ends_with("}\n"), "{data}");
        serde_json::from_str(&data).unwrap()
    }

    fn stop(mut self) {
        signal(self.process.0.id(), "-TERM");
        assert!(self.process.0.wait().unwrap().success());
    }
}

fn ctl(url: &str, token: &str, arguments: &[&str]) -> Output {
    let mut command = program();
    command
        .arg("ctl")
        .args(arguments)
        .env("ROOKERY_URL", url)
        .env("ROOKERY_ADMIN_TOKEN", token)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks the exit code, that there are no data, and returns what is stderr instead.
#[track_caller]
fn fails(output: &Output, expected: i32) -> String {
    assert_eq!(code(output), expected, "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    text(&output.stderr)
}

#[test]
fn every_exit_code_has_its_cause() {
    let node = CtlNode::start(&[]);
    // 0: done.
    assert!(
        node.data(&["status"])
            .starts_with("1 of 1 nodes answer, 2 of 2 shards have an owner\n")
    );
    assert_eq!(node.data(&["check"]), "ok\n");
    // 1: refused.
    assert!(fails(&node.run(&["drain", "9"]), 1).contains("no such node"));
    let output = node.run(&["can-stop", "1"]);
    assert_eq!(code(&output), 1, "the only node: {output:?}");
    assert!(
        text(&output.stdout).starts_with("node 1 cannot stop: "),
        "{output:?}"
    );
    // 2: usage.
    fails(&node.run(&["unheard-of"]), 2);
    assert!(fails(&node.run(&["key", "revoke", "aaaaaaaaaaaaaaaa"]), 2).contains("--yes"));
    fails(&ctl("wss://chat.example.org", OPERATE, &["status"]), 2);
    // 3: unreachable. Of several nodes the first that can be reached is asked.
    let absent = format!("http://{}", reserved_addr());
    assert!(fails(&ctl(&absent, OPERATE, &["status"]), 3).contains("no answer"));
    let output = ctl(&format!("{absent},{}", node.url), OPERATE, &["status"]);
    assert_eq!(code(&output), 0, "{output:?}");
    // 4: not allowed.
    for token in ["", "a-token-of-nobody-in-tests"] {
        assert!(fails(&ctl(&node.url, token, &["status"]), 4).contains("not allowed"));
    }
    assert!(fails(&ctl(&node.url, READ, &["resume", "1"]), 4).contains("role operate"));
    assert_eq!(code(&ctl(&node.url, READ, &["nodes"])), 0);
    // 5: not known. This listener takes the request and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    let create = [
        "key",
        "create",
        "--name",
        "n",
        "--scope",
        "read",
        "--timeout",
        "200ms",
    ];
    assert!(fails(&ctl(&url, OPERATE, &create), 5).contains("not known"));
    assert_eq!(
        code(&ctl(&url, OPERATE, &["status", "--timeout", "200ms"])),
        3,
        "a question is no change"
    );
    // 64: configuration.
    let missing = node.dir.path().join("missing").display().to_string();
    fails(&node.run(&["status", "--token-file", &missing]), 64);
    fails(&ctl(&node.url, "short", &["status"]), 64);
    fails(
        &node.run(&["token", "mint", "--user", "ada", "--config", &missing]),
        64,
    );
    node.stop();
    // 3 again: the node is gone.
    fails(&ctl(&absent, OPERATE, &["check", "--ready"]), 3);
}

#[test]
fn changes_of_the_nodes_are_refused_to_a_single_node() {
    let node = CtlNode::start(&[]);
    // 1: refused, with the reason.
    assert!(fails(&node.run(&["leave", "1", "--yes"]), 1).contains("no other node could hold the data"));
    assert!(fails(&node.run(&["leave", "9"]), 1).contains("no such node"));
    assert!(fails(&node.run(&["forget", "1", "--yes"]), 1).contains("node 1 answers"));
    assert!(fails(&node.run(&["replace", "1", "1"]), 1).contains("node 1 answers"));
    assert!(fails(&node.run(&["move", "0", "9"]), 1).contains("no such node"));
    assert!(fails(&node.run(&["rolling-restart"]), 1).contains("node 1 cannot stop"));
    assert!(fails(&node.run(&["rolling-restart", "--node", "9"]), 1).contains("no node 9"));
    // 2: usage.
    assert!(fails(&node.run(&["forget", "1"]), 2).contains("--yes"));
    fails(&node.run(&["move", "every", "1"]), 2);
    fails(&node.run(&["leave"]), 2);
    // 3 and 4.
    let absent = format!("http://{}", reserved_addr());
    for arguments in [
        &["leave", "1"][..],
        &["replace", "1", "2"],
        &["forget", "1", "--yes"],
        &["move", "0", "1"],
        &["rebalance"],
        &["rolling-restart"],
        &["join"],
    ] {
        assert!(
            fails(&ctl(&absent, OPERATE, arguments), 3).contains("no answer"),
            "{arguments:?}"
        );
    }
    for arguments in [
        &["leave", "1"][..],
        &["forget", "1", "--yes"],
        &["move", "0", "1"],
        &["rebalance"],
    ] {
        assert!(
            fails(&ctl(&node.url, READ, arguments), 4).contains("role operate"),
            "{arguments:?}"
        );
    }
    // 5: not known, because it goes on without this command.
    assert!(fails(&node.run(&["join", "--wait", "300ms"]), 5).contains("waiting for the new node"));
    // 0: the meta group moves to where it is, and the owners are as preferred.
    assert_eq!(node.json(&["move", "meta", "1"])["owner"], 1);
    assert_eq!(node.json(&["rebalance"])["owned"]["1"], 3);
    let needs = node.json(&["join", "--wait", "0s"]);
    assert_eq!(
        (&needs["next_node"], needs["seeds"].as_array().unwrap().len()),
        (&2.into(), 1)
    );
    let acts: Vec<_> = node.json(&["events", "--limit", "100"])["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["act"].as_str().unwrap().to_owned())
        .collect();
    for act in ["nodes.leave", "nodes.remove", "shards.move", "shards.rebalance"] {
        assert!(acts.iter().any(|found| found == act), "{act}: {acts:?}");
    }
    node.stop();
}

#[test]
fn interrupt_ends_the_watching_and_says_so() {
    let node = CtlNode::start(&[]);
    let mut command = program();
    command
        .args(["ctl", "join"])
        .env("ROOKERY_URL", &node.url)
        .env("ROOKERY_ADMIN_TOKEN", OPERATE)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let mut stderr = BufReader::new(watching.stderr.take().unwrap());
    let mut text_so_far = String::new();
    while !text_so_far.contains("waiting for the new node") {
        assert_ne!(stderr.read_line(&mut text_so_far).unwrap(), 0, "{text_so_far}");
    }
    assert!(text_so_far.contains("seeds = ["), "{text_so_far}");
    signal(watching.id(), "-INT");
    stderr.read_to_string(&mut text_so_far).unwrap();
    let output = watching.wait_with_output().unwrap();
    assert_eq!(code(&output), 5, "{text_so_far}");
    assert!(
        text_so_far.contains("no longer watched; a node that starts joins by itself"),
        "{text_so_far}"
    );
    node.stop();
}

#[test]
fn check_of_a_degraded_cluster_fails() {
    let node = CtlNode::start(&["storage.fsync=false"]);
    let output = node.run(&["check"]);
    assert_eq!(code(&output), 6, "{output:?}");
    let line = "warning: node 1 does not sync: acknowledged messages may be lost\n";
    assert_eq!(text(&output.stdout), line);
    let output = node.run(&["check", "--format", "json"]);
    assert_eq!(code(&output), 6, "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["v"], &result["ok"], &result["problems"][0]["what"]),
        (&1.into(), &false.into(), &"fsync_off".into())
    );
    let nagios = ["check", "--format", "nagios"];
    let output = node.run(&nagios);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(
        text(&output.stdout).starts_with("ROOKERY WARNING - node 1 does not sync"),
        "{output:?}"
    );
    let url = node.url.clone();
    node.stop();
    let output = ctl(&url, OPERATE, &nagios);
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(
        text(&output.stdout).starts_with("ROOKERY UNKNOWN - "),
        "{output:?}"
    );
}

#[test]
fn key_is_printed_once_rotated_revoked_and_audited() {
    let node = CtlNode::start(&[]);
    let create = [
        "key",
        "create",
        "--name",
        "shop",
        "--scope",
        "read,users",
        "--ttl",
        "90days",
    ];
    let output = node.run(&create);
    assert_eq!(code(&output), 0, "{output:?}");
    let (secret, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(
        secret.starts_with("rook_") && secret.lines().count() == 1,
        "{secret}"
    );
    assert!(!stderr.contains(secret.trim()), "{stderr}");
    let listed = node.json(&["key", "list"]);
    let first = listed["items"][0]["key_id"].as_str().unwrap().to_owned();
    assert!(secret.contains(&first), "{listed}");
    let rotated = node.json(&["key", "rotate", &first]);
    let second = rotated["key_id"].as_str().unwrap();
    assert!(rotated["key"].as_str().unwrap().contains(second));
    let keys = node.json(&["key", "list"])["items"].clone();
    let old = keys
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["key_id"] == *first);
    let new = keys
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["key_id"] == *second);
    for field in ["name", "scopes", "expires"] {
        assert_eq!(old.unwrap()[field], new.unwrap()[field], "{field}");
    }
    node.json(&["key", "revoke", &first, "--yes"]);
    let events = node.json(&["events", "--limit", "10"]);
    let found: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| ["who", "act", "target", "outcome"].map(|field| item[field].as_str().unwrap_or_default()))
        .collect();
    let expected = [
        ["ci", "keys.revoke", &first, "done"],
        ["ci", "keys.create", second, "done"],
        ["ci", "keys.create", &first, "done"],
    ];
    assert_eq!(found, expected);
    let table = node.data(&["events"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(!table.contains(secret.trim()));
    node.stop();
}

#[test]
fn operator_sees_nodes_shards_sessions_and_users() {
    let node = CtlNode::start(&[]);
    assert_eq!(node.json(&["nodes"])["nodes"][0]["report"]["fsync"], true);
    let shards = node.json(&["shards"]);
    assert_eq!(shards["shards"].as_array().unwrap().len(), 2);
    assert_eq!(shards["meta"]["replicas"][0]["role"], "leader");
    assert_eq!(node.data(&["shards"]).lines().count(), 4);
    let sessions = ["sessions", "--user", "ada+1@example.org"];
    assert_eq!(node.json(&sessions)["items"], Value::Array(Vec::new()));
    assert_eq!(
        node.json(&["user", "show", "ada+1@example.org"])["u"],
        "ada+1@example.org"
    );
    node.json(&["user", "disconnect", "ada"]);
    fails(&node.run(&["user", "revoke", "ada"]), 2);
    node.json(&["user", "revoke", "ada", "--yes"]);
    assert!(
        node.json(&["user", "show", "ada"])["tokens_from"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert_eq!(node.json(&["resume", "1"])["node"], 1);
    // A token of a file, as a cron job has it.
    let file = node.dir.path().join("token");
    std::fs::write(&file, format!("read:monitor:{READ}\n")).unwrap();
    let file = file.display().to_string();
    let output = ctl(&node.url, "", &["status", "--token-file", &file]);
    assert_eq!(code(&output), 0, "{output:?}");
    node.stop();
}

#[test]
fn token_is_minted_by_the_settings_of_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    let settings = "[auth]\nsecret = \"a-secret-that-signs-the-tokens-of-tests\"\nissuer = \"tests\"\n\
                    [cluster]\nseeds = [\"127.0.0.1:9080\"]\n";
    std::fs::write(&file, settings).unwrap();
    let path = file.display().to_string();
    let mint = ["token", "mint", "--user", "ada", "--ttl", "5m", "--config", &path];
    let output = ctl("http://127.0.0.1:1", "", &mint);
    assert_eq!(code(&output), 0, "{output:?}");
    let token = text(&output.stdout);
    assert_eq!(
        (token.lines().count(), token.split('.').count()),
        (1, 3),
        "{token}"
    );
    assert!(!text(&output.stderr).contains(token.trim()));
}

#[test]
fn completions_and_man_pages_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program()
            .args(["completions", shell])
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("can-stop"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man");
    assert!(program().arg("man").arg(&pages).status().unwrap().success());
    let page = |name: &str| std::fs::read_to_string(Path::join(&pages, name)).unwrap();
    assert!(page("rookery-ctl.1").contains("can\\-stop"));
    assert!(page("rookery-ctl-drain.1").contains("Drains a node"));
    assert!(page("rookery.1").contains("rookery"));
}

#[test]
fn admin_api_of_a_node_is_not_on_the_port_for_clients() {
    let dir = tempfile::tempdir().unwrap();
    let [clients, admin, between]: [SocketAddr; 3] = [reserved_addr(), reserved_addr(), reserved_addr()];
    let file = dir.path().join("node.toml");
    let settings = format!(
        "[server]\nlisten = \"{clients}\"\nadmin = \"{admin}\"\nadmin_token = \"{OPERATE}\"\n\
         [auth]\nsecret = \"a-secret-that-signs-the-tokens-of-tests\"\n\
         [cluster]\nlisten = \"{between}\"\nseeds = [\"{between}\"]\nshards = 2\n[storage]\ndir = {:?}\n",
        dir.path().join("data")
    );
    std::fs::write(&file, settings).unwrap();
    let node = program().args(["node", "--config"]).arg(&file).spawn().unwrap();
    let mut node = ProcessGuard(node);
    let (clients, admin) = (format!("http://{clients}"), format!("http://{admin}"));
    eventually("the node is ready", || {
        let ready = ctl(&admin, "", &["check", "--ready"]);
        (code(&ready) == 0).then_some(())
    });
    assert_eq!(code(&ctl(&admin, OPERATE, &["status"])), 0);
    let stderr = fails(&ctl(&clients, OPERATE, &["status"]), 1);
    assert!(stderr.contains("server.admin"), "{stderr}");
    assert_eq!(
        code(&ctl(&clients, "", &["check", "--ready"])),
        0,
        "probes are on both"
    );
    signal(node.0.id(), "-TERM");
    assert!(node.0.wait().unwrap().success());
}
