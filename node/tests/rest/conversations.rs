//! Conversations: made, listed, shown, caught up with.

use serde_json::json;

use node::testkit::{Call, Node, group};

#[tokio::test]
async fn a_conversation_is_created_once_and_listed() {
    let node = Node::start().await;
    let body = json!({ "kind": "group", "members": ["bob"], "title": "Lunch" });
    let make = || {
        Call::new("POST", "/v1/conversations")
            .by("alice")
            .key("one")
            .json(&body)
    };
    let first = make().to(&node).await;
    let made = first.is(201);
    assert_eq!(
        (&made["title"], &made["role"]),
        (&json!("Lunch"), &json!("owner"))
    );
    let path = format!("/v1/conversations/{}", made["c"].as_str().unwrap());
    assert_eq!(first.header("Location"), path);
    assert_eq!(make().to(&node).await.is(200)["c"], made["c"]);

    let snapshot = Call::new("GET", &path).by("bob").to(&node).await;
    assert_eq!(snapshot.is(200)["role"], "member");
    let missed = Call::new("GET", &format!("{path}?have=1"))
        .by("bob")
        .to(&node)
        .await
        .is(200);
    assert_eq!(missed["events"].as_array().unwrap().len(), 1);

    let list = Call::new("GET", "/v1/conversations?limit=1")
        .by("bob")
        .to(&node)
        .await
        .is(200);
    assert_eq!(list["items"][0]["c"], made["c"]);
    assert!(list["items"].as_array().unwrap().len() == 1 && list["next"].is_null());
    Call::new("GET", &path)
        .by("mallory")
        .to(&node)
        .await
        .is_problem(403, "not_member");
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    for path in [
        format!("/v1/conversations/{c}"),
        format!("/v1/conversations/{c}/events"),
    ] {
        let get = || Call::new("GET", &path).by("alice");
        let first = get().to(&node).await;
        first.is(200);
        let tag = first.header("ETag").to_owned();
        let again = get().with("If-None-Match", &tag).to(&node).await;
        assert_eq!(
            (again.status, again.text.as_str(), again.header("ETag")),
            (304, "", tag.as_str())
        );
        let weak = get()
            .with("If-None-Match", &format!("\"x\", W/{tag}"))
            .to(&node)
            .await;
        assert_eq!(weak.status, 304);

        let send = Call::new("POST", &format!("/v1/conversations/{c}/messages"))
            .by("bob")
            .key(&path[path.len() - 6..]);
        send.json(&json!({ "b": {} })).to(&node).await.is(201);
        let changed = get().with("If-None-Match", &tag).to(&node).await;
        assert!(
            changed.status == 200 && changed.header("ETag") != tag,
            "{changed:?}"
        );
    }
}

#[tokio::test]
async fn sync_brings_what_was_missed() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let sync = |have| {
        Call::new("POST", "/v1/sync")
            .by("bob")
            .json(&json!({ "have": have }))
    };
    let delta = sync(json!([[&c, 1]])).to(&node).await.is(200);
    assert_eq!(delta["as_of"], json!([[&c, 2]]));
    assert_eq!(delta["items"][0]["events"][0]["who"], "bob");
    let nothing = sync(json!([[&c, 2]])).to(&node).await.is(200);
    assert_eq!(nothing["items"], json!([]));
    // What isn't named comes from the user's own list, which may lag the joining.
    let mut everything = json!(null);
    while everything["items"].as_array().is_none_or(Vec::is_empty) {
        let sync = Call::new("POST", "/v1/sync").by("bob").json(&json!({}));
        everything = sync.to(&node).await.is(200);
    }
    assert_eq!(everything["items"][0]["c"], json!(c));
    let many: Vec<_> = (0..201).map(|i| json!([format!("g_{i}"), 0])).collect();
    sync(json!(many)).to(&node).await.is_problem(400, "bad_request");
}

#[tokio::test]
async fn settings_are_for_everybody_and_mute_and_pin_are_ones_own() {
    let node = Node::start().await;
    let c = group(&node, "alice", &["bob"]).await;
    let path = format!("/v1/conversations/{c}");
    let patch = |by: &str, key: &str, body: serde_json::Value| {
        Call::new("PATCH", &path).by(by).key(key).json(&body).to(&node)
    };
    let set = patch("alice", "1", json!({ "title": "Dinner", "history": "all" })).await;
    assert_eq!(set.is(200)["s"], 3);
    let own = patch("bob", "1", json!({ "muted": true, "pinned": true })).await;
    assert_eq!(own.is(200)["s"], json!(null), "nobody else is told");
    patch("bob", "2", json!({ "title": "Mine" }))
        .await
        .is_problem(403, "forbidden");
    patch("bob", "2", json!({})).await.is_problem(400, "bad_request");
    patch("zoe", "1", json!({ "muted": true }))
        .await
        .is_problem(403, "not_member");
    let snapshot = Call::new("GET", &path).by("bob").to(&node).await.is(200);
    assert_eq!(
        (
            &snapshot["title"],
            &snapshot["history"],
            &snapshot["muted"],
            &snapshot["pinned"]
        ),
        (&json!("Dinner"), &json!("all"), &json!(true), &json!(true))
    );
    let snapshot = Call::new("GET", &path).by("alice").to(&node).await.is(200);
    assert_eq!(snapshot["muted"], false);
}
