//! Messages, the log and the cursors.

use serde_json::json;

use crate::http::{Call, group};
use crate::support::Node;

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
    let places = |page: &serde_json::Value| -> Vec<u64> {
        page["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["s"].as_u64().unwrap())
            .collect()
    };
    assert_eq!((places(&newest), &newest["more"]), (vec![5, 6], &json!(true)));
    assert_eq!(places(&events("before=5&limit=3").await.is(200)), [2, 3, 4]);
    assert_eq!(places(&events("after=4").await.is(200)), [5, 6]);
    assert_eq!(places(&events("limit=0").await.is(200)), [6]);
    for query in ["before=5&after=2", "before=x", "limit=-1", "after=1.0"] {
        events(query).await.is_problem(400, "bad_request");
    }
    let stranger = Call::new("GET", &format!("/v1/conversations/{c}/events"))
        .by("mallory")
        .to(&node)
        .await;
    stranger.is_problem(403, "not_member");
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
    let stranger = Call::new("PUT", &path)
        .by("mallory")
        .json(&json!({ "s": 1 }))
        .to(&node)
        .await;
    stranger.is_problem(403, "not_member");
}
