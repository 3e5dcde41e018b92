//! Presence and typing without a session.

use serde_json::json;

use node::testkit::{Call, Node, PATIENCE, group};

#[tokio::test]
async fn presence_is_read_by_anybody_but_blocked_users() {
    let node = Node::start().await;
    let presence = async |by: &str, of: &str| {
        let call = Call::new("GET", &format!("/v1/users/{of}/presence")).by(by);
        call.to(&node).await.is(200)
    };
    let unknown = json!({ "u": "nobody", "state": "offline", "seen": null });
    assert_eq!(presence("bob", "nobody").await, unknown);
    let mut alice = node.client("alice").await;
    let online = presence("bob", "alice").await;
    assert_eq!(online["state"], "online");
    assert!(online["seen"].is_u64());
    alice.ask(1, r#"{"t":"block","id":1,"who":"bob"}"#).await;
    // The block reaches the list of the one who blocks a moment later.
    let offline = async { while presence("bob", "alice").await["state"] != "offline" {} };
    tokio::time::timeout(PATIENCE, offline).await.expect("hidden");
    assert_eq!(presence("carol", "alice").await["state"], "online");
    Call::new("GET", "/v1/users/alice/presence")
        .to(&node)
        .await
        .is_problem(401, "unauthenticated");
    Call::new("GET", "/v1/users/a%20b/presence")
        .by("bob")
        .to(&node)
        .await
        .is_problem(400, "bad_request");
    node.stop().await;
}

#[tokio::test]
async fn typing_is_accepted_and_reaches_members() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let mut bob = node.client("bob").await;
    bob.ask(1, &format!(r#"{{"t":"open","id":1,"c":"{c}"}}"#)).await;
    let typing = |by: &str, on: bool| {
        let call = Call::new("POST", &format!("/v1/conversations/{c}/typing")).by(by);
        call.json(&json!({ "on": on }))
    };
    // The answer tells a stranger nothing.
    for by in ["carol", "alice", "alice"] {
        let reply = typing(by, true).to(&node).await;
        assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    }
    let event = bob.expect("typing").await;
    assert_eq!((&event["u"], &event["on"]), (&json!("alice"), &json!(true)));
    assert_eq!(typing("alice", false).to(&node).await.status, 204);
    assert_eq!(bob.expect("typing").await["on"], false);
    let malformed = Call::new("POST", &format!("/v1/conversations/{c}/typing")).by("alice");
    malformed
        .json(&json!({}))
        .to(&node)
        .await
        .is_problem(400, "bad_request");
    node.stop().await;
}
