//! The listener for operators: who may do what there, and what clients do not find.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use node::testkit::{Call, Client, Node, Reply, TestCluster, eventually, within};
use serde_json::{Value, json};

const READ: &str = "a-token-that-reads-in-tests";
const OPERATE: &str = "a-token-that-operates-in-tests";

/// Method, path, what a token with the role `read` is answered, and one with `operate`. Nobody else gets further than 401.
const TABLE: [(&str, &str, u16, u16); 31] = [
    ("GET", "/metrics", 200, 200),
    ("GET", "/v1/cluster", 200, 200),
    ("GET", "/v1/cluster/owner?conversation=g_1", 200, 200),
    ("DELETE", "/v1/cluster/nodes/9", 403, 409),
    ("GET", "/v1/admin/overview", 200, 200),
    ("GET", "/v1/admin/nodes/1/can-stop", 200, 200),
    ("GET", "/v1/admin/nodes/1/support", 200, 200),
    ("POST", "/v1/admin/nodes/1/drain", 403, 409),
    ("POST", "/v1/admin/nodes/1/resume", 403, 202),
    ("POST", "/v1/admin/nodes/1/leave", 403, 409),
    ("DELETE", "/v1/admin/nodes/9", 403, 404),
    ("POST", "/v1/admin/shards/0/move", 403, 404),
    ("POST", "/v1/admin/rebalance", 403, 202),
    ("GET", "/v1/admin/sessions?user=alice", 200, 200),
    (
        "DELETE",
        "/v1/admin/sessions/10000000000000000?user=alice",
        403,
        404,
    ),
    ("GET", "/v1/admin/users/alice", 200, 200),
    ("POST", "/v1/admin/users/alice/disconnect", 403, 204),
    ("POST", "/v1/admin/users/alice/revoke", 403, 204),
    ("POST", "/v1/admin/users/alice/export", 403, 200),
    ("POST", "/v1/admin/users/alice/erase", 403, 202),
    // Neither exists: the answer is that of a token which may ask.
    ("GET", "/v1/admin/jobs/nothing", 403, 404),
    ("GET", "/v1/admin/conversations/g_1", 404, 404),
    ("POST", "/v1/admin/conversations/g_1/owner", 403, 404),
    ("GET", "/v1/admin/keys", 200, 200),
    ("POST", "/v1/admin/keys", 403, 201),
    ("DELETE", "/v1/admin/keys/aaaaaaaaaaaaaaaa", 403, 204),
    ("GET", "/v1/admin/events", 200, 200),
    ("GET", "/v1/admin/failovers", 200, 200),
    // It changes nothing, but sends what people wrote. This shard does not exist: rows are not text.
    ("GET", "/v1/admin/backups/shards/999", 403, 400),
    ("GET", "/v1/admin/shards/0/replicas", 200, 200),
    // The only replica has none to be filled from.
    ("POST", "/v1/admin/shards/0/replicas/1/rebuild", 403, 409),
];

/// A node with a listener for operators of its own.
async fn node() -> Node {
    Node::with(|config| {
        config.server.admin = "127.0.0.1:0".to_owned();
        config.server.admin_token.0 = format!("read:monitor:{READ} operate:ci:{OPERATE}");
    })
    .await
}

async fn ask(addr: SocketAddr, (method, path): (&str, &str), token: Option<&str>) -> Reply {
    let mut call = Call::new(method, path);
    if let Some(token) = token {
        call = call.bearer(token);
    }
    let call = match path.rsplit('/').next() {
        Some("move") => call.json(&json!({ "to": 9 })),
        Some("revoke") => call.json(&json!({ "before": 0 })),
        Some("erase") => call.json(&json!({ "messages": "delete" })),
        Some("owner") => call.json(&json!({ "u": "bob" })),
        Some("keys") if method == "POST" => call.json(&json!({ "name": "shop", "scopes": ["read"] })),
        _ => call,
    };
    let reply = within("the node responds", call.send(addr)).await;
    reply.expect("a response")
}

async fn get(addr: SocketAddr, path: &str) -> Value {
    ask(addr, ("GET", path), Some(OPERATE)).await.is(200)
}

