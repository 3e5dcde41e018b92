//! Ports for clients with TLS: HTTP, WebSockets and MQTT, and certificates that are renewed below open connections.

use node::testkit::{
    Client, Config, HumanDuration, Incoming, MqttClient, MqttConnect, Node, TestCertificates, eventually,
    mqtt_addr, signal,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mqtt::with_mqtt;

async fn start(certificates: &TestCertificates, change: impl FnOnce(&mut Config)) -> Node {
    Node::with(|config| {
        certificates.configure(config);
        with_mqtt(config);
        change(config);
    })
    .await
}

/// Opens a WebSocket by TLS and logs in.
async fn client(certificates: &TestCertificates, node: &Node, user: &str) -> Client {
    let mut client = Client::over(certificates.connect(node.addr()).await).await;
    client.expect("hello").await;
    client
        .send(&format!(r#"{{"t":"auth","id":0,"token":"dev:{user}"}}"#))
        .await;
    client.expect("ready").await;
    client
}

/// Opens a connection of MQTT by TLS, which the server accepts.
async fn mqtt_client(certificates: &TestCertificates, node: &Node, user: &str) -> MqttClient {
    let stream = certificates.connect(mqtt_addr(node)).await;
    let connect = MqttConnect::clean(5, user, &format!("{user}-mqtt"));
    let (client, connack) = MqttClient::over(stream).introduced(&connect).await;
    assert_eq!(connack[1], 0, "{connack:?}");
    client
}

/// Waits until new connections get another certificate than this one, on either port.
async fn renewed(certificates: &TestCertificates, node: &Node, expected: &[u8]) {
    eventually("new connections get the renewed certificate", async || {
        certificates.presented(node.addr()).await.as_ref() == expected
    })
    .await;
    assert_eq!(certificates.presented(mqtt_addr(node)).await.as_ref(), expected);
}

#[tokio::test]
async fn clients_of_every_kind_speak_tls() {
    let certificates = TestCertificates::new();
    let node = start(&certificates, |config| {
        config.tuning.auth_timeout = HumanDuration::millis(2_000);
    })
    .await;
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = certificates.round_trip(node.addr(), request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // Nearly the largest body: with its frame it fills more than one record of TLS.
    let text = "x".repeat(16_300);
    let mut alice = client(&certificates, &node, "alice").await;
    let mut bob = client(&certificates, &node, "bob").await;
    let send = json!({"t": "send", "id": 1, "to": "bob", "cid": "1", "b": {"text": text}});
    let ack = alice.ask(1, &send.to_string()).await;
    assert_eq!(ack["t"], "ack", "{ack}");
    assert_eq!(bob.expect("msg").await["b"]["text"], text);

    let mut carol = mqtt_client(&certificates, &node, "carol").await;
    let (reason, _) = carol
        .ask("u/bob/send", &json!({"cid": "1", "b": {"text": text}}))
        .await;
    assert_eq!(reason, 0);
    assert_eq!(bob.expect("msg").await["u"], "carol");

    // The code of a refusal arrives, and the end of TLS behind it.
    let mut silent = Client::over(certificates.connect(node.addr()).await).await;
    silent.expect("hello").await;
    assert_eq!(silent.closed().await.0, 4210);
    assert_eq!(silent.recv().await, Incoming::End);
    node.stop().await;
}

#[tokio::test]
async fn client_without_tls_is_closed_without_an_answer() {
    let certificates = TestCertificates::new();
    let node = start(&certificates, |config| {
        // Long enough for a handshake on a busy machine.
        config.tuning.request_timeout = HumanDuration::secs(3);
    })
    .await;
    for bytes in [&b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"[..], b""] {
        for addr in [node.addr(), mqtt_addr(&node)] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = Vec::new();
            // A reset is an end too.
            let _reset = stream.read_to_end(&mut answer).await;
            assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        }
    }
    let failed = certificates.figure(node.addr(), "rookery_tls_handshakes_failed_total");
    assert_eq!(failed.await, 4);
    node.stop().await;
}

#[tokio::test]
async fn renewed_certificate_drops_no_open_connection() {
    renew_below(50).await;
}

#[tokio::test]
#[ignore = "heavy: a thousand sockets with TLS at both of their ends in one process"]
async fn heavy_renewed_certificate_drops_none_of_a_thousand() {
    renew_below(1_000).await;
}

/// Renews the certificate twice below this number of open WebSockets, and some connections of MQTT: each is still there,
/// and receives what the others send.
async fn renew_below(count: usize) {
    let certificates = TestCertificates::new();
    let node = start(&certificates, |config| {
        // Nothing is read while the other clients connect.
        config.session.idle_timeout = HumanDuration::secs(600);
        // All connections are of one address.
        config.server.unauthenticated_per_address = 2_000;
    })
    .await;
    let mut sockets = Vec::new();
    for number in 0..count {
        sockets.push(client(&certificates, &node, &format!("user{number}")).await);
    }
    let mut things = Vec::new();
    for number in 0..10 {
        things.push(mqtt_client(&certificates, &node, &format!("thing{number}")).await);
    }
    let end = "rookery_tls_not_after_seconds{certificate=\"clients\"}";
    let before = certificates.figure(node.addr(), end).await;
    for days in [60, 30] {
        let certificate = certificates.renew(days);
        renewed(&certificates, &node, &certificate).await;
    }
    let after = certificates.figure(node.addr(), end).await;
    let days = (before - after).div_ceil(86_400);
    assert_eq!(days, 60, "{before} and {after}");

    for socket in &mut sockets {
        assert_eq!(socket.ask(1, r#"{"t":"hb","id":1}"#).await["t"], "hb");
    }
    for thing in &mut things {
        let send = json!({"cid": "1", "b": {"text": "still there"}});
        assert_eq!(thing.ask("u/user0/send", &send).await.0, 0);
    }
    for _ in &things {
        sockets[0].expect("msg").await;
    }
    let sessions = certificates.figure(node.addr(), "rookery_sessions");
    assert_eq!(sessions.await as usize, count + things.len());
    node.stop().await;
}

#[tokio::test]
async fn half_written_certificate_is_not_used() {
    let certificates = TestCertificates::new();
    let node = start(&certificates, |_| ()).await;
    let addr = node.addr();
    let before = certificates.presented(addr).await;
    let issued = certificates.issue(30);
    let write = |certificate: &str, key: &str| {
        std::fs::write(certificates.cert_file(), certificate).unwrap();
        std::fs::write(certificates.key_file(), key).unwrap();
    };
    let old_key = std::fs::read_to_string(certificates.key_file()).unwrap();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    for (certificate, key) in [
        (issued.certificate.clone(), old_key.clone()),
        (half(&issued.certificate), issued.key.clone()),
        (issued.certificate.clone(), half(&issued.key)),
        (String::new(), String::new()),
    ] {
        let refused = async || certificates.figure(addr, "rookery_tls_files_refused_total").await;
        write(&certificate, &key);
        let so_far = refused().await;
        // One look may have begun before the files were written.
        eventually("the files are looked at", async || refused().await >= so_far + 2).await;
        assert_eq!(certificates.presented(addr).await, before);
    }
    std::fs::remove_file(certificates.key_file()).unwrap();
    assert_eq!(certificates.presented(addr).await, before);
    let certificate = certificates.renew(30);
    renewed(&certificates, &node, &certificate).await;
    node.stop().await;
}

#[tokio::test]
async fn sighup_reads_the_certificate_again() {
    // Registered first: without a handler the signal would end this process.
    let _handler = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let certificates = TestCertificates::new();
    let node = start(&certificates, |config| {
        config.tuning.certificate_interval = HumanDuration::secs(86_400);
    })
    .await;
    let certificate = certificates.renew(30);
    assert_ne!(certificates.presented(node.addr()).await, certificate);
    eventually("the signal is followed", async || {
        signal(std::process::id(), "-HUP");
        certificates.presented(node.addr()).await == certificate
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn node_with_an_unusable_certificate_does_not_start() {
    let certificates = TestCertificates::new();
    let other = TestCertificates::new();
    let dir = tempfile::tempdir().unwrap();
    let mut config = node::testkit::config(dir.path());
    certificates.configure(&mut config);
    config.server.tls_key_file = other.key_file().display().to_string();
    let refused = node::testkit::start(config).await.err().unwrap().to_string();
    assert_eq!(
        refused,
        "server.tls_cert_file: the key is not that of the certificate"
    );
    let mut config = node::testkit::config(dir.path());
    config.cluster.tls_dir = dir.path().display().to_string();
    let refused = node::testkit::start(config).await.err().unwrap().to_string();
    assert!(
        refused.starts_with("cluster.tls_dir: ") && refused.contains("ca.crt"),
        "{refused}"
    );
}
