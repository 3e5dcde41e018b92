//! Messages, the log and the cursors.

use serde_json::json;

use node::testkit::{Call, Node, group};

#[tokio::test]
async fn the_log_is_read_in_pages() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    for i in 0..4 {
        let send = Call::new("POST", &format!("/v1/conversations/{c}/messages")).by("alice");
        send.key(&i.to_string())
            .json(&json!({ "b": { "i": i } }))
            .to(&node)
            .await
            .is(201);
    }
    let events = |query: &str| {
        Call::new("GET", &format!("/v1/conversations/{c}/events?{query}"))
            .by("alice")
            .to(&node)
    };
    let newest = events("limit=2").await.is(200);
    let seqs = |page: &serde_json::Value| -> Vec<u64> {
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["s"].as_u64().unwrap())
            .collect()
    };
    assert_eq!((seqs(&newest), &newest["more"]), (vec![5, 6], &json!(true)));
    assert_eq!(seqs(&events("before=5&limit=3").await.is(200)), [2, 3, 4]);
    assert_eq!(seqs(&events("after=4").await.is(200)), [5, 6]);
    assert_eq!(seqs(&events("limit=0").await.is(200)), [6]);
    for query in ["before=5&after=2", "before=x", "limit=-1", "after=1.0"] {
        events(query).await.is_problem(400, "bad_request");
    }
    let refused = Call::new("GET", &format!("/v1/conversations/{c}/events"))
        .by("mallory")
        .to(&node)
        .await;
    refused.is_problem(403, "not_member");
}

#[tokio::test]
async fn cursors_move_forward_and_are_seen_by_the_other_side() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut alice = node.client("alice").await;
    let put = |name: &str, s: u64| {
        let path = format!("/v1/conversations/{c}/{name}");
        Call::new("PUT", &path)
            .by("bob")
            .json(&json!({ "s": s }))
            .to(&node)
    };
    let send = Call::new("POST", &format!("/v1/conversations/{c}/messages"))
        .by("alice")
        .key("k");
    send.json(&json!({ "b": {} })).to(&node).await.is(201);
    put("delivered", 3).await.is(204);
    let receipt = alice.expect("receipt").await;
    assert_eq!((&receipt["u"], &receipt["delivered"]), (&json!("bob"), &json!(3)));
    put("read", 99).await.is(204);
    put("read", 1).await.is(204);
    let view = Call::new("GET", &format!("/v1/conversations/{c}"))
        .by("bob")
        .to(&node)
        .await
        .is(200);
    assert_eq!((&view["read"], &view["delivered"]), (&json!(3), &json!(3)));
    let path = format!("/v1/conversations/{c}/read");
    let refused = Call::new("PUT", &path)
        .by("mallory")
        .json(&json!({ "s": 1 }))
        .to(&node)
        .await;
    refused.is_problem(403, "not_member");
}

#[tokio::test]
async fn message_changes_show_in_the_messages_and_in_the_log() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let messages = format!("/v1/conversations/{c}/messages");
    for i in 0..2 {
        let send = Call::new("POST", &messages).by("alice").key(&i.to_string());
        send.json(&json!({ "b": { "i": i } })).to(&node).await.is(201);
    }
    let edit = |by: &str, key: &str, s: u64| {
        let call = Call::new("PUT", &format!("{messages}/{s}")).by(by).key(key);
        call.json(&json!({ "b": { "text": "better" } })).to(&node)
    };
    let edited = edit("alice", "e", 3).await.is(200);
    assert_eq!((&edited["s"], &edited["mn"]), (&json!(5), &json!(null)));
    assert_eq!(edit("alice", "e", 3).await.is(200)["dup"], true);
    edit("bob", "e", 3).await.is_problem(403, "forbidden");
    edit("alice", "e2", 2).await.is_problem(404, "not_found");

    // A heart, as a browser writes it into a path.
    let reaction = |method: &str, key: &str, s: u64| {
        let path = format!("{messages}/{s}/reactions/%E2%9D%A4%EF%B8%8F");
        Call::new(method, &path).by("bob").key(key).to(&node)
    };
    assert_eq!(reaction("PUT", "r", 3).await.is(201)["s"], 6);
    assert_eq!(reaction("PUT", "r", 3).await.is(200)["dup"], true);
    let long = format!("{messages}/3/reactions/{}", "x".repeat(33));
    Call::new("PUT", &long)
        .by("bob")
        .key("long")
        .to(&node)
        .await
        .is_problem(400, "bad_request");
    let slash = format!("{messages}/3/reactions/a%2Fb");
    Call::new("PUT", &slash)
        .by("bob")
        .key("slash")
        .to(&node)
        .await
        .is(201);

    let delete = |key: &str| {
        Call::new("DELETE", &format!("{messages}/4"))
            .by("alice")
            .key(key)
            .to(&node)
    };
    assert_eq!(delete("d").await.is(200)["s"], 8);
    // Once more is the first time.
    let again = delete("d2").await.is(200);
    assert_eq!((&again["s"], &again["dup"]), (&json!(8), &json!(true)));

    let page = |query: &str| Call::new("GET", &format!("{messages}{query}")).by("bob");
    let first = page("").to(&node).await;
    let history = first.is(200);
    let [one, two] = &history["items"].as_array().unwrap()[..] else {
        panic!("{history}")
    };
    assert_eq!((&one["s"], &one["b"]["text"]), (&json!(3), &json!("better")));
    assert_eq!(one["edited_ts"], edited["ts"]);
    assert_eq!(one["reactions"], json!({ "❤️": 1, "a/b": 1 }));
    assert_eq!((&two["b"], &two["deleted"]), (&json!({}), &json!(true)));
    let again = page("")
        .with("If-None-Match", first.header("ETag"))
        .to(&node)
        .await;
    assert_eq!(again.status, 304);
    assert_eq!(
        page("?before=4&limit=1").to(&node).await.is(200)["items"][0]["s"],
        3
    );

    assert_eq!(reaction("DELETE", "r2", 3).await.is(200)["s"], 9);
    // What is so already is acknowledged and makes no event.
    assert_eq!(reaction("DELETE", "r3", 3).await.is(200)["s"], json!(null));
    let history = page("")
        .with("If-None-Match", first.header("ETag"))
        .to(&node)
        .await
        .is(200);
    assert_eq!(history["items"][0]["reactions"], json!({ "a/b": 1 }));
    let log = Call::new("GET", &format!("/v1/conversations/{c}/events?after=4")).by("bob");
    let log = log.to(&node).await.is(200);
    let kinds: Vec<_> = log["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["t"].clone())
        .collect();
    assert_eq!(kinds, ["edit", "react", "react", "del", "react"]);
}
