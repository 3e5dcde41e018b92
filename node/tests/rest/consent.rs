//! Who may make somebody a member: blocks, the setting `group_invite`, and the bounds of a day, over every transport.

use serde_json::{Value, json};

use node::testkit::{Call, Client, Node, Reply, group};

/// A node that lets the few users of these tests do as much as they like at once.
async fn node() -> Node {
    Node::with(|config| {
        (config.limits.sends_per_second, config.tuning.sends_burst) = (10_000, Some(10_000));
        (config.limits.queries_per_second, config.tuning.queries_burst) = (10_000, Some(10_000));
    })
    .await
}

async fn create(node: &Node, by: &str, cid: &str, members: &[&str]) -> Reply {
    let body = json!({ "kind": "group", "members": members });
    let call = Call::new("POST", "/v1/conversations").by(by).key(cid);
    call.json(&body).to(node).await
}

async fn invite(node: &Node, by: &str, cid: &str, c: &str, who: &str) -> Reply {
    let path = format!("/v1/conversations/{c}/members/{who}");
    Call::new("PUT", &path).by(by).key(cid).to(node).await
}

async fn ws_create(client: &mut Client, cid: &str, members: &[&str]) -> Value {
    let create = json!({ "t": "create", "id": 11, "kind": "group", "cid": cid, "members": members });
    client.ask(11, &create.to_string()).await
}

async fn ws_invite(client: &mut Client, cid: &str, c: &str, who: &str) -> Value {
    let invite = json!({ "t": "invite", "id": 12, "cid": cid, "c": c, "who": who });
    client.ask(12, &invite.to_string()).await
}

/// The user's conversations.
async fn listed(node: &Node, user: &str) -> usize {
    let inbox = Call::new("GET", "/v1/conversations")
        .by(user)
        .to(node)
        .await
        .is(200);
    inbox["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_blocked_user_adds_the_blocker_to_nothing() {
    let node = node().await;
    let c = group(&node, "mallory", &["carol"]).await;
    let before = invite(&node, "mallory", "before", &c, "bob").await.is(201);
    let leave = format!("/v1/conversations/{c}/members/bob");
    Call::new("DELETE", &leave)
        .by("bob")
        .key("l")
        .to(&node)
        .await
        .is(200);
    Call::new("PUT", "/v1/users/mallory/block")
        .by("bob")
        .to(&node)
        .await
        .is(204);
    // The user's own shard hears of it a moment later than the conversation of the two.
    let mut refused = create(&node, "mallory", "c0", &["bob"]).await;
    for i in 1.. {
        if refused.status != 201 {
            break;
        }
        assert!(i < 1_000, "a block is never heard of");
        refused = create(&node, "mallory", &format!("c{i}"), &["bob"]).await;
    }
    let problem = refused.is_problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("bob"), "{problem}");
    let listed_before = listed(&node, "bob").await;

    let mut mallory = node.client("mallory").await;
    create(&node, "mallory", "rest", &["carol", "bob"])
        .await
        .is_problem(403, "forbidden");
    invite(&node, "mallory", "rest2", &c, "bob")
        .await
        .is_problem(403, "forbidden");
    assert_eq!(
        ws_create(&mut mallory, "ws", &["carol", "bob"]).await["code"],
        "forbidden"
    );
    assert_eq!(
        ws_invite(&mut mallory, "ws2", &c, "bob").await["code"],
        "forbidden"
    );
    // What was acknowledged before keeps its first result.
    let again = invite(&node, "mallory", "before", &c, "bob").await.is(200);
    assert_eq!((&again["s"], &again["dup"]), (&before["s"], &json!(true)));
    // One who may not invite learns nothing of bob.
    assert_eq!(
        invite(&node, "dave", "d", &c, "bob").await.is(403)["code"],
        "not_member"
    );
    // Nothing was made, for nobody.
    assert_eq!(listed(&node, "bob").await, listed_before);
    create(&node, "carol", "fine", &["bob"]).await.is(201);
    Call::new("DELETE", "/v1/users/mallory/block")
        .by("bob")
        .to(&node)
        .await
        .is(204);
    for i in 0.. {
        if create(&node, "mallory", &format!("again{i}"), &["bob"])
            .await
            .status
            == 201
        {
            break;
        }
        assert!(i < 1_000, "a block is for ever");
    }
    node.stop().await;
}

#[tokio::test]
async fn user_adds_another_to_at_most_fifty_groups_a_day() {
    let node = node().await;
    let mut mallory = node.client("mallory").await;
    for i in 0..50 {
        create(&node, "mallory", &format!("g{i}"), &["bob"]).await.is(201);
    }
    // The same again is the same.
    create(&node, "mallory", "g0", &["bob"]).await.is(200);
    create(&node, "mallory", "more", &["bob"])
        .await
        .is_problem(403, "forbidden");
    let refused = ws_create(&mut mallory, "more2", &["carol", "bob"]).await;
    assert_eq!(
        (&refused["code"], &refused["temp"]),
        (&json!("forbidden"), &json!(false))
    );
    let c = create(&node, "mallory", "other", &["carol"]).await.is(201);
    let c = c["c"].as_str().unwrap();
    invite(&node, "mallory", "more3", c, "bob")
        .await
        .is_problem(403, "forbidden");
    assert_eq!(
        ws_invite(&mut mallory, "more4", c, "bob").await["code"],
        "forbidden"
    );
    assert_eq!(listed(&node, "bob").await, 50);
    // Others may, and so may the user.
    create(&node, "carol", "c", &["bob"]).await.is(201);
    create(&node, "bob", "own", &["mallory"]).await.is(201);
    node.stop().await;
}