#[tokio::test]
async fn what_an_operator_may_do_depends_on_the_role_of_the_token() {
    let node = node().await;
    let admin = node.admin_addr();
    for (method, path, read, operate) in TABLE {
        for wrong in [None, Some("a-token-of-nobody-in-tests"), Some("dev:alice")] {
            let reply = ask(admin, (method, path), wrong).await;
            assert_eq!(reply.status, 401, "{method} {path} with {wrong:?}: {reply:?}");
        }
        let reply = ask(admin, (method, path), Some(READ)).await;
        assert_eq!(reply.status, read, "{method} {path} with read: {reply:?}");
        let reply = ask(admin, (method, path), Some(OPERATE)).await;
        assert_eq!(reply.status, operate, "{method} {path} with operate: {reply:?}");
    }
    // Every change with sufficient rights is in the audit log with its outcome, and nothing else.
    let events = get(admin, "/v1/admin/events").await;
    let mut found: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            [&item["who"], &item["act"], &item["outcome"]].map(|field| field.as_str().unwrap().to_owned())
        })
        .collect();
    found.reverse();
    let expected = [
        ("nodes.remove", "failed: conflict"),
        ("nodes.drain", "failed: conflict"),
        ("nodes.resume", "done"),
        ("nodes.leave", "failed: conflict"),
        ("nodes.remove", "failed: not_found"),
        ("shards.move", "failed: not_found"),
        ("shards.rebalance", "done"),
        ("sessions.disconnect", "failed: not_found"),
        ("users.disconnect", "done"),
        ("users.revoke", "done"),
        ("users.export", "done"),
        ("users.erase", "done"),
        ("jobs.read", "failed: not_found"),
        ("conversations.owner", "failed: not_found"),
        ("keys.create", "done"),
        ("keys.revoke", "done"),
        ("replicas.rebuild", "failed: conflict"),
    ];
    assert_eq!(
        found,
        expected.map(|(act, outcome)| ["ci", act, outcome].map(str::to_owned))
    );
    node.stop().await;
}

#[tokio::test]
async fn clients_find_nothing_of_operators_on_their_port() {
    let node = node().await;
    let (clients, admin) = (node.addr(), node.admin_addr());
    assert_ne!(clients, admin);
    for (method, path, _, _) in TABLE {
        let reply = ask(clients, (method, path), Some(OPERATE)).await;
        reply.is_problem(404, "not_found");
    }
    for (addr, other) in [(clients, "/v1/conversations"), (admin, "/v1/admin/overview")] {
        for probe in ["/livez", "/readyz"] {
            assert_eq!(ask(addr, ("GET", probe), None).await.status, 200, "{probe}");
        }
        let description = ask(addr, ("GET", "/v1/openapi.json"), None).await.is(200);
        let paths: BTreeSet<&str> = description["paths"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert!(paths.contains(other), "{paths:?}");
        assert_eq!(paths.contains("/metrics"), addr == admin);
    }
    for path in ["/v1/conversations", "/v1/ws", "/v1/auth/otp", "/"] {
        let reply = ask(admin, ("GET", path), Some(OPERATE)).await;
        reply.is_problem(404, "not_found");
    }
    node.stop().await;
}

#[tokio::test]
async fn console_is_on_the_port_for_operators_alone() {
    let node = node().await;
    let (clients, admin) = (node.addr(), node.admin_addr());
    // The page needs no token; what it asks for does.
    let page = ask(admin, ("GET", "/console"), None).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.header("Content-Type"), "text/html; charset=utf-8");
    let policy = page.header("Content-Security-Policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"),
        "{policy}"
    );
    let files: Vec<&str> = page
        .text
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert!(!files.is_empty(), "{page:?}");
    for path in files.into_iter().chain(["/console"]) {
        let found = ask(admin, ("HEAD", path), None).await;
        assert_eq!(found.status, 200, "{path}: {found:?}");
        let reply = ask(clients, ("GET", path), None).await;
        reply.is_problem(404, "not_found");
    }
    node.stop().await;
    // A development node has one port for clients and operators.
    let node = Node::start().await;
    let page = ask(node.addr(), ("GET", "/console"), None).await;
    assert_eq!(page.status, 200, "{page:?}");
    node.stop().await;
}

#[tokio::test]
async fn the_table_of_operators_is_complete() {
    let node = node().await;
    let description = get(node.admin_addr(), "/v1/openapi.json").await;
    let mut described = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        if !["/livez", "/readyz", "/v1/openapi.json"].contains(&path.as_str()) {
            let methods = item.as_object().unwrap().keys();
            described.extend(methods.map(|method| (method.to_uppercase(), path.split('/').count())));
        }
    }
    let tested: BTreeSet<_> = TABLE
        .iter()
        .map(|(method, path, _, _)| ((*method).to_owned(), path.split('/').count()))
        .collect();
    assert_eq!(described, tested);
    let operations: usize = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|item| item.as_object().unwrap().len())
        .sum();
    // The stream has tests of its own.
    assert_eq!(operations, TABLE.len() + 4, "and three that need no token");
    node.stop().await;
}

