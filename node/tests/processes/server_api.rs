//! A back end repeats its requests at another node after the owner of the conversation was killed: nothing changes.

use std::net::SocketAddr;

use serde_json::{Value, json};

use node::testkit::{ProcessCluster, eventually, exchange, get, temporary};

/// Sends a request with a key until it is answered for good.
async fn request(addr: SocketAddr, key: &str, (method, path): (&str, &str), body: &Value) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {key}\r\n");
    eventually("a back end is answered", async || {
        let answer = exchange(addr, method, path, &headers, body).await?;
        let items = answer.1["items"].as_array();
        let partial = items.is_some_and(|items| items.iter().any(|item| item["temp"] == true));
        (!temporary(&answer.1) && !partial).then_some(answer)
    })
    .await
}

#[tokio::test]
async fn repeat_after_the_death_of_the_owner_changes_nothing() {
    let mut cluster = ProcessCluster::start().await;
    let wanted = json!({ "name": "back end", "scopes": ["conversations", "messages", "read"] });
    let make = ("POST", "/v1/admin/keys");
    let (status, made) = request(cluster.addr(0), "none", make, &wanted).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap().to_owned();

    let create = ("POST", "/v1/server/conversations");
    let group = json!({ "kind": "group", "owner": "alice", "members": ["bob"], "cid": "g" });
    let (status, created) = request(cluster.addr(0), &key, create, &group).await;
    assert_eq!(status, 201, "{created}");
    let c = created["c"].as_str().unwrap().to_owned();
    let send = ("POST", "/v1/server/messages");
    let messages = ["bob", "system"].map(|author| json!({ "c": c, "as": author, "b": {}, "cid": "m" }));
    let members = format!("/v1/server/conversations/{c}/members");
    let put = json!({ "members": [{ "u": "carol" }, { "u": "bob", "role": "admin" }] });
    let (owner, [second, third]) = cluster.owner(&c).await;
    let mut sent = Vec::new();
    for message in &messages {
        let (status, ack) = request(cluster.addr(second), &key, send, message).await;
        assert_eq!(status, 201, "{ack}");
        sent.push(ack);
    }
    let (status, verdicts) = request(cluster.addr(second), &key, ("PUT", &members), &put).await;
    assert_eq!(status, 200, "{verdicts}");
    let path = format!("/v1/conversations/{c}/events");
    let before = get(cluster.addr(second), "alice", &path).await;

    cluster.kill(owner);
    let (status, repeated) = request(cluster.addr(third), &key, create, &group).await;
    assert_eq!((status, &repeated["c"]), (200, &json!(c)), "{repeated}");
    for (message, first) in messages.iter().zip(&sent) {
        let (status, ack) = request(cluster.addr(third), &key, send, message).await;
        assert_eq!((status, &ack["dup"]), (200, &json!(true)), "{ack}");
        assert_eq!((&ack["s"], &ack["mn"]), (&first["s"], &first["mn"]));
    }
    let (status, verdicts) = request(cluster.addr(third), &key, ("PUT", &members), &put).await;
    assert_eq!(status, 200, "{verdicts}");
    let items = verdicts["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["ok"] == true), "{verdicts}");
    assert_eq!(get(cluster.addr(third), "alice", &path).await, before);
    cluster.end();
}
