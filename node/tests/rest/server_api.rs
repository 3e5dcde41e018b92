//! The server API: a matrix of endpoints, scopes and tokens; keys, their rates and their audit log; messages as a user
//! and as the system; conversations and members for others; sessions, tokens and deactivation of users.

use jsonwebtoken::{EncodingKey, Header, encode};
use node::testkit::{Call, Client, Node, Reply, TestCluster, eventually};
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-token-of-tests";
const SCOPES: [&str; 5] = ["users", "conversations", "messages", "read", "erase"];

/// An endpoint, the scope that it needs, and a valid body.
struct Endpoint {
    method: &'static str,
    path: String,
    scope: &'static str,
    body: Option<Value>,
}

async fn node() -> Node {
    Node::with(|config| config.server.admin_token.0 = ADMIN.to_owned()).await
}

/// Creates a key with scopes, and returns its id and the key.
async fn key(node: &Node, scopes: &[&str]) -> (String, String) {
    let body = json!({ "name": "back end", "scopes": scopes });
    let made = admin("POST", "/v1/admin/keys").json(&body).to(node).await.is(201);
    let field = |name: &str| made[name].as_str().unwrap().to_owned();
    (field("key_id"), field("key"))
}

fn admin(method: &str, path: &str) -> Call {
    Call::new(method, path).bearer(ADMIN)
}

/// Sends a request with a key.
async fn with_key(node: &Node, key: &str, method: &str, path: &str, body: &Value) -> Reply {
    let call = Call::new(method, path).bearer(key);
    let call = match body {
        Value::Null => call,
        body => call.json(body),
    };
    call.to(node).await
}

/// Creates a group with a key, and returns its id.
async fn group(node: &Node, key: &str, owner: &str, members: &[&str], cid: &str) -> String {
    let body = json!({ "kind": "group", "owner": owner, "members": members, "cid": cid });
    let made = with_key(node, key, "POST", "/v1/server/conversations", &body).await;
    made.is(201)["c"].as_str().unwrap().to_owned()
}

async fn events(node: &Node, user: &str, c: &str) -> Vec<Value> {
    let path = format!("/v1/conversations/{c}/events");
    let page = Call::new("GET", &path).by(user).to(node).await.is(200);
    page["events"].as_array().unwrap().clone()
}

fn endpoints(c: &str, u: &str, job: &str) -> Vec<Endpoint> {
    let one = |method, path: String, scope, body| Endpoint {
        method,
        path,
        scope,
        body,
    };
    let conversation = format!("/v1/server/conversations/{c}");
    let members = format!("{conversation}/members");
    vec![
        one(
            "POST",
            "/v1/server/messages".to_owned(),
            "messages",
            Some(json!({ "c": c, "as": "system", "b": {}, "cid": "m" })),
        ),
        one(
            "POST",
            "/v1/server/conversations".to_owned(),
            "conversations",
            Some(json!({ "kind": "group", "owner": "alice", "cid": "c" })),
        ),
        one(
            "PUT",
            members.clone(),
            "conversations",
            Some(json!({ "members": [{ "u": "carol" }] })),
        ),
        one(
            "DELETE",
            members.clone(),
            "conversations",
            Some(json!({ "members": [{ "u": "carol" }] })),
        ),
        one(
            "POST",
            "/v1/server/users".to_owned(),
            "users",
            Some(json!({ "users": [{ "u": u, "name": "Zoe" }] })),
        ),
        one("GET", format!("/v1/server/users?ids={u}"), "users", None),
        one("POST", format!("/v1/server/users/{u}/disconnect"), "users", None),
        one(
            "POST",
            format!("/v1/server/users/{u}/revoke"),
            "users",
            Some(json!({ "before": 1 })),
        ),
        one("POST", format!("/v1/server/users/{u}/deactivate"), "users", None),
        one("POST", format!("/v1/server/users/{u}/reactivate"), "users", None),
        one("POST", format!("/v1/server/users/{u}/export"), "erase", None),
        one(
            "POST",
            format!("/v1/server/users/{u}/erase"),
            "erase",
            Some(json!({ "messages": "delete" })),
        ),
        one("GET", format!("/v1/server/jobs/{job}"), "erase", None),
        one("GET", conversation, "read", None),
        one("GET", members, "read", None),
        one(
            "POST",
            "/v1/server/presence".to_owned(),
            "read",
            Some(json!({ "users": ["alice", "nobody"] })),
        ),
    ]
}

