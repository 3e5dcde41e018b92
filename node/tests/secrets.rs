//! A node as a process, at the most talkative level of its log: nothing that is secret is in it, nor in what clients are
//! told when something is wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use jsonwebtoken::{EncodingKey, Header, encode};
use node::testkit::{
    Call, Client, ProcessGuard, WEBHOOK_SECRET, WebhookReceiver, eventually, program, terminate, unix_ms,
    within,
};
use serde_json::{Value, json};

/// Everything, of libraries too that are left out otherwise.
const TALKATIVE: &str = "trace,actix_http=trace,actix_server=trace,openraft=trace,mio=trace";

const PHONE: &str = "+447700900123";
const CANARY: &str = "canary-in-a-coal-mine";
const SHARED: &str = "a-secret-that-signs-the-tokens-of-tests";
const ADMIN: &str = "an-admin-token-of-tests";
const CLUSTER: &str = "what-the-nodes-know-and-nobody-else";

struct SecretNode {
    child: ProcessGuard,
    addr: SocketAddr,
    /// Address for operators.
    admin: SocketAddr,
}

impl SecretNode {
    async fn start(dir: &Path, webhook: &str) -> SecretNode {
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nadmin_token = \"{ADMIN}\"\n\
             [auth]\nalgorithm = \"HS256\"\nsecret = \"{SHARED}\"\n\
             [login]\nwebhook_url = \"{webhook}\"\nwebhook_secret = \"{WEBHOOK_SECRET}\"\n\
             [tuning]\nrefresh_grace = \"0s\"\n[webhook]\nurl = \"{webhook}\"\nsecret = \"{WEBHOOK_SECRET}\"\n\
             [cluster]\nlisten = \"127.0.0.1:0\"\nsecret = \"{CLUSTER}\"\nseeds = [\"127.0.0.1:0\"]\nshards = 2\n\
             [storage]\ndir = \"{}\"\n[telemetry]\nlog = \"{TALKATIVE}\"\n",
            dir.join("data").display()
        );
        std::fs::write(dir.join("node.toml"), config).unwrap();
        let child = program()
            .args(["node", "--config"])
            .arg(dir.join("node.toml"))
            .stderr(File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut node = SecretNode {
            child: ProcessGuard(child),
            addr: ([127, 0, 0, 1], 0).into(),
            admin: ([127, 0, 0, 1], 0).into(),
        };
        (node.addr, node.admin) = eventually("the node says where it serves", async || {
            let log = std::fs::read_to_string(dir.join("log")).unwrap();
            let line = log.lines().find(|line| line.contains("serving node="))?;
            let addr = |field: &str| {
                let (_, rest) = line.split_once(field)?;
                rest.split(' ').next()?.parse().ok()
            };
            Some((addr(" http=")?, addr(" admin=")?))
        })
        .await;
        eventually("the node is ready", async || {
            node.call("GET", "/readyz", "", None).await.0 == 200
        })
        .await;
        node
    }

    /// Status and body.
    async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, String) {
        let mut call = Call::new(method, path).with("Idempotency-Key", path);
        if !token.is_empty() {
            call = call.bearer(token);
        }
        if let Some(body) = body {
            call = call.json(&body);
        }
        let is_operators = ["/metrics", "/v1/cluster", "/v1/admin/"]
            .iter()
            .any(|start| path.starts_with(start));
        let addr = if is_operators { self.admin } else { self.addr };
        let reply = within("the node responds", call.send(addr)).await;
        let reply = reply.expect("a response");
        (reply.status, reply.text)
    }

    async fn done(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Value {
        let (status, text) = self.call(method, path, token, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Sends lines over a WebSocket, and returns the next frame of each one's sort.
    async fn say(&self, lines: &[(Value, &str)]) -> Vec<Value> {
        let mut client = Client::connect(self.addr).await;
        let mut responses = Vec::new();
        for (line, answer) in lines {
            client.send(&line.to_string()).await;
            responses.push(client.expect(answer).await);
        }
        responses
    }
}

fn jwt(user: &str, secret: &str) -> String {
    let claims = json!({ "sub": user, "exp": unix_ms() / 1_000 + 600 });
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()).unwrap(),
    )
    .unwrap()
}

fn text(value: &Value, field: &str) -> String {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {value}"))
        .to_owned()
}

/// Whether the text holds these digits as a number of its own.
fn holds_number(text: &str, digits: &str) -> bool {
    let is_digit = |found: Option<char>| found.is_some_and(|found| found.is_ascii_digit() || found == '.');
    text.match_indices(digits).any(|(at, _)| {
        !is_digit(text[..at].chars().next_back()) && !is_digit(text[at + digits.len()..].chars().next())
    })
}

