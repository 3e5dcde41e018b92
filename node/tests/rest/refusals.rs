//! What is refused, and how it is said.

use serde_json::json;

use node::testkit::{Call, HumanDuration, Node, group};

#[tokio::test]
async fn without_a_valid_token_there_is_nothing() {
    let node = Node::start().await;
    for call in [
        Call::new("GET", "/v1/conversations"),
        Call::new("GET", "/v1/conversations").with("Authorization", "Basic YTpi"),
        Call::new("POST", "/v1/sync")
            .with("Authorization", "Bearer nonsense")
            .json(&json!({})),
    ] {
        let reply = call.to(&node).await;
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.header("WWW-Authenticate"), "Bearer");
        assert_eq!(reply.header("Cache-Control"), "no-store");
    }
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_the_path_of_the_mistake() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let path = format!("/v1/conversations/{c}/messages");
    let send = |text: &str| {
        Call::new("POST", &path)
            .by("alice")
            .key("k")
            .with("Content-Type", "application/json")
            .text(text)
            .to(&node)
    };
    for (text, mistake) in [
        ("{\"b\":\n  7}", "line 2 column 4"),
        ("{\"b\":{}", "line 1 column"),
        ("{}", "missing field `b`"),
        ("{\"b\":{},\"reply_to\":-1}", "line 1 column"),
        (
            "{\"b\":{\"a\":\"\\ud800\"}}",
            "surrogate pair, at line 1 column 12",
        ),
        (
            "{\"b\":{\"a\":1,\n\"a\":2}}",
            "duplicate key in an object, at line 2 column 2",
        ),
        (
            "{\"b\":{\"a\":1e999}}",
            "a number is not finite, at line 1 column 11",
        ),
        ("[]", "line 1"),
        ("[{}]", "line 1"),
        ("null", "line 1"),
        ("", "line 1"),
    ] {
        let problem = send(text).await.is_problem(400, "bad_request");
        assert!(
            problem["detail"].as_str().unwrap().contains(mistake),
            "{text} gives {problem}"
        );
    }
    let long = format!("{{\"b\":{{\"a\":{}}}}}", "9".repeat(5_000));
    let problem = send(&long).await.is_problem(400, "bad_request");
    assert!(
        problem["detail"].as_str().unwrap().contains("64 characters"),
        "{problem}"
    );
    let deep = format!("{{\"b\":{{\"a\":{}{}}}}}", "[".repeat(64), "]".repeat(64));
    send(&deep).await.is_problem(400, "bad_request");
    let plain = Call::new("POST", &path)
        .by("alice")
        .key("k")
        .text("{\"b\":{}}")
        .to(&node)
        .await;
    plain.is_problem(415, "bad_request");
    send(&json!({ "b": {}, "reply_to": 99 }).to_string())
        .await
        .is_problem(404, "not_found");
    send(&json!({ "b": { "text": "x".repeat(16 * 1024) } }).to_string())
        .await
        .is_problem(413, "too_large");
    send(&json!({ "b": { "text": "x".repeat(70 * 1024) } }).to_string())
        .await
        .is_problem(413, "too_large");
    assert_eq!(
        send("{\"b\":{}}").await.is(201)["mn"],
        1,
        "nothing of it was sent"
    );
}

#[tokio::test]
async fn misleading_or_invisible_name_is_refused_on_all_transports() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut alice = node.client("alice").await;
    for (at, title) in ["a\u{202e}gpj", "a\u{0}", "\u{1b}[31m", "\u{200b}\u{fe0f}", " "]
        .iter()
        .enumerate()
    {
        let make = json!({ "kind": "group", "members": [], "title": title });
        let make = Call::new("POST", "/v1/conversations")
            .by("alice")
            .key("x")
            .json(&make);
        make.to(&node).await.is_problem(400, "bad_request");
        let set = Call::new("PATCH", &format!("/v1/conversations/{c}"))
            .by("alice")
            .key("y");
        let set = set.json(&json!({ "title": title })).to(&node).await;
        set.is_problem(400, "bad_request");
        let make = json!({ "t": "create", "id": at, "cid": "z", "kind": "group", "title": title });
        let refused = alice.ask(at as i64, &make.to_string()).await;
        assert_eq!(refused["code"], "bad_request", "{title:?}: {refused}");
    }
    let react = |k: &str| {
        let path = format!("/v1/conversations/{c}/messages/1/reactions/{k}");
        Call::new("PUT", &path).by("alice").key("r").to(&node)
    };
    for k in ["%E2%80%AE", "%EF%B8%8F", "%1B"] {
        react(k).await.is_problem(400, "bad_request");
    }
    // What can't be read as JSON is refused by its `id` on a connection, as any other command.
    let refused = alice
        .ask(
            70,
            r#"{"t":"send","id":70,"to":"bob","cid":"s","b":{"a":"\ud800"}}"#,
        )
        .await;
    assert_eq!(refused["code"], "bad_request", "{refused}");
    node.stop().await;
}

#[tokio::test]
async fn malformed_ids_in_a_path_are_bad_requests() {
    let node = Node::start().await;
    for path in [
        "/v1/conversations/a%20b",
        "/v1/conversations/%ff/events",
        "/v1/conversations?limit=x",
    ] {
        Call::new("GET", path)
            .by("alice")
            .to(&node)
            .await
            .is_problem(400, "bad_request");
    }
    let long = format!("/v1/users/{}/messages", "u".repeat(65));
    let send = Call::new("POST", &long)
        .by("alice")
        .key("k")
        .json(&json!({ "b": {} }));
    send.to(&node).await.is_problem(400, "bad_request");
}

#[tokio::test]
async fn unknown_path_is_404_and_unknown_method_lists_the_allowed() {
    let node = Node::start().await;
    for path in [
        "/v2/conversations",
        "/v1/conversations/",
        "/v1/conversations/g_1/nothing",
    ] {
        Call::new("GET", path)
            .by("alice")
            .to(&node)
            .await
            .is_problem(404, "not_found");
    }
    let reply = Call::new("DELETE", "/v1/conversations")
        .by("alice")
        .to(&node)
        .await;
    reply.is_problem(405, "bad_request");
    let mut allow: Vec<_> = reply.header("Allow").split(", ").collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD", "OPTIONS", "POST"]);
}

#[tokio::test]
async fn one_user_has_one_rate_for_all_requests() {
    let node = Node::with(|config| {
        config.limits.sends_per_second = 1;
        config.tuning.sends_burst = Some(2);
    })
    .await;
    let send = |user: &str, i: u32| {
        let call = Call::new("POST", "/v1/users/zoe/messages")
            .by(user)
            .key(&i.to_string());
        call.json(&json!({ "b": {} })).to(&node)
    };
    let mut refused = None;
    for i in 0..30 {
        let reply = send("alice", i).await;
        if reply.status == 429 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("more than the rate is refused");
    let problem = refused.is_problem(429, "rate_limited");
    assert!(
        problem["retry_ms"]
            .as_u64()
            .is_some_and(|ms| (1..=1_000).contains(&ms)),
        "{problem}"
    );
    assert_eq!(refused.header("Retry-After"), "1");
    send("bob", 0).await.is(201);
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up() {
    let node = Node::with(|config| config.tuning.request_timeout = HumanDuration::millis(100)).await;
    let call = Call::new("POST", "/v1/sync")
        .by("alice")
        .with("Content-Type", "application/json");
    call.with("Content-Length", "100")
        .to(&node)
        .await
        .is_problem(408, "bad_request");
}