#[tokio::test]
async fn each_endpoint_needs_a_key_with_its_scope() {
    let node = node().await;
    let (_, all) = key(&node, &SCOPES).await;
    let c = group(&node, &all, "alice", &["bob"], "setup").await;
    let wrong = format!(
        "{}{}",
        &all[..all.len() - 1],
        if all.ends_with('a') { 'b' } else { 'a' }
    );
    let wanted = json!({ "messages": "delete" });
    let begun = with_key(&node, &all, "POST", "/v1/server/users/yan/erase", &wanted).await;
    let job = begun.is(202)["job"].as_str().unwrap().to_owned();
    let mut seen = 0;
    for scope in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let (_, without) = key(&node, &others).await;
        let (_, with) = key(&node, &[scope]).await;
        for endpoint in endpoints(&c, "zoe", &job)
            .iter()
            .filter(|endpoint| endpoint.scope == scope)
        {
            let Endpoint {
                method, path, body, ..
            } = endpoint;
            let request = |token: Option<&str>| {
                let call = Call::new(method, path);
                let call = match token {
                    Some(token) => call.bearer(token),
                    None => call,
                };
                match body {
                    Some(body) => call.json(body),
                    None => call,
                }
            };
            for token in [None, Some(&*wrong), Some("dev:alice"), Some(ADMIN)] {
                let reply = request(token).to(&node).await;
                reply.is_problem(401, "unauthenticated");
            }
            request(Some(&without))
                .to(&node)
                .await
                .is_problem(403, "forbidden");
            let reply = request(Some(&with)).to(&node).await;
            assert!((200..300).contains(&reply.status), "{method} {path}: {reply:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, endpoints(&c, "zoe", &job).len());
    // Nor is a key the token of a user or of an operator.
    let user = Call::new("GET", "/v1/conversations").bearer(&all).to(&node).await;
    user.is_problem(401, "unauthenticated");
    let operator = Call::new("GET", "/v1/admin/keys").bearer(&all).to(&node).await;
    operator.is_problem(401, "unauthenticated");
    node.stop().await;
}

#[tokio::test]
async fn every_operation_of_the_server_api_is_in_the_matrix() {
    let node = node().await;
    let document = Call::new("GET", "/v1/openapi.json").to(&node).await.is(200);
    let tested: Vec<(String, String)> = endpoints("{c}", "{u}", "{job}")
        .into_iter()
        .map(|endpoint| {
            let path = endpoint.path.split('?').next().unwrap_or_default();
            (endpoint.method.to_lowercase(), path.to_owned())
        })
        .collect();
    let paths = document["paths"].as_object().unwrap();
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/v1/server/")) {
        for method in item.as_object().unwrap().keys() {
            let row = (method.clone(), path.clone());
            assert!(tested.contains(&row), "{row:?} is not in the matrix");
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn key_is_listed_without_its_secret_until_it_is_revoked() {
    let node = node().await;
    let (id, text) = key(&node, &["read"]).await;
    assert!(text.starts_with(&format!("rook_{id}_")), "{text}");
    let (second, other) = key(&node, &["read"]).await;
    let listed = admin("GET", "/v1/admin/keys").to(&node).await;
    let secret = text.rsplit('_').next().unwrap();
    assert!(!listed.text.contains(secret), "{listed:?}");
    let items = listed.is(200)["items"].as_array().unwrap().clone();
    assert!(
        items
            .iter()
            .any(|item| item["key_id"] == id && item["scopes"] == json!(["read"]))
    );
    let presence = json!({ "users": ["alice"] });
    let with = async |key: &str| {
        let reply = with_key(&node, key, "POST", "/v1/server/presence", &presence).await;
        reply.status
    };
    // Two are valid side by side, so a rotation needs no pause.
    assert_eq!((with(&text).await, with(&other).await), (200, 200));
    for _ in 0..2 {
        admin("DELETE", &format!("/v1/admin/keys/{id}"))
            .to(&node)
            .await
            .is(204);
    }
    assert_eq!((with(&text).await, with(&other).await), (401, 200));
    admin("DELETE", &format!("/v1/admin/keys/{second}"))
        .to(&node)
        .await
        .is(204);
    assert_eq!(with(&other).await, 401);
    for body in [
        json!({ "name": "", "scopes": ["read"] }),
        json!({ "name": "a", "scopes": [] }),
        json!({ "name": "a", "scopes": ["everything"] }),
        json!({ "name": "a", "scopes": ["read"], "expires": 1 }),
    ] {
        let reply = admin("POST", "/v1/admin/keys").json(&body).to(&node).await;
        reply.is_problem(400, "bad_request");
    }
    node.stop().await;
}

#[tokio::test]
async fn revoked_key_is_refused_on_every_node() {
    let cluster = TestCluster::start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let body = json!({ "name": "back end", "scopes": ["read"] });
    let made = Call::new("POST", "/v1/admin/keys")
        .json(&body)
        .to(first)
        .await
        .is(201);
    let (id, key) = (made["key_id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let presence = json!({ "users": ["alice"] });
    for node in [first, second, third] {
        let reply = with_key(node, key, "POST", "/v1/server/presence", &presence).await;
        reply.is(200);
    }
    let path = format!("/v1/admin/keys/{id}");
    Call::new("DELETE", &path).to(second).await.is(204);
    for node in [first, second, third] {
        eventually("the key is refused", async || {
            let reply = with_key(node, key, "POST", "/v1/server/presence", &presence).await;
            reply.status == 401
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn browser_page_of_another_origin_gets_no_permission() {
    let node = Node::with(|config| {
        config.server.admin_token.0 = ADMIN.to_owned();
        config.server.allowed_origins = vec!["*".to_owned()];
    })
    .await;
    let asks = |path: &str| {
        Call::new("OPTIONS", path)
            .with("Origin", "https://chat.example.org")
            .with("Access-Control-Request-Method", "POST")
    };
    let usual = asks("/v1/conversations").to(&node).await;
    assert!(
        usual.head.to_lowercase().contains("access-control-allow-origin"),
        "{usual:?}"
    );
    for path in ["/v1/server/messages", "/v1/server/presence", "/v1/admin/keys"] {
        let preflight = asks(path).to(&node).await;
        assert!(
            !preflight.head.to_lowercase().contains("access-control-allow-"),
            "{preflight:?}"
        );
        let request = Call::new("POST", path).with("Origin", "https://chat.example.org");
        let refused = request.json(&json!({})).to(&node).await;
        assert!(
            !refused.head.to_lowercase().contains("access-control-allow-"),
            "{refused:?}"
        );
    }
    node.stop().await;
}

#[tokio::test]
async fn rate_of_a_key_is_its_own() {
    let node = Node::with(|config| {
        config.server.admin_token.0 = ADMIN.to_owned();
        config.tuning.api_key_items_per_second = 1;
    })
    .await;
    let (_, one) = key(&node, &["read"]).await;
    let (_, other) = key(&node, &["read"]).await;
    let presence = json!({ "users": ["alice"] });
    let ask = async |key: &str| with_key(&node, key, "POST", "/v1/server/presence", &presence).await;
    let refused = eventually("the key exceeds its rate", async || {
        let reply = ask(&one).await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    refused.is_problem(429, "rate_limited");
    assert!(!refused.header("Retry-After").is_empty(), "{refused:?}");
    ask(&other).await.is(200);
    Call::new("GET", "/v1/conversations")
        .by("alice")
        .to(&node)
        .await
        .is(200);
    node.stop().await;
}

#[tokio::test]
async fn message_as_a_user_has_the_rights_and_the_keys_of_that_user() {
    let node = node().await;
    let (_, key) = key(&node, &["messages", "conversations"]).await;
    let c = group(&node, &key, "alice", &["bob"], "g").await;
    let send = async |author: &str, cid: &str| {
        let body = json!({ "c": c, "as": author, "b": { "text": "hi" }, "cid": cid });
        with_key(&node, &key, "POST", "/v1/server/messages", &body).await
    };
    let first = send("bob", "k").await.is(201);
    // A device repeats what the back end has sent.
    let path = format!("/v1/conversations/{c}/messages");
    let device = Call::new("POST", &path)
        .by("bob")
        .key("k")
        .json(&json!({ "b": { "text": "hi" } }));
    let repeated = device.to(&node).await.is(200);
    assert_eq!((&repeated["s"], &repeated["dup"]), (&first["s"], &json!(true)));
    send("eve", "k").await.is_problem(403, "not_member");
    send("system", "k").await.is(201);
    assert_eq!(send("system", "k").await.is(200)["dup"], json!(true));
    let authors: Vec<Value> = events(&node, "alice", &c)
        .await
        .iter()
        .filter(|event| event["t"] == "msg")
        .map(|event| event["u"].clone())
        .collect();
    assert_eq!(authors, [json!("bob"), json!("system")]);
    // A direct message from the system, and the refusal of one that a block forbids.
    let direct = json!({ "to": "bob", "as": "system", "b": {}, "cid": "d" });
    with_key(&node, &key, "POST", "/v1/server/messages", &direct)
        .await
        .is(201);
    Call::new("PUT", "/v1/users/alice/block")
        .by("bob")
        .to(&node)
        .await
        .is(204);
    let blocked = json!({ "to": "bob", "as": "alice", "b": {}, "cid": "d" });
    let reply = with_key(&node, &key, "POST", "/v1/server/messages", &blocked).await;
    reply.is_problem(403, "forbidden");
    let both = json!({ "c": c, "to": "bob", "as": "system", "b": {}, "cid": "x" });
    let reply = with_key(&node, &key, "POST", "/v1/server/messages", &both).await;
    reply.is_problem(400, "bad_request");
    node.stop().await;
}

#[tokio::test]
async fn no_token_is_that_of_the_system() {
    let node = node().await;
    let reply = Call::new("GET", "/v1/conversations").by("system").to(&node).await;
    reply.is_problem(401, "unauthenticated");
    node.stop().await;
}

#[tokio::test]
async fn conversation_for_others_is_created_once_per_key() {
    let node = node().await;
    let (_, one) = key(&node, &["conversations", "read"]).await;
    let (_, other) = key(&node, &["conversations"]).await;
    let body = json!({ "kind": "group", "owner": "alice", "members": ["bob"], "title": "Trip", "cid": "k" });
    let create = async |key: &str| with_key(&node, key, "POST", "/v1/server/conversations", &body).await;
    let made = create(&one).await.is(201);
    assert_eq!(create(&one).await.is(200)["c"], made["c"]);
    assert_ne!(create(&other).await.is(201)["c"], made["c"]);
    let c = made["c"].as_str().unwrap();
    let path = format!("/v1/server/conversations/{c}");
    let view = with_key(&node, &one, "GET", &path, &Value::Null).await.is(200);
    assert_eq!(
        (&view["title"], &view["members"], &view["role"]),
        (&json!("Trip"), &json!(2), &Value::Null)
    );
    let members = with_key(&node, &one, "GET", &format!("{path}/members"), &Value::Null).await;
    let roles: Vec<(Value, Value)> = members.is(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["u"].clone(), item["role"].clone()))
        .collect();
    let expected = [("alice", "owner"), ("bob", "member")];
    assert_eq!(roles, expected.map(|(u, role)| (json!(u), json!(role))));
    let created = &events(&node, "alice", c).await[0];
    assert_eq!(
        (&created["u"], &created["who"]),
        (&json!("system"), &json!("alice"))
    );
    let missing = with_key(&node, &one, "GET", "/v1/server/conversations/g_1", &Value::Null).await;
    missing.is_problem(403, "not_member");
    for body in [
        json!({ "kind": "group", "owner": "system", "cid": "x" }),
        json!({ "kind": "group", "owner": "alice", "members": ["system"], "cid": "x" }),
        json!({ "kind": "direct", "owner": "alice", "members": [], "cid": "x" }),
    ] {
        let reply = with_key(&node, &one, "POST", "/v1/server/conversations", &body).await;
        reply.is_problem(400, "bad_request");
    }
    node.stop().await;
}

#[tokio::test]
async fn bulk_of_members_has_verdicts_and_its_repeat_no_effect() {
    let node = node().await;
    let (_, key) = key(&node, &["conversations"]).await;
    let c = group(&node, &key, "alice", &["bob"], "g").await;
    let ban = Call::new("PUT", &format!("/v1/conversations/{c}/bans/eve"));
    ban.by("alice").key("ban").to(&node).await.is(201);
    let path = format!("/v1/server/conversations/{c}/members");
    let wanted = json!({ "members": [
        { "u": "bob", "role": "admin" }, { "u": "carol" }, { "u": "eve" }, { "u": "alice", "role": "member" },
        { "u": "system" },
    ] });
    let mut before = Vec::new();
    for round in 0..2 {
        let verdicts = with_key(&node, &key, "PUT", &path, &wanted).await.is(200);
        let verdicts_found: Vec<(Value, Value)> = verdicts["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["ok"].clone(), item["err"].clone()))
            .collect();
        let conflict = (json!(false), json!("conflict"));
        let done = (json!(true), Value::Null);
        let reserved = (json!(false), json!("bad_request"));
        assert_eq!(
            verdicts_found,
            [done.clone(), done, conflict.clone(), conflict, reserved],
            "{verdicts}"
        );
        assert_eq!(verdicts["items"][2]["temp"], json!(false));
        let after = events(&node, "alice", &c).await;
        if round == 1 {
            assert_eq!(after, before, "a repeat");
        }
        before = after;
    }
    let gone = json!({ "members": [{ "u": "bob" }, { "u": "alice" }, { "u": "nobody" }] });
    for _ in 0..2 {
        let verdicts = with_key(&node, &key, "DELETE", &path, &gone).await.is(200);
        let items = verdicts["items"].as_array().unwrap();
        assert!(items.iter().all(|item| item["ok"] == true), "{verdicts}");
    }
    let last = events(&node, "carol", &c).await.pop().unwrap();
    assert_eq!((&last["u"], &last["who"]), (&json!("system"), &json!("alice")));
    let many: Vec<Value> = (0..101).map(|n| json!({ "u": format!("u{n}") })).collect();
    for members in [json!([]), json!(many)] {
        let reply = with_key(&node, &key, "PUT", &path, &json!({ "members": members })).await;
        reply.is_problem(400, "bad_request");
    }
    node.stop().await;
}

#[tokio::test]
async fn presence_of_many_users_is_read_at_once() {
    let node = node().await;
    let (_, key) = key(&node, &["read"]).await;
    let _client = node.client("alice").await;
    eventually("alice is online", async || {
        let body = json!({ "users": ["bob", "alice"] });
        let reply = with_key(&node, &key, "POST", "/v1/server/presence", &body).await;
        let items = reply.is(200)["items"].clone();
        items[0]["state"] == "offline" && items[1]["u"] == "alice" && items[1]["state"] == "online"
    })
    .await;
    let many: Vec<String> = (0..501).map(|n| format!("u{n}")).collect();
    let body = json!({ "users": many });
    let reply = with_key(&node, &key, "POST", "/v1/server/presence", &body).await;
    reply.is_problem(400, "bad_request");
    node.stop().await;
}

#[tokio::test]
async fn changes_by_a_key_are_in_the_audit_log_without_content() {
    let node = node().await;
    let (id, key) = key(&node, &["messages", "conversations"]).await;
    let c = group(&node, &key, "alice", &["bob"], "g").await;
    let body = json!({ "c": c, "as": "bob", "b": { "text": "swordfish" }, "cid": "m" });
    with_key(&node, &key, "POST", "/v1/server/messages", &body)
        .await
        .is(201);
    let members = json!({ "members": [{ "u": "carol" }, { "u": "dave" }] });
    let path = format!("/v1/server/conversations/{c}/members");
    with_key(&node, &key, "PUT", &path, &members).await.is(200);
    let log = admin("GET", "/v1/admin/events").to(&node).await;
    assert!(
        !log.text.contains("swordfish") && !log.text.contains(&key),
        "{log:?}"
    );
    let items = log.is(200)["items"].as_array().unwrap().clone();
    let verdicts_found: Vec<(&str, &str, u64, bool)> = items
        .iter()
        .map(|item| {
            let text = |name: &str| item[name].as_str().unwrap();
            (
                text("act"),
                text("target"),
                item["count"].as_u64().unwrap(),
                item["key_id"] == id,
            )
        })
        .collect();
    let expected = [
        ("members.put", &*c, 2, true),
        ("messages.send", &*c, 1, true),
        ("conversations.create", "alice", 2, true),
        ("keys.create", &*id, 1, false),
    ];
    assert_eq!(verdicts_found, expected);
    let page = admin("GET", "/v1/admin/events?before=1&limit=5")
        .to(&node)
        .await
        .is(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    Call::new("GET", "/v1/admin/events")
        .by("alice")
        .to(&node)
        .await
        .is_problem(401, "unauthenticated");
    node.stop().await;
}

/// Connects a client with any token, and returns it with the answer to its `auth`.
async fn connect(node: &Node, token: &str) -> (Client, Value) {
    let mut client = Client::connect(node.addr()).await;
    client.expect("hello").await;
    let auth = json!({ "t": "auth", "id": 1, "token": token });
    let answer = client.ask(1, &auth.to_string()).await;
    (client, answer)
}

/// Waits until each node answers to the token with this status.
async fn is_answered(cluster: &TestCluster, token: &str, status: u16) {
    for node in &cluster.nodes {
        eventually(&format!("a node answers {status}"), async || {
            let call = Call::new("GET", "/v1/conversations").bearer(token);
            call.to(node).await.status == status
        })
        .await;
    }
}

async fn closes(client: &mut Client) {
    assert_eq!(client.closed().await.0, 4403);
}

/// Creates a key at a node whose operators need no token.
async fn key_of(node: &Node, scopes: &[&str]) -> String {
    let body = json!({ "name": "back end", "scopes": scopes });
    let made = Call::new("POST", "/v1/admin/keys")
        .json(&body)
        .to(node)
        .await
        .is(201);
    made["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn deactivated_user_is_refused_on_every_node() {
    let cluster = TestCluster::start().await;
    let key = key_of(&cluster.nodes[0], &SCOPES).await;
    let c = group(&cluster.nodes[0], &key, "alice", &["bob"], "g").await;
    is_answered(&cluster, "dev:bob", 200).await;
    let (mut first, _) = connect(&cluster.nodes[0], "dev:bob").await;
    let (mut second, _) = connect(&cluster.nodes[1], "dev:bob").await;
    let act = async |what: &str, status: u16| {
        let path = format!("/v1/server/users/bob/{what}");
        let reply = with_key(&cluster.nodes[2], &key, "POST", &path, &Value::Null).await;
        assert_eq!(reply.status, status, "{reply:?}");
    };
    for _ in 0..2 {
        act("deactivate", 204).await;
    }
    closes(&mut first).await;
    closes(&mut second).await;
    is_answered(&cluster, "dev:bob", 403).await;
    for node in &cluster.nodes {
        let (mut refused, answer) = connect(node, "dev:bob").await;
        assert_eq!(answer["code"], "forbidden", "{answer}");
        closes(&mut refused).await;
        // A back end does not act as a deactivated user either.
        let send = json!({ "c": c, "as": "bob", "b": {}, "cid": "m" });
        let reply = with_key(node, &key, "POST", "/v1/server/messages", &send).await;
        reply.is_problem(403, "forbidden");
    }
    let path = format!("/v1/server/conversations/{c}");
    let view = with_key(&cluster.nodes[1], &key, "GET", &path, &Value::Null)
        .await
        .is(200);
    assert_eq!(view["members"], json!(2), "memberships stay");
    act("reactivate", 204).await;
    is_answered(&cluster, "dev:bob", 200).await;
    let system = "/v1/server/users/system/deactivate";
    let reply = with_key(&cluster.nodes[0], &key, "POST", system, &Value::Null).await;
    reply.is_problem(400, "bad_request");
    cluster.stop().await;
}

#[tokio::test]
async fn earlier_tokens_of_a_user_are_refused_on_every_node() {
    const SECRET: &str = "a secret of thirty-two bytes or more";
    let cluster = TestCluster::with(|config| config.auth.secret.0 = SECRET.to_owned()).await;
    let key = key_of(&cluster.nodes[0], &["users"]).await;
    let now = jsonwebtoken::get_current_timestamp();
    let token = |iat: Option<u64>| {
        let mut claims = json!({ "sub": "bob", "exp": now + 1_000 });
        if let Some(iat) = iat {
            claims["iat"] = json!(iat);
        }
        let secret = EncodingKey::from_secret(SECRET.as_bytes()).unwrap();
        encode(&Header::default(), &claims, &secret).unwrap()
    };
    let (old, same, undated) = (token(Some(now - 51)), token(Some(now - 50)), token(None));
    for token in [&old, &same, &undated] {
        is_answered(&cluster, token, 200).await;
    }
    let (mut client, _) = connect(&cluster.nodes[1], &old).await;
    let path = "/v1/server/users/bob/revoke";
    let body = json!({ "before": now - 50 });
    with_key(&cluster.nodes[2], &key, "POST", path, &body)
        .await
        .is(204);
    closes(&mut client).await;
    for (token, status) in [(&old, 401), (&undated, 401), (&same, 200)] {
        is_answered(&cluster, token, status).await;
    }
    let later = json!({ "before": now + 1_000 });
    let reply = with_key(&cluster.nodes[2], &key, "POST", path, &later).await;
    reply.is_problem(400, "bad_request");
    cluster.stop().await;
}

#[tokio::test]
async fn disconnected_user_may_come_back() {
    let cluster = TestCluster::start().await;
    let key = key_of(&cluster.nodes[0], &["users"]).await;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(connect(node, "dev:bob").await.0);
    }
    let (mut other, _) = connect(&cluster.nodes[0], "dev:alice").await;
    let path = "/v1/server/users/bob/disconnect";
    with_key(&cluster.nodes[1], &key, "POST", path, &Value::Null)
        .await
        .is(204);
    for client in &mut clients {
        closes(client).await;
    }
    let (_client, ready) = connect(&cluster.nodes[2], "dev:bob").await;
    assert_eq!(ready["t"], "ready", "{ready}");
    let pong = other.ask(2, r#"{"t":"list","id":2}"#).await;
    assert_eq!(pong["t"], "inbox", "{pong}");
    cluster.stop().await;
}

#[tokio::test]
async fn deactivated_user_cannot_log_in_by_a_code() {
    let node = node().await;
    let (_, key) = key(&node, &["users"]).await;
    let to = json!({ "to": "+447700900123" });
    let log_in = async || {
        let asked = eventually("there is a code", async || {
            let reply = Call::new("POST", "/v1/auth/otp").json(&to).to(&node).await;
            (reply.status == 202).then(|| reply.json())
        })
        .await;
        let entered = json!({ "challenge": asked["challenge"], "code": asked["dev_code"] });
        Call::new("POST", "/v1/auth/otp/verify")
            .json(&entered)
            .to(&node)
            .await
    };
    let tokens = log_in().await.is(200);
    let user = tokens["user"].as_str().unwrap();
    let path = format!("/v1/server/users/{user}/deactivate");
    with_key(&node, &key, "POST", &path, &Value::Null).await.is(204);
    let refresh = json!({ "refresh_token": tokens["refresh_token"] });
    let refreshed = Call::new("POST", "/v1/auth/refresh")
        .json(&refresh)
        .to(&node)
        .await;
    refreshed.is_problem(401, "unauthenticated");
    log_in().await.is_problem(403, "forbidden");
    let path = format!("/v1/server/users/{user}/reactivate");
    with_key(&node, &key, "POST", &path, &Value::Null).await.is(204);
    log_in().await.is(200);
    node.stop().await;
}

#[tokio::test]
async fn profiles_are_written_in_bulk_with_a_verdict_each() {
    let cluster = TestCluster::with(|config| config.server.admin_token.0 = ADMIN.to_owned()).await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let (_, key) = key(first, &["users"]).await;
    let body = json!({ "users": [
        { "u": "ada", "name": "Ada", "avatar": "/ada.png", "data": { "team": "red" } },
        { "u": "eve", "name": "\u{202e}eve" },
        { "u": "ben", "data": { "x": "x".repeat(4_096) } },
        { "u": "dan", "name": "Dan" },
    ] });
    for node in [second, third] {
        let put = with_key(node, &key, "POST", "/v1/server/users", &body)
            .await
            .is(200);
        let verdicts: Vec<_> = put["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["err"].as_str())
            .collect();
        assert_eq!(
            verdicts,
            [None, Some("bad_request"), Some("too_large"), None],
            "{put}"
        );
    }
    let removal = json!({ "users": [{ "u": "ada", "avatar": null }] });
    with_key(first, &key, "POST", "/v1/server/users", &removal)
        .await
        .is(200);
    with_key(
        first,
        &key,
        "POST",
        "/v1/server/users/dan/deactivate",
        &Value::Null,
    )
    .await
    .is(204);
    let listed = with_key(
        third,
        &key,
        "GET",
        "/v1/server/users?ids=ada,eve,dan",
        &Value::Null,
    )
    .await
    .is(200);
    let expected = json!([
        { "u": "ada", "name": "Ada", "data": { "team": "red" }, "ver": 2, "deactivated": false },
        { "u": "eve", "ver": 0, "deactivated": false },
        { "u": "dan", "name": "Dan", "ver": 1, "deactivated": true },
    ]);
    assert_eq!(listed["items"], expected);
    // Users read what the back end has written.
    let profile = Call::new("GET", "/v1/users/ada")
        .by("zoe")
        .to(second)
        .await
        .is(200);
    assert_eq!(profile["name"], "Ada");
    let many: Vec<Value> = (0..101)
        .map(|number| json!({ "u": format!("u{number}") }))
        .collect();
    for body in [
        json!({ "users": [] }),
        json!({ "users": many }),
        json!({ "users": [{ "u": "system" }] }),
    ] {
        let refused = with_key(first, &key, "POST", "/v1/server/users", &body).await;
        refused.is_problem(400, "bad_request");
    }
    cluster.stop().await;
}
