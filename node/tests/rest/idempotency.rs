//! The same key is the same message, whichever way it comes.

use serde_json::json;

use node::testkit::{Call, Node, group};

#[tokio::test]
async fn the_same_key_over_rest_and_websocket_gives_the_same_message() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let path = format!("/v1/conversations/{c}/messages");
    let mut alice = node.client("alice").await;

    let sent = Call::new("POST", &path)
        .by("alice")
        .key("k1")
        .json(&json!({ "b": { "text": "one" } }));
    let ack = sent.to(&node).await.is(201);
    assert_eq!(
        (&ack["cid"], &ack["c"], &ack["mn"]),
        (&json!("k1"), &json!(c), &json!(1))
    );
    let again = format!(r#"{{"t":"send","id":1,"c":"{c}","cid":"k1","b":{{"text":"other"}}}}"#);
    let again = alice.ask(1, &again).await;
    assert_eq!((&again["s"], &again["dup"]), (&ack["s"], &json!(true)));

    let first = format!(r#"{{"t":"send","id":2,"c":"{c}","cid":"k2","b":{{"text":"two"}}}}"#);
    let first = alice.ask(2, &first).await;
    let body = json!({ "cid": "k2", "b": { "text": "two" } });
    let again = Call::new("POST", &path)
        .by("alice")
        .json(&body)
        .to(&node)
        .await
        .is(200);
    assert_eq!((&again["s"], &again["dup"]), (&first["s"], &json!(true)));

    let other = Call::new("POST", &path)
        .by("bob")
        .key("k1")
        .json(&json!({ "b": {} }))
        .to(&node)
        .await;
    assert!(
        other.is(201)["s"].as_u64() > first["s"].as_u64(),
        "keys are each user's own"
    );
}

#[tokio::test]
async fn idempotency_header_precedes_the_body_and_one_is_required() {
    let node = Node::start().await;
    let path = "/v1/users/bob/messages";
    let both = Call::new("POST", path)
        .by("alice")
        .key("header")
        .json(&json!({ "cid": "body", "b": {} }));
    assert_eq!(both.to(&node).await.is(201)["cid"], "header");
    let neither = Call::new("POST", path)
        .by("alice")
        .json(&json!({ "b": {} }))
        .to(&node)
        .await;
    let problem = neither.is_problem(400, "bad_request");
    assert!(
        problem["detail"].as_str().unwrap().contains("Idempotency-Key"),
        "{problem}"
    );
    let long = Call::new("POST", path)
        .by("alice")
        .key(&"k".repeat(65))
        .json(&json!({ "b": {} }));
    long.to(&node).await.is_problem(400, "bad_request");
}

#[tokio::test]
async fn what_is_sent_by_rest_arrives_on_the_websocket() {
    let node = Node::start().await;
    let mut bob = node.client("bob").await;
    let send = Call::new("POST", "/v1/users/bob/messages").by("alice").key("k");
    let ack = send
        .json(&json!({ "b": { "text": "hi" }, "mentions": ["bob"] }))
        .to(&node)
        .await
        .is(201);
    let msg = bob.expect("msg").await;
    for field in ["c", "s", "mn", "ts", "cid"] {
        assert_eq!(msg[field], ack[field], "{field}");
    }
    assert_eq!(
        (&msg["b"]["text"], &msg["mentions"]),
        (&json!("hi"), &json!(["bob"]))
    );
}
