//! A service that is told of messages for those who are away, as a real server of HTTP.

use std::sync::atomic::Ordering;

use node::testkit::{
    Call, Config, HumanDuration, Node, SecretString, WEBHOOK_SECRET, WebhookReceiver, group,
};
use serde_json::json;

fn webhook_settings(url: &str) -> impl FnOnce(&mut Config) + use<> {
    let url = url.to_owned();
    move |config| {
        config.webhook.url = url;
        config.webhook.secret = SecretString(WEBHOOK_SECRET.to_owned());
        config.tuning.webhook_attempts = 1;
        config.tuning.webhook_retry = HumanDuration::millis(20);
        config.presence.offline_grace = HumanDuration::millis(100);
    }
}

async fn send(node: &Node, c: &str, by: &str, n: u64, mentions: &[&str]) -> u64 {
    let send = Call::new("POST", &format!("/v1/conversations/{c}/messages")).by(by);
    let body = json!({ "b": { "n": n }, "mentions": mentions });
    let ack = send.key(&n.to_string()).json(&body).to(node).await.is(201);
    ack["s"].as_u64().unwrap()
}

#[tokio::test]
async fn absent_members_are_posted_once_and_online_ones_are_not() {
    let mut receiver = WebhookReceiver::answering(204).await;
    let node = Node::with(webhook_settings(&receiver.url)).await;
    let c = group(&node, "alice", &["bob", "carol"]).await;
    let _carol = node.client("carol").await;
    let muted = Call::new("PATCH", &format!("/v1/conversations/{c}"))
        .by("bob")
        .key("mute");
    muted.json(&json!({ "muted": true })).to(&node).await.is(200);
    let s = send(&node, &c, "alice", 1, &["bob"]).await;
    let (id, post) = receiver.next().await;
    assert_eq!(
        (&post["type"], &post["id"], &post["c"]),
        (&json!("message"), &json!(id), &json!(c))
    );
    assert_eq!(
        (&post["kind"], &post["title"]),
        (&json!("group"), &json!("Lunch"))
    );
    assert_eq!(
        (&post["message"]["s"], &post["message"]["u"]),
        (&json!(s), &json!("alice"))
    );
    assert_eq!(
        post["offline"],
        json!([{ "u": "bob", "muted": true, "mentioned": true }])
    );
    // Bob comes: of the next message nobody has to be told.
    let _bob = node.client("bob").await;
    send(&node, &c, "alice", 2, &[]).await;
    send(&node, &c, "bob", 3, &[]).await;
    let (_, post) = receiver.next().await;
    assert_eq!(
        post["message"]["b"]["n"], 3,
        "alice, by REST only, has no live session"
    );
    node.stop().await;
}

#[tokio::test]
async fn a_receiver_that_was_down_gets_the_same_id_later() {
    let mut receiver = WebhookReceiver::answering(503).await;
    let node = Node::with(webhook_settings(&receiver.url)).await;
    let c = group(&node, "alice", &["bob"]).await;
    send(&node, &c, "alice", 1, &[]).await;
    let (first, _) = receiver.next().await;
    let (second, _) = receiver.next().await;
    assert_eq!(first, second, "a repeat is known by its id");
    receiver.status.store(204, Ordering::Relaxed);
    node.figure_reaches("rookery_webhook_delivered_total", 1).await;
    node.stop().await;
}

#[tokio::test]
async fn a_conversation_webhook_is_posted_under_its_names() {
    let mut receiver = WebhookReceiver::answering(204).await;
    let node = Node::with(webhook_settings(&receiver.url)).await;
    let c = group(&node, "alice", &["bob"]).await;
    let (_alice, _bob) = (node.client("alice").await, node.client("bob").await);
    let hook = |method: &str, by: &str, key: &str| {
        let path = format!("/v1/conversations/{c}/hooks/archive");
        Call::new(method, &path).by(by).key(key).to(&node)
    };
    hook("PUT", "bob", "k1").await.is_problem(403, "forbidden");
    hook("PUT", "alice", "k1").await.is(200);
    send(&node, &c, "alice", 1, &[]).await;
    let (_, post) = receiver.next().await;
    assert_eq!(
        (&post["hooks"], &post["offline"]),
        (&json!(["archive"]), &json!([]))
    );
    hook("DELETE", "alice", "k2").await.is(200);
    send(&node, &c, "alice", 2, &[]).await;
    hook("PUT", "alice", "k3").await.is(200);
    send(&node, &c, "alice", 3, &[]).await;
    let (_, post) = receiver.next().await;
    assert_eq!(post["message"]["b"]["n"], 3, "nobody wanted the second");
    node.stop().await;
}

#[tokio::test]
async fn no_webhook_is_set_where_none_could_be_delivered() {
    let node = Node::with(|_| ()).await;
    let c = group(&node, "alice", &["bob"]).await;
    let hook = |method: &str, key: &str| {
        let path = format!("/v1/conversations/{c}/hooks/archive");
        Call::new(method, &path).by("alice").key(key).to(&node)
    };
    let refusal = hook("PUT", "k1").await.is_problem(404, "not_found");
    assert_eq!(refusal["detail"], "no webhook is configured on this node");
    // One that was set while there was a hook can be taken away all the same.
    hook("DELETE", "k2").await.is(200);
    let description = Call::new("GET", "/v1/openapi.json").to(&node).await.is(200);
    let put = &description["paths"]["/v1/conversations/{c}/hooks/{name}"]["put"];
    assert!(put["responses"]["404"].is_object(), "{put}");
    node.stop().await;
}

#[tokio::test]
async fn a_mention_by_a_blocked_user_alerts_no_one() {
    let mut receiver = WebhookReceiver::answering(204).await;
    let node = Node::with(webhook_settings(&receiver.url)).await;
    let c = group(&node, "alice", &["bob", "mallory"]).await;
    Call::new("PUT", "/v1/users/mallory/block")
        .by("bob")
        .to(&node)
        .await
        .is(204);
    // The user's own shard hears of it a moment later.
    loop {
        let blocked = Call::new("GET", "/v1/blocks").by("bob").to(&node).await.is(200);
        if blocked["items"] == json!(["mallory"]) {
            break;
        }
        // Paced, because a loaded machine takes long enough to use up the rate of queries.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut mentioned = async |by: &str, n| {
        send(&node, &c, by, n, &["bob"]).await;
        let (_, post) = receiver.next().await;
        let offline = post["offline"].as_array().unwrap().clone();
        let bob = offline.into_iter().find(|member| member["u"] == "bob").unwrap();
        bob["mentioned"].as_bool().unwrap()
    };
    assert!(!mentioned("mallory", 1).await);
    assert!(mentioned("alice", 2).await);
    node.stop().await;
}