#[tokio::test]
async fn development_node_answers_operators_under_no_foreign_name() {
    let node = Node::start().await;
    let status = async |host: &str| {
        let request = format!("GET /v1/cluster HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        node.exchange(&request).await.0
    };
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]"] {
        assert_eq!(status(host).await, 200, "{host}");
    }
    for host in ["rebound.example.org:8080", "127.0.0.1.example.org"] {
        assert_eq!(status(host).await, 403, "{host}");
    }
    node.stop().await;
}

#[tokio::test]
async fn operator_ends_one_session_of_a_user_and_then_all() {
    let node = node().await;
    let admin = node.admin_addr();
    let mut first = node.client("alice").await;
    let mut second = node.client("alice").await;
    let sessions = async || {
        let page = get(admin, "/v1/admin/sessions?user=alice").await;
        page["items"].as_array().unwrap().clone()
    };
    let found = eventually("both sessions are listed", async || {
        Some(sessions().await).filter(|found| found.len() == 2)
    })
    .await;
    assert_eq!(
        (&found[0]["resumes"], found[0]["outbox_bytes"].is_u64()),
        (&0.into(), true)
    );
    let id = found[0]["id"].as_str().unwrap();
    // Under the name of another user it is no session.
    let path = format!("/v1/admin/sessions/{id}?user=bob");
    let reply = ask(admin, ("DELETE", &path), Some(OPERATE)).await;
    reply.is_problem(404, "not_found");
    let path = format!("/v1/admin/sessions/{id}?user=alice");
    ask(admin, ("DELETE", &path), Some(OPERATE)).await.is(204);
    eventually("one session is left", async || sessions().await.len() == 1).await;
    let account = get(admin, "/v1/admin/users/alice").await;
    assert_eq!(
        (&account["sessions"], &account["deactivated"]),
        (&1.into(), &false.into())
    );
    let path = "/v1/admin/users/alice/disconnect";
    ask(admin, ("POST", path), Some(OPERATE)).await.is(204);
    let closes = [closing(&mut first).await, closing(&mut second).await];
    assert_eq!(closes, [4403, 4403]);
    node.stop().await;
}

/// Reads until the close frame, and returns its code.
async fn closing(client: &mut Client) -> u16 {
    client.closed().await.0
}

#[tokio::test]
async fn drained_node_has_no_shard_and_no_session_until_resumed() {
    let cluster = TestCluster::start().await;
    let [first, second, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let id = second.running.cluster().node_id().0;
    let state = async || {
        let overview = Call::new("GET", "/v1/admin/overview").to(first).await.is(200);
        let nodes = overview["nodes"].as_array().unwrap().clone();
        let node = nodes.into_iter().find(|node| node["id"] == id).unwrap();
        assert_eq!(node["silent"], false, "{node}");
        (
            node["report"]["state"].as_str().unwrap().to_owned(),
            node["owned"].as_u64().unwrap(),
        )
    };
    eventually("the node owns shards", async || state().await.1 > 0).await;
    let mut client = second.client("alice").await;
    let order = async |what: &str| {
        let path = format!("/v1/admin/nodes/{id}/{what}");
        Call::new("POST", &path).to(first).await.status
    };
    // A repeat changes nothing.
    for _ in 0..2 {
        assert_eq!(order("drain").await, 202);
    }
    assert_eq!(closing(&mut client).await, 4012);
    eventually("the node is drained", async || {
        state().await == ("drained".to_owned(), 0)
    })
    .await;
    let (status, reason) = second.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(reason.contains("draining"), "{reason}");
    let third = Call::new("GET", "/v1/admin/nodes/1/can-stop")
        .to(second)
        .await
        .is(200);
    assert_eq!(
        third["can_stop"], false,
        "the drained node counts as down: {third}"
    );
    // Clients go on elsewhere, and the node still has its replicas.
    let _client = first.client("alice").await;
    assert_eq!(order("resume").await, 202);
    second.ready().await;
    let _client = second.client("bob").await;
    eventually("its shards return", async || {
        let (state, owned) = state().await;
        state == "serving" && owned > 0
    })
    .await;
    assert_eq!(
        Call::new("POST", "/v1/admin/nodes/9/drain")
            .to(first)
            .await
            .status,
        404
    );
    cluster.stop().await;
}
