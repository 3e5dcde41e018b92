//! Custom data of conversations and members, over every transport, and the list by its kind.

use node::testkit::{Call, Node};
use serde_json::{Value, json};

const SUPPORT: &str = r#"{"kind" : "support","n":9007199254740993}"#;

fn call(method: &str, path: &str, by: &str, key: &str) -> Call {
    Call::new(method, path).by(by).key(key)
}

fn raw(call: Call, body: &str) -> Call {
    call.with("Content-Type", "application/json").text(body)
}

#[tokio::test]
async fn custom_data_is_verbatim_and_where_it_belongs() {
    let node = Node::start().await;
    let body = format!(r#"{{"kind":"group","members":["bob"],"data":{SUPPORT}}}"#);
    let made = raw(call("POST", "/v1/conversations", "alice", "make"), &body)
        .to(&node)
        .await;
    let c = made.is(201)["c"].as_str().unwrap().to_owned();
    assert!(
        made.text.contains(&format!(r#""data":{SUPPORT}"#)),
        "{}",
        made.text
    );
    let mut bob = node.client("bob").await;
    let open = bob.ask(1, &format!(r#"{{"t":"open","id":1,"c":"{c}"}}"#)).await;
    assert_eq!(open["data"]["kind"], "support");

    // A change is an event for all members; null removes.
    let path = format!("/v1/conversations/{c}");
    let changed = call("PATCH", &path, "alice", "sales").json(&json!({ "data": { "kind": "sales" } }));
    changed.to(&node).await.is(200);
    let meta = bob.expect("meta").await;
    assert_eq!(
        (&meta["data"], meta.get("title")),
        (&json!({ "kind": "sales" }), None)
    );
    let member = format!("{path}/members/bob");
    let change = call("PUT", &member, "alice", "desk").json(&json!({ "data": { "desk": 7 } }));
    change.to(&node).await.is(200);
    let event = bob.expect("member").await;
    assert_eq!(
        (&event["why"], &event["role"], &event["data"]),
        (&json!("role"), &json!("member"), &json!({ "desk": 7 }))
    );
    let members = bob
        .ask(2, &format!(r#"{{"t":"members","id":2,"c":"{c}"}}"#))
        .await;
    let data: Vec<Option<&Value>> = members["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.get("data"))
        .collect();
    assert_eq!(data, [None, Some(&json!({ "desk": 7 }))]);
    let remove = format!(r#"{{"t":"set","id":3,"c":"{c}","cid":"off","data":null}}"#);
    let mut alice = node.client("alice").await;
    assert_eq!(alice.ask(3, &remove).await["t"], "ack");
    assert_eq!(bob.expect("meta").await["data"], Value::Null);
    let view = Call::new("GET", &path).by("bob").to(&node).await.is(200);
    assert_eq!(view.get("data"), None);

    for (method, path, by, body, status, code) in [
        ("PATCH", &path, "bob", json!({ "data": {} }), 403, "forbidden"),
        ("PUT", &member, "bob", json!({ "data": {} }), 403, "forbidden"),
        (
            "PATCH",
            &path,
            "alice",
            json!({ "data": "x" }),
            400,
            "bad_request",
        ),
        (
            "PATCH",
            &path,
            "alice",
            json!({ "data": { "x": "x".repeat(4_096) } }),
            413,
            "too_large",
        ),
        (
            "PUT",
            &member,
            "alice",
            json!({ "data": { "x": "x".repeat(4_096) } }),
            413,
            "too_large",
        ),
    ] {
        call(method, path, by, "bad")
            .json(&body)
            .to(&node)
            .await
            .is_problem(status, code);
    }
    let direct = json!({ "kind": "direct", "members": ["bob"], "data": {} });
    let refused = call("POST", "/v1/conversations", "alice", "direct").json(&direct);
    refused.to(&node).await.is_problem(400, "bad_request");
    node.stop().await;
}

#[tokio::test]
async fn the_list_is_filtered_by_the_kind_of_the_custom_data() {
    let node = Node::start().await;
    let mut made = Vec::new();
    for (key, data) in [
        ("a", json!({ "kind": "support" })),
        ("b", json!({ "kind": "sales" })),
        ("c", json!({ "kind": 7 })),
        ("d", Value::Null),
    ] {
        let body = json!({ "kind": "group", "members": ["bob"], "data": data });
        let reply = call("POST", "/v1/conversations", "alice", key)
            .json(&body)
            .to(&node)
            .await;
        made.push(reply.is(201)["c"].clone());
    }
    let mut bob = node.client("bob").await;
    // The shard of a new member learns of the conversations a moment later.
    let all = async || {
        bob.ask(1, r#"{"t":"list","id":1}"#).await["items"]
            .as_array()
            .unwrap()
            .len()
            == 4
    };
    node::testkit::eventually("bob is a member of all", all).await;
    let kinds = async |text: &str| {
        let page = Call::new("GET", &format!("/v1/conversations?data_kind={text}"))
            .by("bob")
            .to(&node)
            .await;
        let items = page.is(200)["items"].as_array().unwrap().clone();
        items
            .into_iter()
            .map(|item| item["c"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds("support").await, [made[0].clone()]);
    assert_eq!(kinds("sales").await, [made[1].clone()]);
    assert_eq!(kinds("7").await, [Value::Null; 0]);
    let asked = bob.ask(2, r#"{"t":"list","id":2,"data_kind":"support"}"#).await;
    assert_eq!(asked["items"].as_array().unwrap().len(), 1);
    node.stop().await;
}
