//! Profiles of users: changed by their users, read by everybody who knows the id, over every transport and at every node.

use node::testkit::{Call, Client, Node, TestCluster, eventually, group};
use serde_json::{Value, json};

async fn patch(node: &Node, user: &str, body: Value) -> Value {
    let call = Call::new("PATCH", "/v1/me").by(user).json(&body);
    call.to(node).await.is(200)
}

async fn profile(node: &Node, by: &str, of: &str) -> Value {
    let call = Call::new("GET", &format!("/v1/users/{of}")).by(by);
    call.to(node).await.is(200)
}

#[tokio::test]
async fn a_profile_is_patched_and_read_over_every_transport() {
    let node = Node::start().await;
    let mut bob = node.client("bob").await;
    let nothing = json!({ "u": "alice", "ver": 0 });
    assert_eq!(profile(&node, "bob", "alice").await, nothing);
    // Custom data is kept as it was written, numbers beyond a double included.
    let text = r#"{"name":"Alice","avatar":"/a.png","data":{"n" : 9007199254740993}}"#;
    let call = Call::new("PATCH", "/v1/me")
        .by("alice")
        .with("Content-Type", "application/json");
    let patched = call.text(text).to(&node).await;
    patched.is(200);
    assert!(
        patched
            .text
            .contains(r#""data":{"n" : 9007199254740993},"ver":1"#),
        "{}",
        patched.text
    );
    let read = profile(&node, "bob", "alice").await;
    assert_eq!(
        (&read["name"], &read["avatar"], &read["ver"]),
        (&json!("Alice"), &json!("/a.png"), &json!(1))
    );
    let asked = bob
        .ask(1, r#"{"t":"users","id":1,"ids":["nobody","alice","alice"]}"#)
        .await;
    assert_eq!(asked["items"], json!([{ "u": "nobody", "ver": 0 }, read]));
    let listed = Call::new("GET", "/v1/users?ids=nobody,alice")
        .by("bob")
        .to(&node)
        .await;
    assert_eq!(listed.is(200)["items"], asked["items"]);

    // A merge patch: null removes, what is absent stays, and a repeated one changes nothing.
    let mut alice = node.client("alice").await;
    let change = r#"{"t":"me","id":1,"avatar":null,"group_invite":"nobody"}"#;
    for _ in 0..2 {
        let me = alice.ask(1, change).await;
        assert_eq!(
            (&me["name"], &me["avatar"]),
            (&json!("Alice"), &Value::Null),
            "{me}"
        );
        assert_eq!(
            (&me["ver"], &me["group_invite"]),
            (&json!(2), &json!("nobody")),
            "{me}"
        );
    }
    let gone = patch(&node, "alice", json!({ "name": null, "data": null })).await;
    assert_eq!(gone, json!({ "u": "alice", "group_invite": "nobody", "ver": 3 }));
    node.stop().await;
}

#[tokio::test]
async fn a_malformed_profile_is_refused_and_changes_nothing() {
    let node = Node::start().await;
    for (body, status, code) in [
        (json!({ "name": "" }), 400, "bad_request"),
        (json!({ "name": "\u{202e}gpj" }), 400, "bad_request"),
        (json!({ "name": "\u{200b}" }), 400, "bad_request"),
        (json!({ "name": "a\nb" }), 400, "bad_request"),
        (json!({ "name": "x".repeat(257) }), 400, "bad_request"),
        (json!({ "avatar": "javascript:alert(1)" }), 400, "bad_request"),
        (json!({ "avatar": "//evil.example/a.png" }), 400, "bad_request"),
        (json!({ "data": [] }), 400, "bad_request"),
        (json!({ "data": { "x": "x".repeat(4_096) } }), 413, "too_large"),
        (json!({ "name": "Good", "avatar": "ftp://a" }), 400, "bad_request"),
    ] {
        let call = Call::new("PATCH", "/v1/me").by("alice").json(&body);
        call.to(&node).await.is_problem(status, code);
    }
    assert_eq!(profile(&node, "bob", "alice").await["ver"], 0);
    node.stop().await;
}

#[tokio::test]
async fn profiles_need_a_token_and_ids() {
    let node = Node::start().await;
    for path in ["/v1/users/alice", "/v1/users?ids=alice", "/v1/me"] {
        Call::new("GET", path)
            .to(&node)
            .await
            .is_problem(401, "unauthenticated");
    }
    let many = vec!["u"; 101].join(",");
    for path in [
        "/v1/users",
        "/v1/users?ids=",
        "/v1/users?ids=a,,b",
        "/v1/users?ids=a%20b",
        &format!("/v1/users?ids={many}"),
    ] {
        let call = Call::new("GET", path).by("bob");
        call.to(&node).await.is_problem(400, "bad_request");
    }
    let mut anonymous = Client::connect(node.addr()).await;
    anonymous.expect("hello").await;
    let refused = anonymous.ask(1, r#"{"t":"users","id":1,"ids":["alice"]}"#).await;
    assert_eq!(refused["code"], "unauthenticated");
    node.stop().await;
}

#[tokio::test]
async fn a_change_reaches_watchers_at_every_node() {
    let cluster = TestCluster::start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let mut bob = second.client("bob").await;
    let mut carol = third.client("carol").await;
    for watcher in [&mut bob, &mut carol] {
        watcher.send(r#"{"t":"watch","id":1,"users":["alice"]}"#).await;
        // With the first presence the block of the viewer is known.
        watcher.expect("presence").await;
    }
    patch(first, "alice", json!({ "name": "Alice" })).await;
    for watcher in [&mut bob, &mut carol] {
        let event = watcher.expect("profile").await;
        assert_eq!((&event["u"], &event["ver"]), (&json!("alice"), &json!(1)));
    }
    // Every node answers with the change from then on.
    for node in &cluster.nodes {
        assert_eq!(profile(node, "dave", "alice").await["name"], "Alice");
    }
    // A repeated change is not announced, and a blocked viewer gets none.
    patch(first, "alice", json!({ "name": "Alice" })).await;
    let mut alice = first.client("alice").await;
    assert_eq!(bob.expect("presence").await["state"], "online");
    alice.ask(1, r#"{"t":"block","id":1,"who":"bob"}"#).await;
    let hidden = async { while bob.expect("presence").await["state"] != "offline" {} };
    tokio::time::timeout(node::testkit::PATIENCE, hidden)
        .await
        .expect("hidden");
    patch(first, "alice", json!({ "name": "Alicia" })).await;
    let event = carol.expect("profile").await;
    assert_eq!(event["ver"], 2);
    bob.send(r#"{"t":"users","id":9,"ids":["alice"]}"#).await;
    loop {
        let frame = bob.json().await;
        assert_ne!(frame["t"], "profile", "{frame}");
        if frame["t"] == "users" {
            assert_eq!(frame["items"][0]["name"], "Alicia");
            break;
        }
    }
    drop((alice, bob, carol));
    cluster.stop().await;
}

/// The side table of an answer, over both transports.
async fn tables(node: &Node, client: &mut Client, by: &str, command: Value, path: &str) -> [Value; 2] {
    let mut command = command;
    command["id"] = json!(50);
    let answer = client.ask(50, &command.to_string()).await;
    let page = Call::new("GET", path).by(by).to(node).await.is(200);
    [answer["users"].clone(), page["users"].clone()]
}

#[tokio::test]
async fn answers_carry_the_profiles_of_the_users_that_they_name() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob", "carol"]).await;
    patch(&node, "alice", json!({ "name": "Alice", "data": { "x": 1 } })).await;
    patch(&node, "bob", json!({ "name": "Bob", "avatar": "/b.png" })).await;
    let send = Call::new("POST", "/v1/users/bob/messages").by("carol").key("hi");
    let direct = send.json(&json!({ "b": {} })).to(&node).await.is(201)["c"].clone();
    let say = Call::new("POST", &format!("/v1/conversations/{c}/messages"))
        .by("alice")
        .key("hi");
    say.json(&json!({ "b": { "text": "hi" } }))
        .to(&node)
        .await
        .is(201);
    let mut carol = node.client("carol").await;
    let direct_path = format!("/v1/conversations/{}?have=0", direct.as_str().unwrap());
    let (alice_card, bob_card) = (
        json!({ "name": "Alice", "ver": 1 }),
        json!({ "name": "Bob", "avatar": "/b.png", "ver": 1 }),
    );
    // Carol has no profile, and is in no table. A table waits only a moment, so a busy node may leave a name out.
    let both = json!({ "alice": alice_card, "bob": bob_card });
    let cases = [
        (json!({ "t": "list" }), "/v1/conversations".to_owned(), &both),
        (
            json!({ "t": "open", "c": c, "have": 0 }),
            format!("/v1/conversations/{c}?have=0"),
            &both,
        ),
        (
            json!({ "t": "open", "c": direct }),
            direct_path,
            &json!({ "bob": bob_card }),
        ),
        (
            json!({ "t": "members", "c": c }),
            format!("/v1/conversations/{c}/members"),
            &both,
        ),
    ];
    for (command, path, expected) in cases {
        eventually(&format!("the profiles of {command}"), async || {
            let found = tables(&node, &mut carol, "carol", command.clone(), &path).await;
            found.iter().all(|table| table == expected)
        })
        .await;
    }
    // Without users there is no table, and events never have names.
    let mut dave = node.client("dave").await;
    let empty = dave.ask(1, r#"{"t":"list","id":1}"#).await;
    assert_eq!(empty, json!({ "t": "inbox", "id": 1, "items": [], "next": null }));
    // Another key than that of the first group.
    let create = Call::new("POST", "/v1/conversations").by("alice").key("second");
    let body = json!({ "kind": "group", "members": ["dave"] });
    let made = create.json(&body).to(&node).await.is(201)["c"].clone();
    let event = loop {
        let event = dave.expect("conv").await;
        if event["c"] == made {
            break event;
        }
    };
    assert!(
        event.get("users").is_none() && event["events"].is_array(),
        "{event}"
    );
    node.stop().await;
}
