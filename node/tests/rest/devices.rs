//! Tokens of devices: created, used over every transport, bound, listed, revoked, expired, and ended by a logout.

use node::testkit::{Call, Client, Config, HumanDuration, Node, PATIENCE, Reply, SecretString, TestCluster};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A caller by a token of any kind.
pub(crate) fn call(method: &str, path: &str, token: &str) -> Call {
    Call::new(method, path).with("Authorization", &format!("Bearer {token}"))
}

/// Repeats a request until the node has the keys of the cluster.
async fn create(node: &Node, token: &str, body: &Value) -> Reply {
    let created = async {
        loop {
            let reply = call("POST", "/v1/auth/devices", token).json(body).to(node).await;
            if reply.status != 503 {
                return reply;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, created)
        .await
        .expect("the keys exist")
}

pub(crate) async fn created(node: &Node, token: &str, device: &str) -> (String, String) {
    let reply = create(node, token, &json!({ "device": device })).await.is(201);
    (field(&reply, "token_id"), field(&reply, "token"))
}

pub(crate) fn field(value: &Value, name: &str) -> String {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

async fn status_with(node: &Node, token: &str) -> u16 {
    call("GET", "/v1/conversations", token).to(node).await.status
}

/// Waits until a node answers to the token with this status.
pub(crate) async fn reaches(node: &Node, token: &str, status: u16) {
    let reached = async {
        while status_with(node, token).await != status {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    reached.unwrap_or_else(|_| panic!("waited in vain for {status}"));
}

pub(crate) async fn connect(node: &Node, token: &str, device: Option<&str>) -> (Client, Value) {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    let mut auth = json!({ "t": "auth", "id": 1, "token": token });
    if let Some(device) = device {
        auth["device"] = json!(device);
    }
    let answer = client.ask(1, &auth.to_string()).await;
    (client, answer)
}

pub(crate) async fn log_in(node: &Node) -> Value {
    let post = async |path: &str, body: Value| {
        let call = Call::new("POST", &format!("/v1/auth/{path}")).json(&body);
        call.to(node).await
    };
    let asked = async {
        loop {
            let reply = post("otp", json!({ "to": "+447700900123" })).await;
            if reply.status == 202 {
                return reply.json();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await.expect("a code");
    let entered = json!({ "challenge": asked["challenge"], "code": asked["dev_code"] });
    post("otp/verify", entered).await.is(200)
}

/// Reads a stream of events until this has come.
async fn stream_until(stream: &mut TcpStream, wanted: &str) {
    let read = async {
        let mut received = Vec::new();
        while !String::from_utf8_lossy(&received).contains(wanted) {
            let read = stream.read_buf(&mut received).await.unwrap();
            assert!(read > 0, "{wanted}: {}", String::from_utf8_lossy(&received));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect(wanted);
}

#[tokio::test]
async fn device_token_is_accepted_by_every_transport() {
    let node = Node::start().await;
    let (id, token) = created(&node, "dev:alice", "sensor").await;
    assert!(token.starts_with("dt_"), "a prefix tells it from a JWT");
    assert_eq!(status_with(&node, &token).await, 200);

    let (_socket, ready) = connect(&node, &token, Some("sensor")).await;
    assert_eq!((&ready["t"], &ready["user"]), (&json!("ready"), &json!("alice")));
    let mut stream = TcpStream::connect(node.addr()).await.unwrap();
    let head = format!("GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream_until(&mut stream, "event: ready").await;
    call("GET", "/v1/poll?wait=0&device=sensor", &token)
        .to(&node)
        .await
        .is(200);

    let listed = call("GET", "/v1/auth/devices", "dev:alice")
        .to(&node)
        .await
        .is(200);
    let item = &listed["items"][0];
    assert_eq!(
        (&item["token_id"], &item["device"], &item["name"]),
        (&json!(id), &json!("sensor"), &Value::Null)
    );
    let lifetime_ms = item["expires"].as_u64().unwrap() - item["created"].as_u64().unwrap();
    assert_eq!(lifetime_ms, 90 * 86_400_000);
    let metric = r#"rookery_device_token_verifications_total{cache="hit"}"#;
    node.figure_reaches(metric, 3).await;
    node.stop().await;
}

#[tokio::test]
async fn device_token_serves_its_own_device_only() {
    let node = Node::start().await;
    let (_, token) = created(&node, "dev:alice", "sensor").await;
    let (mut socket, refusal) = connect(&node, &token, Some("phone")).await;
    assert_eq!(refusal["code"], "unauthenticated", "{refusal}");
    assert_eq!(socket.closed().await.0, 4401);
    for path in ["/v1/poll?wait=0&device=phone", "/v1/events?device=phone"] {
        let reply = call("GET", path, &token).to(&node).await;
        reply.is_problem(401, "unauthenticated");
    }
    // Without a name, a session is of the token's device: a second one replaces it.
    let (mut first, _) = connect(&node, &token, None).await;
    let (_second, ready) = connect(&node, &token, None).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    assert_eq!(first.closed().await.0, 1000);
    // Nor can it renew the session of another device.
    let (mut other, _) = connect(&node, "dev:alice", Some("phone")).await;
    let again = json!({ "t": "auth", "id": 2, "token": token });
    assert_eq!(other.ask(2, &again.to_string()).await["code"], "unauthenticated");
    assert_eq!(other.closed().await.0, 4401);
    node.stop().await;
}

#[tokio::test]
async fn device_token_can_only_revoke_itself() {
    let node = Node::start().await;
    let (_, first) = created(&node, "dev:alice", "a").await;
    let (second_id, second) = created(&node, "dev:alice", "b").await;
    let body = json!({ "device": "c" });
    let reply = call("POST", "/v1/auth/devices", &first)
        .json(&body)
        .to(&node)
        .await;
    reply.is_problem(403, "forbidden");
    let path = format!("/v1/auth/devices/{second_id}");
    call("DELETE", &path, &first)
        .to(&node)
        .await
        .is_problem(403, "forbidden");
    call("DELETE", &path, "dev:eve").to(&node).await.is(204);
    assert_eq!(status_with(&node, &second).await, 200, "of another user");
    let listed = call("GET", "/v1/auth/devices", "dev:alice")
        .to(&node)
        .await
        .is(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    call("DELETE", &path, &second).to(&node).await.is(204);
    assert_eq!(status_with(&node, &second).await, 401);
    assert_eq!(status_with(&node, &first).await, 200);
    node.stop().await;
}

#[tokio::test]
async fn malformed_requests_for_device_tokens_are_refused() {
    let node = Node::start().await;
    let long = "x".repeat(65);
    for body in [
        json!({ "device": "" }),
        json!({ "device": long }),
        json!({ "device": "a\nb" }),
        json!({ "device": "a", "name": long }),
        json!({ "name": "a" }),
    ] {
        let reply = call("POST", "/v1/auth/devices", "dev:alice").json(&body);
        reply.to(&node).await.is_problem(400, "bad_request");
    }
    for token in ["dt_", "dt_AAAA", "dt_%%%"] {
        reaches(&node, token, 401).await;
    }
    let unknown = call("DELETE", "/v1/auth/devices/nonsense", "dev:alice");
    unknown.to(&node).await.is(204);
    node.stop().await;
}

#[tokio::test]
async fn user_with_64_device_tokens_gets_a_conflict() {
    let node = Node::with(|config: &mut Config| config.limits.sends_per_second = 1_000).await;
    for i in 0..64 {
        created(&node, "dev:alice", &format!("d{i}")).await;
    }
    let reply = create(&node, "dev:alice", &json!({ "device": "one-more" })).await;
    reply.is_problem(409, "conflict");
    created(&node, "dev:bob", "one").await;
    let listed = call("GET", "/v1/auth/devices", "dev:alice")
        .to(&node)
        .await
        .is(200);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 64);
    let path = format!("/v1/auth/devices/{}", field(&items[0], "token_id"));
    call("DELETE", &path, "dev:alice").to(&node).await.is(204);
    created(&node, "dev:alice", "one-more").await;
    node.stop().await;
}

#[tokio::test]
async fn expired_device_token_is_refused_and_its_session_closed() {
    let node = Node::with(|config: &mut Config| {
        config.tuning.device_token_ttl = HumanDuration::millis(5_000);
    })
    .await;
    let (_, token) = created(&node, "dev:alice", "sensor").await;
    let (mut socket, ready) = connect(&node, &token, None).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    assert_eq!(socket.closed().await.0, 4201);
    let reply = call("GET", "/v1/conversations", &token).to(&node).await;
    reply.is_problem(401, "token_expired");
    let listed = call("GET", "/v1/auth/devices", "dev:alice")
        .to(&node)
        .await
        .is(200);
    assert_eq!(listed["items"], json!([]));
    node.stop().await;
}

#[tokio::test]
async fn device_tokens_need_no_login_by_code() {
    let node = Node::with(|config: &mut Config| {
        config.auth.dev_tokens = false;
        config.auth.secret = SecretString("a-secret-that-signs-the-tokens-of-tests".to_owned());
    })
    .await;
    let exp = std::time::SystemTime::now() + std::time::Duration::from_secs(600);
    let exp = exp.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let key = jsonwebtoken::EncodingKey::from_secret(b"a-secret-that-signs-the-tokens-of-tests").unwrap();
    let claims = json!({ "sub": "alice", "exp": exp, "sid": "not-of-this-cluster" });
    let jwt = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let (_, token) = created(&node, &jwt, "sensor").await;
    assert_eq!(status_with(&node, &token).await, 200);
    node.stop().await;
}

#[tokio::test]
async fn revoked_device_token_ends_on_every_node() {
    let cluster = TestCluster::start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        unreachable!("three nodes")
    };
    let (id, token) = created(first, "dev:alice", "sensor").await;
    let (_, other) = created(first, "dev:alice", "other").await;
    for node in &cluster.nodes {
        reaches(node, &token, 200).await;
        reaches(node, &other, 200).await;
    }
    let (mut socket, ready) = connect(second, &token, None).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    let (mut remaining, ready) = connect(third, &other, None).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    let revoke = call("DELETE", &format!("/v1/auth/devices/{id}"), "dev:alice");
    revoke.to(third).await.is(204);
    assert_eq!(socket.closed().await.0, 4403);
    for node in &cluster.nodes {
        reaches(node, &token, 401).await;
    }
    remaining.send(r#"{"t":"hb"}"#).await;
    remaining.expect("hb").await;
    cluster.stop().await;
}

#[tokio::test]
async fn logout_ends_the_device_tokens_of_its_login() {
    let cluster = TestCluster::start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        unreachable!("three nodes")
    };
    let (one, two) = (log_in(first).await, log_in(second).await);
    let access = |tokens: &Value| field(tokens, "access_token");
    for node in &cluster.nodes {
        for tokens in [&one, &two] {
            reaches(node, &access(tokens), 200).await;
        }
    }
    let (_, ended) = created(second, &access(&one), "sensor").await;
    let (_, remaining) = created(third, &access(&two), "other").await;
    reaches(third, &ended, 200).await;
    let (mut socket, ready) = connect(third, &ended, Some("sensor")).await;
    assert_eq!(ready["t"], "ready", "{ready}");
    let body = json!({ "refresh_token": one["refresh_token"] });
    Call::new("POST", "/v1/auth/logout")
        .json(&body)
        .to(first)
        .await
        .is(204);
    assert_eq!(socket.closed().await.0, 4403);
    for node in &cluster.nodes {
        reaches(node, &ended, 401).await;
        reaches(node, &remaining, 200).await;
    }
    let body = json!({ "refresh_token": two["refresh_token"], "everywhere": true });
    Call::new("POST", "/v1/auth/logout")
        .json(&body)
        .to(first)
        .await
        .is(204);
    for node in &cluster.nodes {
        reaches(node, &remaining, 401).await;
    }
    cluster.stop().await;
}