#[tokio::test]
async fn no_secret_is_in_the_log_or_in_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = WebhookReceiver::answering(204).await;
    let node = SecretNode::start(dir.path(), &receiver.url).await;
    let mut refusals = Vec::new();

    // A login by code, with everything that can be wrong with it.
    let asked = eventually("the keys are made", async || {
        let (status, text) = node
            .call("POST", "/v1/auth/otp", "", Some(json!({ "to": PHONE })))
            .await;
        (status == 202).then(|| serde_json::from_str::<Value>(&text).unwrap())
    })
    .await;
    let challenge = text(&asked, "challenge");
    let code = text(&receiver.next().await.1, "code");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let entered = |code: &str| Some(json!({ "challenge": challenge, "code": code }));
    refusals.push(node.call("POST", "/v1/auth/otp/verify", "", entered(wrong)).await);
    let malformed = Some(json!({ "challenge": challenge, "code": [&code] }));
    refusals.push(node.call("POST", "/v1/auth/otp/verify", "", malformed).await);
    let first = node.done("POST", "/v1/auth/otp/verify", "", entered(&code)).await;
    refusals.push(node.call("POST", "/v1/auth/otp/verify", "", entered(&code)).await);
    let refresh_body = |tokens: &Value| Some(json!({ "refresh_token": tokens["refresh_token"] }));
    let second = node
        .done("POST", "/v1/auth/refresh", "", refresh_body(&first))
        .await;
    let third = node
        .done("POST", "/v1/auth/refresh", "", refresh_body(&second))
        .await;
    // A token of a device, used over the WebSocket and REST, and refused to another device.
    let access = text(&third, "access_token");
    let device = node
        .done(
            "POST",
            "/v1/auth/devices",
            &access,
            Some(json!({ "device": "sensor" })),
        )
        .await;
    let device = text(&device, "token");
    let bound = |device_id: &str| json!({ "t": "auth", "id": 1, "token": device, "device": device_id });
    node.say(&[(bound("sensor"), "ready")]).await;
    node.done("GET", "/v1/conversations", &device, None).await;
    let refused = node.say(&[(bound("phone"), "err")]).await;
    refusals.push((401, refused[0].to_string()));
    let another = Some(json!({ "device": "another" }));
    refusals.push(node.call("POST", "/v1/auth/devices", &device, another).await);
    refusals.push(node.call("GET", "/v1/conversations", &device[..40], None).await);
    // One that was replaced comes back: the login is over.
    refusals.push(
        node.call("POST", "/v1/auth/refresh", "", refresh_body(&first))
            .await,
    );
    refusals.push(
        node.call("POST", "/v1/auth/refresh", "", refresh_body(&third))
            .await,
    );
    let revoked = eventually("the device token is revoked with its login", async || {
        let reply = node.call("GET", "/v1/conversations", &device, None).await;
        (reply.0 == 401).then_some(reply)
    });
    refusals.push(revoked.await);
    let odd = Some(json!({ "refresh_token": [third["refresh_token"]] }));
    refusals.push(node.call("POST", "/v1/auth/refresh", "", odd).await);
    node.done("POST", "/v1/auth/logout", "", refresh_body(&third))
        .await;

    // A token of another issuer, over the WebSocket; a message; the session again, by its name.
    let (alice, forged) = (
        jwt("alice", SHARED),
        jwt("alice", "not-the-secret-of-this-cluster-at-all"),
    );
    let auth = |token: &str| json!({ "t": "auth", "id": 1, "token": token, "device": "d" });
    let send = json!({ "t": "send", "id": 2, "to": "bob", "cid": "1", "b": { "text": CANARY } });
    let replies = node.say(&[(auth(&alice), "ready"), (send, "ack")]).await;
    let (sid, conv) = (text(&replies[0], "sid"), text(&replies[1], "c"));
    let mut again = auth(&alice);
    again["resume"] = json!({ "sid": sid, "n": 0 });
    let edit = json!({ "t": "edit", "id": 3, "c": conv, "of": replies[1]["s"], "cid": "2", "b": { "text": CANARY } });
    let resumed = node.say(&[(again, "ready"), (edit, "ack")]).await;
    let new_sid = text(&resumed[0], "sid");
    let refused = node.say(&[(auth(&forged), "err")]).await;
    refusals.push((401, refused[0].to_string()));

    // The same over REST, and what is wrong there.
    let messages = format!("/v1/conversations/{conv}/messages");
    let body = Some(json!({ "b": { "text": CANARY } }));
    node.done("POST", &messages, &alice, body.clone()).await;
    refusals.push(node.call("POST", &messages, &forged, body.clone()).await);
    refusals.push(
        node.call("POST", &messages, text(&third, "access_token").as_str(), body)
            .await,
    );
    let export = format!("/v1/conversations/{conv}/export");
    let (status, lines) = node.call("GET", &export, &alice, None).await;
    assert!(status == 200 && lines.contains(CANARY), "{status} {lines}");
    refusals.push(node.call("GET", &export, &forged, None).await);
    let events = node
        .call("GET", &format!("/v1/poll?wait=0&sid={new_sid}"), &alice, None)
        .await;
    assert_eq!(events.0, 200, "{}", events.1);
    // The hook is told of the message, for bob is away.
    let (_, post) = receiver.next().await;
    assert_eq!(post["type"], "message");
    // A key of a back end, with a scope and without one, revoked and changed.
    let wanted = Some(json!({ "name": "shop", "scopes": ["messages"] }));
    let made = node.done("POST", "/v1/admin/keys", ADMIN, wanted).await;
    let (key_id, key) = (text(&made, "key_id"), text(&made, "key"));
    let sent = Some(json!({ "c": conv, "as": "system", "b": { "text": CANARY }, "cid": "3" }));
    node.done("POST", "/v1/server/messages", &key, sent.clone()).await;
    let presence = Some(json!({ "users": ["bob"] }));
    refusals.push(node.call("POST", "/v1/server/presence", &key, presence).await);
    let changed = format!("{}a", &key[..key.len() - 1]);
    let changed = if changed == key {
        format!("{}b", &key[..key.len() - 1])
    } else {
        changed
    };
    refusals.push(
        node.call("POST", "/v1/server/messages", &changed, sent.clone())
            .await,
    );
    refusals.push(node.call("GET", "/v1/conversations", &key, None).await);
    node.done("GET", "/v1/admin/events", ADMIN, None).await;
    node.done("DELETE", &format!("/v1/admin/keys/{key_id}"), ADMIN, None)
        .await;
    refusals.push(node.call("POST", "/v1/server/messages", &key, sent).await);
    refusals.push(node.call("GET", "/metrics", "not-the-admin-token", None).await);
    let (status, figures) = node.call("GET", "/metrics", ADMIN, None).await;
    assert_eq!(status, 200);
    let cluster = node.call("GET", "/v1/cluster", ADMIN, None).await;
    assert_eq!(cluster.0, 200);
    // What an operator passes on to the developers.
    let support = node.call("GET", "/v1/admin/nodes/1/support", ADMIN, None).await;
    assert!(support.0 == 200 && support.1.contains("***"), "{}", support.1);

    terminate(&node.child.0);
    let mut node = node;
    let ended = tokio::task::spawn_blocking(move || node.child.0.wait().unwrap());
    assert!(within("the node ends", ended).await.unwrap().success());

    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(
        log.contains("TRACE") && log.contains("openraft"),
        "the log was talkative"
    );
    // The digits of the time are no code.
    let log: Vec<&str> = log
        .lines()
        .map(|line| line.split_once("Z ").map_or(line, |(_, rest)| rest))
        .collect();
    let log = log.join("\n");
    let refusals: Vec<String> = refusals
        .into_iter()
        .map(|(status, text)| {
            assert!(status >= 400, "{status} {text}");
            text
        })
        .collect();
    let sources = [
        ("the log", log),
        ("a refusal", refusals.join("\n")),
        ("the figures", figures),
        ("the state of the cluster", cluster.1),
        ("the report for the developers", support.1),
    ];
    let token = |tokens: &Value, field| text(tokens, field);
    let secrets = [
        ("the phone number", PHONE[1..].to_owned()),
        ("the challenge", challenge.clone()),
        ("an access token", token(&first, "access_token")),
        ("an access token", token(&third, "access_token")),
        ("a refresh token", token(&first, "refresh_token")),
        ("a refresh token", token(&second, "refresh_token")),
        ("a refresh token", token(&third, "refresh_token")),
        // Its middle: the end of the sealed form names the user.
        ("a device token", device[25..80].to_owned()),
        // Behind its id, which lists and the audit log name.
        ("an API key", key["rook_".len() + key_id.len()..].to_owned()),
        ("a token of another issuer", alice),
        ("a forged token", forged),
        ("the name of a session", sid),
        ("the name of a session", new_sid),
        ("the words of a message", CANARY.to_owned()),
        ("the key of tokens", SHARED.to_owned()),
        ("the key of posts", WEBHOOK_SECRET["whsec_".len()..].to_owned()),
        ("the admin token", ADMIN.to_owned()),
        ("the cluster's secret", CLUSTER.to_owned()),
    ];
    for (source, text) in &sources {
        for (what, secret) in &secrets {
            if let Some(at) = text.find(secret.as_str()) {
                let line = text[..at].rsplit('\n').next().unwrap_or_default();
                panic!("{what} is in {source}, after: {line}");
            }
        }
        // As bytes are printed by those who don't know that they are text.
        let bytes: Vec<String> = CANARY.bytes().map(|byte| byte.to_string()).collect();
        assert!(
            !text.contains(&bytes.join(", ")),
            "the words of a message are in {source}, as bytes"
        );
        if let Some(line) = text.lines().find(|line| holds_number(line, &code)) {
            panic!("the code {code} is in {source}: {line}");
        }
    }
}