#[tokio::test]
async fn a_user_says_who_may_add_it_over_every_transport() {
    let node = node().await;
    let (mut bob, mut mallory) = (node.client("bob").await, node.client("mallory").await);
    let me = |method: &str| Call::new(method, "/v1/me").by("bob");
    let expected = |wish: &str| json!({ "u": "bob", "group_invite": wish });
    assert_eq!(me("GET").to(&node).await.is(200), expected("anyone"));
    let set = me("PATCH")
        .json(&json!({ "group_invite": "nobody" }))
        .to(&node)
        .await;
    assert_eq!(set.is(200), expected("nobody"));
    let asked = bob.ask(1, r#"{"t":"me","id":1}"#).await;
    assert_eq!(
        (&asked["t"], &asked["group_invite"]),
        (&json!("me"), &json!("nobody"))
    );
    create(&node, "mallory", "a", &["bob"])
        .await
        .is_problem(403, "forbidden");
    assert_eq!(ws_create(&mut mallory, "b", &["bob"]).await["code"], "forbidden");
    let c = group(&node, "mallory", &["carol"]).await;
    invite(&node, "mallory", "c", &c, "bob")
        .await
        .is_problem(403, "forbidden");

    let set = r#"{"t":"me","id":2,"group_invite":"shares_conversation"}"#;
    assert_eq!(bob.ask(2, set).await["group_invite"], "shares_conversation");
    assert_eq!(me("GET").to(&node).await.is(200), expected("shares_conversation"));
    // A direct message makes nobody an acquaintance.
    let hi = Call::new("POST", "/v1/users/bob/messages")
        .by("mallory")
        .key("hi");
    hi.json(&json!({ "b": {} })).to(&node).await.is(201);
    assert_eq!(ws_invite(&mut mallory, "d", &c, "bob").await["code"], "forbidden");
    // A group that bob made does. Both users' shards hear of it a moment later.
    create(&node, "bob", "own", &["mallory"]).await.is(201);
    for i in 0.. {
        if ws_invite(&mut mallory, &format!("e{i}"), &c, "bob").await["t"] == "ack" {
            break;
        }
        assert!(i < 1_000, "nobody shares anything");
    }
    let bad = me("PATCH")
        .json(&json!({ "group_invite": "friends" }))
        .to(&node)
        .await;
    bad.is_problem(400, "bad_request");
    // Direct conversations and channels that one joins by oneself are no matter of it.
    let set = me("PATCH")
        .json(&json!({ "group_invite": "nobody" }))
        .to(&node)
        .await;
    set.is(200);
    let make = json!({ "kind": "direct", "members": ["bob"] });
    let made = Call::new("POST", "/v1/conversations")
        .by("dave")
        .key("m")
        .json(&make);
    made.to(&node).await.is(201);
    let channel = json!({ "kind": "channel", "members": [] });
    let made = Call::new("POST", "/v1/conversations")
        .by("dave")
        .key("n")
        .json(&channel);
    let made = made.to(&node).await.is(201);
    let path = format!("/v1/conversations/{}/members/bob", made["c"].as_str().unwrap());
    Call::new("PUT", &path).by("bob").key("j").to(&node).await.is(201);
    node.stop().await;
}

#[tokio::test]
async fn a_mention_by_a_blocked_user_does_not_count() {
    let node = node().await;
    let c = group(&node, "alice", &["bob", "mallory"]).await;
    for (by, cid) in [("alice", "1"), ("mallory", "2"), ("mallory", "3")] {
        let call = Call::new("POST", &format!("/v1/conversations/{c}/messages"))
            .by(by)
            .key(cid);
        call.json(&json!({ "b": {}, "mentions": ["bob"] }))
            .to(&node)
            .await
            .is(201);
    }
    let mut bob = node.client("bob").await;
    let mut counted = async || {
        let inbox = Call::new("GET", "/v1/conversations")
            .by("bob")
            .to(&node)
            .await
            .is(200);
        let asked = bob.ask(9, r#"{"t":"list","id":9}"#).await;
        assert_eq!(asked["items"][0]["mentions"], inbox["items"][0]["mentions"]);
        (
            inbox["items"][0]["unread"].as_u64().unwrap(),
            inbox["items"][0]["mentions"].as_u64().unwrap(),
        )
    };
    assert_eq!(counted().await, (3, 3));
    for (method, expected) in [("PUT", (3, 1)), ("DELETE", (3, 3))] {
        Call::new(method, "/v1/users/mallory/block")
            .by("bob")
            .to(&node)
            .await
            .is(204);
        let items = if method == "PUT" {
            json!(["mallory"])
        } else {
            json!([])
        };
        // The user's own shard hears of it a moment later.
        while Call::new("GET", "/v1/blocks").by("bob").to(&node).await.is(200)["items"] != items {}
        assert_eq!(counted().await, expected, "{method}");
    }
    node.stop().await;
}
