//! The program itself: its commands as processes, as a person or a script starts them.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use node::testkit::{
    Call, PATIENCE, ProcessGuard, TerminalClient, TestCertificates, eventually_blocking as eventually,
    program, signal,
};
use serde_json::Value;

fn rookery() -> Command {
    let mut command = program();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ports that were free a moment ago, apart from those of other tests and far below those that the system hands out.
fn ports(count: u16) -> u16 {
    /// Tests of one process take turns too.
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() % 90).unwrap() * 100;
    let start = 20_000 + of_process + TAKEN.fetch_add(10, Ordering::Relaxed);
    (start..31_000)
        .step_by(10)
        .find(|base| {
            (0..count).all(|i| {
                [base + i, base + 1_000 + i, base + 3_000 + i]
                    .iter()
                    .all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            })
        })
        .unwrap()
}

fn get(http: &str, path: &str) -> Option<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let reply = Call::new("GET", path).send(http.parse().unwrap());
    let reply = runtime.unwrap().block_on(reply)?;
    Some((reply.status, reply.text))
}

/// What a chat client prints that says these lines, each when the one before has had its effect on its output.
fn chat(http: &str, user: &str, steps: &[(&str, &str)]) -> String {
    let mut client = TerminalClient::start(user, &[http.parse().unwrap()]);
    for (line, effect) in steps {
        client.types(line);
        eventually(&format!("{user} sees {effect:?}"), || {
            client.screen().contains(effect)
        });
    }
    client.screen()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_version_is_printed() {
    let output = rookery().arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("rookery {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_bad_configuration_is_refused_with_every_key_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("node.toml");
    std::fs::write(
        &file,
        "[session]\nidle_timeout = 60000\n[limits]\nsends_per_s = 5\n",
    )
    .unwrap();
    let output = rookery().args(["node", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "EX_USAGE");
    let text = stderr(&output);
    for key in [
        "session.idle_timeout: 60000 is not a duration with its unit (ms, s, m, h or days), for example \"5s\"",
        "limits.sends_per_s: no such setting; the nearest is limits.sends_per_second",
        "auth.secret: ",
    ] {
        assert!(text.contains(key), "{key} in:\n{text}");
    }
}

/// The end of a pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    for command in [
        ["--help"].as_slice(),
        &["config"],
        &["schema", "openapi"],
        &["completions", "bash"],
    ] {
        let output = rookery().args(command).stdout(unread()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}: {output:?}");
        assert_eq!(stderr(&output), "", "{command:?}");
        let full = std::fs::File::options().write(true).open("/dev/full");
        let output = rookery().args(command).stdout(full.unwrap()).output().unwrap();
        // clap prints the help by itself.
        if command != ["--help"] {
            assert_eq!(output.status.code(), Some(1), "{command:?}: {output:?}");
            assert!(
                stderr(&output).contains("rookery: standard output: "),
                "{output:?}"
            );
        }
    }
    let url = format!("http://127.0.0.1:{}", ports(1));
    let absent = rookery()
        .args(["ctl", "nodes", "--url", &url])
        .stderr(unread())
        .output();
    assert_eq!(absent.unwrap().status.code(), Some(3));

    // A node goes on, and what asks it ends with the code of the answer.
    let (dir, http) = (tempfile::tempdir().unwrap(), format!("127.0.0.1:{}", ports(1)));
    let node = rookery()
        .args(["dev", "--http", &http, "--set", "telemetry.log=debug", "--data"])
        .arg(dir.path())
        .stdout(unread())
        .stderr(unread())
        .spawn();
    let mut node = ProcessGuard(node.unwrap());
    eventually("the node is ready", || {
        get(&http, "/readyz").filter(|(code, _)| *code == 200)
    });
    let url = format!("http://{http}");
    for command in [["ctl", "nodes", "-o", "json"].as_slice(), &["ctl", "status"]] {
        let asked = rookery()
            .args(command)
            .args(["--url", &url])
            .stdout(unread())
            .output();
        let asked = asked.unwrap();
        assert_eq!((asked.status.code(), stderr(&asked)), (Some(0), String::new()));
    }
    // The keyboard stays open: the client ends because nobody sees what it prints.
    let chat = rookery()
        .args(["chat", "--user", "alice", "--url", &format!("ws://{http}")])
        .stdin(Stdio::piped())
        .stdout(unread())
        .spawn();
    let mut chat = ProcessGuard(chat.unwrap());
    let ended = eventually("the client ends", || chat.0.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
    signal(node.0.id(), "-TERM");
    assert!(node.0.wait().unwrap().success());
}

#[test]
fn a_check_ends_with_the_code_of_its_result() {
    let dir = tempfile::tempdir().unwrap();
    let check = |url: &str| {
        let output = rookery().args(["ctl", "check", "--ready", "--url", url]).output();
        output.unwrap()
    };
    let http = format!("127.0.0.1:{}", ports(1));
    let url = format!("http://{http}");
    let absent = check(&url);
    assert_eq!(absent.status.code(), Some(3), "{}", stderr(&absent));
    assert!(stderr(&absent).contains("no answer"), "{}", stderr(&absent));

    let node = rookery()
        .args(["dev", "--http", &http, "--data"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut node = ProcessGuard(node.unwrap());
    eventually("the check succeeds", || {
        let output = check(&url);
        // A node that starts answers with its reason, or not at all yet.
        let known = [Some(0), Some(3), Some(6)].contains(&output.status.code());
        assert!(known, "{output:?}");
        (output.status.code() == Some(0)).then_some(())
    });
    let by_environment = rookery()
        .args(["ctl", "check", "--ready"])
        .env("ROOKERY_URL", &url)
        .output()
        .unwrap();
    assert_eq!(by_environment.stdout, b"ready\n");
    signal(node.0.id(), "-TERM");
    assert!(node.0.wait().unwrap().success());

    for usage in [
        ["ctl", "check", "--ready", "--url", "wss://chat.example.org"].as_slice(),
        &["schema", "nothing"],
    ] {
        let output = rookery().args(usage).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn a_node_with_a_certificate_is_checked_and_chatted_with() {
    let certificates = TestCertificates::new();
    let dir = tempfile::tempdir().unwrap();
    let port = ports(1);
    let log = dir.path().join("log");
    let node = rookery()
        .args(["dev", "--http", &format!("127.0.0.1:{port}"), "--data"])
        .arg(dir.path().join("data"))
        .arg("--set")
        .arg(format!(
            "server.tls_cert_file={}",
            certificates.cert_file().display()
        ))
        .arg("--set")
        .arg(format!(
            "server.tls_key_file={}",
            certificates.key_file().display()
        ))
        .stdout(std::fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn();
    let mut node = ProcessGuard(node.unwrap());
    let code = |url: &str| {
        let output = rookery().args(["ctl", "check", "--ready", "--url", url]).output();
        output.unwrap().status.code()
    };
    // No certificate is verified on the own machine.
    eventually("the check succeeds", || {
        code(&format!("https://127.0.0.1:{port}")) == Some(0)
    });
    assert_eq!(code(&format!("http://127.0.0.1:{port}")), Some(3));
    let url_line = format!("rookery chat --url wss://127.0.0.1:{port} ");
    eventually("the banner names the URL", || {
        std::fs::read_to_string(&log).unwrap().contains(&url_line)
    });

    let url = [format!("wss://localhost:{port}")];
    let mut trusting = program();
    trusting.env("SSL_CERT_FILE", certificates.authority_file());
    let mut alice = TerminalClient::with("alice", &url, trusting);
    eventually("alice is connected", || alice.screen().contains("/help"));
    alice.types("/open bob");
    eventually("the conversation is open", || {
        alice.screen().contains("-- with bob")
    });
    alice.types("by TLS");
    eventually("the message is acknowledged", || {
        alice.screen().contains("sent #")
    });
    let (others, mut other) = (TestCertificates::new(), program());
    other.env("SSL_CERT_FILE", others.authority_file());
    let bob = TerminalClient::with("bob", &url, other);
    eventually("bob refuses the certificate", || {
        bob.screen().contains("invalid peer certificate")
    });
    signal(node.0.id(), "-TERM");
    assert!(node.0.wait().unwrap().success());
}

#[test]
fn a_service_manager_is_notified_of_start_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let http = format!("127.0.0.1:{}", ports(1));
    let node = rookery()
        .args(["dev", "--http", &http, "--data"])
        .arg(dir.path().join("data"))
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut node = ProcessGuard(node.unwrap());
    let received = || {
        let mut text = [0; 64];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    assert_eq!(received(), "READY=1");
    assert_eq!(get(&http, "/livez").unwrap().0, 200, "it serves by then");
    eventually("the node is ready", || {
        get(&http, "/readyz").filter(|(code, _)| *code == 200)
    });
    signal(node.0.id(), "-TERM");
    assert_eq!(received(), "STOPPING=1");
    assert!(node.0.wait().unwrap().success());
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let port = ports(2);
    let dev = |port: u16| {
        let mut command = rookery();
        command
            .args(["dev", "--http", &format!("127.0.0.1:{port}"), "--data"])
            .arg(dir.path());
        command
    };
    let mut first = ProcessGuard(dev(port).spawn().unwrap());
    eventually("the first is ready", || {
        get(&format!("127.0.0.1:{port}"), "/readyz").filter(|(code, _)| *code == 200)
    });
    let second = dev(port + 1).output().unwrap();
    assert!(!second.status.success());
    assert!(stderr(&second).contains("storage.dir"), "{}", stderr(&second));
    signal(first.0.id(), "-TERM");
    assert!(first.0.wait().unwrap().success(), "an orderly stop is no failure");
}

#[test]
fn local_cluster_serves_chat_loses_a_node_and_stops_together() {
    let dir = tempfile::tempdir().unwrap();
    let base = ports(3);
    let cluster = rookery()
        .args([
            "cluster",
            "--nodes",
            "3",
            "--http-base",
            &base.to_string(),
            "--set",
            "cluster.shards=4",
        ])
        .arg("--data")
        .arg(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut cluster = ProcessGuard(cluster);
    let nodes = eventually("the cluster is ready", || {
        assert!(
            cluster.0.try_wait().unwrap().is_none(),
            "the cluster could not start"
        );
        read_nodes(dir.path())
    });
    assert_eq!(nodes.iter().map(|node| node.0).collect::<Vec<_>>(), [1, 2, 3]);
    for (id, _, http) in &nodes {
        let (_, status) = get(http, "/v1/cluster").unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["node"], *id, "node N is DIR/node-N");
        assert_eq!(get(http, "/readyz").unwrap().0, 200);
    }

    let (first, last) = (&nodes[0].2, &nodes[2].2);
    chat(
        first,
        "alice",
        &[("/open bob", "-- with bob"), ("hello from node 1", "sent #3")],
    );
    let seen = chat(
        last,
        "bob",
        &[
            ("/open alice", "hello from node 1 (#3)"),
            ("hello from node 3", "sent #4"),
        ],
    );
    assert!(seen.contains("alice: hello from node 1"), "{seen}");

    // One node dies; the others go on, and it comes back by hand.
    signal(nodes[1].1, "-KILL");
    chat(
        last,
        "bob",
        &[("/open alice", "-- with alice"), ("still here", "sent #5")],
    );
    let config = dir.path().join("node-2").join("node.toml");
    let again = rookery()
        .args(["node", "--config"])
        .arg(config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut again = ProcessGuard(again);
    eventually("node 2 is back", || {
        get(&nodes[1].2, "/readyz").filter(|(code, _)| *code == 200)
    });
    let seen = chat(
        &nodes[1].2,
        "alice",
        &[
            ("/open bob", "-- with bob"),
            ("/hist", "you: hello from node 1 (#3)"),
        ],
    );
    assert!(seen.contains("[bob] you: hello from node 1 (#3)"), "{seen}");
    signal(again.0.id(), "-TERM");
    assert!(again.0.wait().unwrap().success());

    signal(cluster.0.id(), "-TERM");
    assert!(cluster.0.wait().unwrap().success());
    for (_, _, http) in &nodes {
        assert!(TcpStream::connect(http).is_err(), "{http} still listens");
    }
}

#[test]
fn a_local_cluster_ends_with_the_process_that_started_it() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = rookery()
        .args([
            "cluster",
            "--with-parent",
            "--nodes",
            "1",
            "--set",
            "cluster.shards=4",
        ])
        .args(["--http-base", &ports(1).to_string(), "--data"])
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut cluster = ProcessGuard(cluster);
    let nodes = eventually("the cluster is ready", || read_nodes(dir.path()));
    // What is left of a parent that was killed.
    drop(cluster.0.stdin.take());
    assert!(cluster.0.wait().unwrap().success());
    eventually("its node is gone", || {
        get(&nodes[0].2, "/livez").is_none().then_some(())
    });
}

fn read_nodes(dir: &Path) -> Option<Vec<(u64, u32, String)>> {
    let text = std::fs::read_to_string(dir.join("cluster.json")).ok()?;
    let cluster: Value = serde_json::from_str(&text).unwrap();
    let node = |node: &Value| {
        let pid = u32::try_from(node["pid"].as_u64().unwrap()).unwrap();
        (
            node["id"].as_u64().unwrap(),
            pid,
            node["http"].as_str().unwrap().to_owned(),
        )
    };
    Some(cluster["nodes"].as_array().unwrap().iter().map(node).collect())
}
