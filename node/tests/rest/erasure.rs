//! Export and erasure of a user by a back end: every line of an export, the job and its answer, and the refusals.

use node::testkit::{Call, Node, Reply, eventually, group};
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-token-of-tests";

async fn node() -> (Node, String) {
    let node = Node::with(|config| config.server.admin_token.0 = ADMIN.to_owned()).await;
    let body = json!({ "name": "back end", "scopes": ["erase", "users", "messages", "conversations"] });
    let made = Call::new("POST", "/v1/admin/keys").bearer(ADMIN).json(&body);
    let key = made.to(&node).await.is(201)["key"].as_str().unwrap().to_owned();
    (node, key)
}

async fn with_key(node: &Node, key: &str, method: &str, path: &str, body: &Value) -> Reply {
    let call = Call::new(method, path).bearer(key);
    let call = match body {
        Value::Null => call,
        body => call.json(body),
    };
    call.to(node).await
}

async fn send(node: &Node, user: &str, path: &str, text: &str) -> Value {
    let call = Call::new("POST", path).by(user).key(text);
    let call = call.json(&json!({ "b": { "text": text } }));
    call.to(node).await.is(201)
}

async fn export(node: &Node, key: &str, user: &str) -> Vec<Value> {
    let path = format!("/v1/server/users/{user}/export");
    let reply = with_key(node, key, "POST", &path, &Value::Null).await;
    assert_eq!(reply.header("Content-Type"), "application/x-ndjson");
    let text = reply.chunks();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["t"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn export_has_every_line_of_the_user_and_ends_with_the_counts() {
    let (node, key) = node().await;
    let c = group(&node, "bob", &["alice"]).await;
    let messages = format!("/v1/conversations/{c}/messages");
    let sent = send(&node, "bob", &messages, "hello").await;
    send(&node, "alice", &messages, "secret of alice").await;
    let edit = format!("{messages}/{}", sent["s"]);
    let edit = Call::new("PUT", &edit).by("bob").key("e");
    edit.json(&json!({ "b": { "text": "hello again" } }))
        .to(&node)
        .await
        .is(200);
    send(&node, "bob", "/v1/users/carol/messages", "direct").await;
    Call::new("PUT", "/v1/users/eve/block")
        .by("bob")
        .to(&node)
        .await
        .is(204);
    let users = json!({ "users": [{ "u": "bob", "name": "Bob", "data": { "tier": 2 } }] });
    with_key(&node, &key, "POST", "/v1/server/users", &users)
        .await
        .is(200);

    let lines = eventually("the memberships are in the shard of bob", async || {
        let lines = export(&node, &key, "bob").await;
        let complete = kinds(&lines).contains(&"block") && lines[lines.len() - 1]["memberships"] == 2;
        complete.then_some(lines)
    })
    .await;
    assert_eq!(
        kinds(&lines),
        [
            "user",
            "block",
            "membership",
            "msg",
            "membership",
            "msg",
            "edit",
            "end"
        ]
    );
    let user = &lines[0];
    assert_eq!(
        (&user["u"], &user["name"], &user["data"], &user["deactivated"]),
        (&json!("bob"), &json!("Bob"), &json!({ "tier": 2 }), &json!(false))
    );
    assert_eq!(lines[1], json!({ "t": "block", "u": "eve" }));
    let membership = &lines[4];
    assert_eq!(
        (&membership["c"], &membership["role"]),
        (&json!(c), &json!("owner"))
    );
    assert_eq!(membership["read"], sent["s"]);
    assert!(
        lines.iter().all(|line| !line.to_string().contains("secret")),
        "{lines:?}"
    );
    assert_eq!(
        lines[7],
        json!({ "t": "end", "lines": 7, "memberships": 2, "events": 3 })
    );
    // Of a user whom nobody knows there is the first line and the last one.
    assert_eq!(kinds(&export(&node, &key, "nobody").await), ["user", "end"]);
    node.stop().await;
}

#[tokio::test]
async fn erased_user_is_refused_and_the_job_says_what_was_done() {
    let (node, key) = node().await;
    let c = group(&node, "alice", &["bob"]).await;
    let messages = format!("/v1/conversations/{c}/messages");
    let sent = send(&node, "bob", &messages, "words").await;
    let erase = "/v1/server/users/bob/erase";
    for body in [json!({}), json!({ "messages": "all" })] {
        with_key(&node, &key, "POST", erase, &body)
            .await
            .is_problem(400, "bad_request");
    }
    for reserved in ["system", "erased_x"] {
        let path = format!("/v1/server/users/{reserved}/erase");
        let reply = with_key(&node, &key, "POST", &path, &json!({ "messages": "delete" })).await;
        reply.is_problem(400, "bad_request");
    }
    let begun = with_key(&node, &key, "POST", erase, &json!({ "messages": "delete" })).await;
    let path = begun.header("Location").to_owned();
    let job = begun.is(202)["job"].clone();
    assert_eq!(path, format!("/v1/server/jobs/{}", job.as_str().unwrap()));
    let done = eventually("the job is done", async || {
        let job = with_key(&node, &key, "GET", &path, &Value::Null).await.is(200);
        (job["state"] == "done").then_some(job)
    })
    .await;
    assert_eq!(
        (&done["kind"], &done["u"], &done["messages"], &done["job"]),
        (&json!("erase"), &json!("bob"), &json!("delete"), &job)
    );
    let sum = |field: &str| -> u64 {
        let shards = done["shards"].as_array().unwrap().iter();
        shards.map(|shard| shard[field].as_u64().unwrap()).sum()
    };
    // The other events are the beginning and the end of the membership.
    assert_eq!(
        (sum("conversations"), sum("messages"), sum("events")),
        (1, 1, 2),
        "{done}"
    );
    let path = format!("/v1/conversations/{c}/events");
    let events = Call::new("GET", &path).by("alice").to(&node).await.is(200);
    let at = sent["s"].as_u64().unwrap() as usize - 1;
    let message = &events["events"][at];
    assert_eq!((&message["b"], &message["deleted"]), (&json!({}), &json!(true)));
    let author = message["u"].as_str().unwrap().to_owned();
    assert!(author.starts_with("erased_"), "{message}");
    assert!(!events.to_string().contains("bob"), "{events}");

    // The id is not given out again, nor is the other one.
    for user in ["bob", &author] {
        let refused = Call::new("GET", "/v1/conversations").by(user).to(&node).await;
        assert!(matches!(refused.status, 401 | 403), "{refused:?}");
    }
    let reply = with_key(
        &node,
        &key,
        "POST",
        "/v1/server/users/bob/reactivate",
        &Value::Null,
    )
    .await;
    reply.is_problem(409, "conflict");
    let users = json!({ "users": [{ "u": "bob", "name": "Bob" }] });
    let verdicts = with_key(&node, &key, "POST", "/v1/server/users", &users)
        .await
        .is(200);
    assert_eq!(verdicts["items"][0]["err"], "conflict");
    let again = with_key(&node, &key, "POST", erase, &json!({ "messages": "delete" })).await;
    assert_eq!(again.is(202)["job"], job);
    let other = with_key(
        &node,
        &key,
        "POST",
        erase,
        &json!({ "messages": "keep-anonymous" }),
    )
    .await;
    other.is_problem(409, "conflict");
    for unknown in ["x", "aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        let path = format!("/v1/server/jobs/{unknown}");
        let reply = with_key(&node, &key, "GET", &path, &Value::Null).await;
        reply.is_problem(404, "not_found");
    }
    let lines = export(&node, &key, "bob").await;
    assert_eq!(kinds(&lines), ["user", "end"]);
    assert_eq!(
        (&lines[0]["deactivated"], &lines[0]["name"]),
        (&json!(true), &Value::Null)
    );

    let audit = Call::new("GET", "/v1/admin/events")
        .bearer(ADMIN)
        .to(&node)
        .await
        .is(200);
    let acts: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["act"].as_str().unwrap())
        .collect();
    assert!(
        acts.contains(&"users.erase") && acts.contains(&"users.export"),
        "{acts:?}"
    );
    node.stop().await;
}

#[tokio::test]
async fn others_see_the_deletions_and_the_session_is_closed() {
    let (node, key) = node().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut alice = node.client("alice").await;
    let mut bob = node.client("bob").await;
    let messages = format!("/v1/conversations/{c}/messages");
    let sent = send(&node, "bob", &messages, "words").await;
    alice.expect("msg").await;
    let erase = json!({ "messages": "delete" });
    with_key(&node, &key, "POST", "/v1/server/users/bob/erase", &erase)
        .await
        .is(202);
    let left = alice.expect("member").await;
    assert_eq!((&left["who"], &left["why"]), (&json!("bob"), &json!("leave")));
    let deleted = alice.expect("del").await;
    assert_eq!(deleted["of"], sent["s"]);
    assert!(deleted["u"].as_str().unwrap().starts_with("erased_"), "{deleted}");
    assert_eq!(bob.closed().await.0, 4403);
    node.stop().await;
}
