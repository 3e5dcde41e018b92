//! Sessions of a user on all nodes: listed, and ended one by one with their logins.

use node::testkit::{Call, Client, Node, TestCluster, eventually};
use serde_json::{Value, json};

use crate::devices::{call, connect, created, field, log_in, reaches};

async fn listed(node: &Node, token: &str) -> Vec<Value> {
    let list = call("GET", "/v1/me/sessions", token).to(node).await.is(200);
    assert_eq!(list.get("partial"), None, "every node responds");
    list["items"].as_array().unwrap().clone()
}

async fn end(node: &Node, token: &str, id: &Value) -> node::testkit::Reply {
    let path = format!("/v1/me/sessions/{}", id.as_str().unwrap());
    call("DELETE", &path, token).to(node).await
}

async fn is_alive(client: &mut Client) {
    client.send(r#"{"t":"hb"}"#).await;
    client.expect("hb").await;
}

#[tokio::test]
async fn sessions_on_all_nodes_are_listed_and_ended_one_by_one() {
    let cluster = TestCluster::start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let (mut phone, ready) = connect(first, "dev:alice", Some("phone")).await;
    let (mut nameless, _) = connect(second, "dev:alice", None).await;
    let (tablet, _) = connect(third, "dev:alice", Some("tablet")).await;
    let (mut other, _) = connect(second, "dev:bob", Some("phone")).await;
    drop(tablet);
    // The tablet is detached a moment after its connection is cut.
    eventually("three sessions, one of them detached", async || {
        let items = listed(second, "dev:alice").await;
        let detached: Vec<_> = items.iter().filter(|item| item["detached"] == true).collect();
        items.len() == 3 && detached.len() == 1 && detached[0]["device"] == "tablet"
    })
    .await;
    let items = listed(third, "dev:alice").await;
    let of = |device: Option<&str>| {
        let found = items
            .iter()
            .find(|item| item.get("device").and_then(Value::as_str) == device);
        found.unwrap().clone()
    };
    let nodes: Vec<u64> = [Some("phone"), None, Some("tablet")]
        .map(|device| of(device)["node"].as_u64().unwrap())
        .to_vec();
    let expected: Vec<u64> = cluster
        .nodes
        .iter()
        .map(|node| node.running.cluster().node_id().0)
        .collect();
    assert_eq!(nodes, expected);
    let since: Vec<u64> = items.iter().map(|item| item["since"].as_u64().unwrap()).collect();
    assert!(
        since.is_sorted_by(|a, b| a >= b) && since[2] > 1_600_000_000_000,
        "{since:?}"
    );
    // The id in the list is none by which a session is resumed.
    let sid = ready["sid"].as_str().unwrap();
    assert!(items.iter().all(|item| item["id"] != sid));

    let id = of(Some("phone"))["id"].clone();
    assert_eq!(end(second, "dev:bob", &id).await.status, 404, "not bob's");
    end(third, "dev:alice", &id).await.is(204);
    assert_eq!(phone.closed().await.0, 4403);
    let resume = json!({ "t": "auth", "id": 1, "token": "dev:alice", "device": "phone", "resume": { "sid": sid, "n": 0 } });
    let mut again = Client::connect(first.addr()).await;
    again.expect("hello").await;
    let ready = again.ask(1, &resume.to_string()).await;
    assert_eq!((&ready["t"], &ready["resumed"]), (&json!("ready"), &json!(false)));
    end(first, "dev:alice", &of(Some("tablet"))["id"]).await.is(204);
    let left = listed(first, "dev:alice").await;
    let devices: Vec<_> = left.iter().map(|item| item.get("device").cloned()).collect();
    assert_eq!(
        devices,
        [Some(json!("phone")), None],
        "the new one and the one without a device"
    );
    is_alive(&mut nameless).await;
    is_alive(&mut other).await;
    end(third, "dev:alice", &id).await.is_problem(404, "not_found");
    // An id of a node that is no member, and text that is no id.
    for unknown in ["25f0a1b2c3d4e5f60", "nonsense"] {
        end(third, "dev:alice", &json!(unknown))
            .await
            .is_problem(404, "not_found");
    }
    Call::new("GET", "/v1/me/sessions")
        .to(first)
        .await
        .is_problem(401, "unauthenticated");
    drop((nameless, other, again));
    cluster.stop().await;
}

#[tokio::test]
async fn the_login_of_an_ended_session_ends_with_it() {
    let cluster = TestCluster::start().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!()
    };
    let (one, two) = (log_in(first).await, log_in(second).await);
    let [lost, other] = [&one, &two].map(|tokens| field(tokens, "access_token"));
    for node in &cluster.nodes {
        reaches(node, &lost, 200).await;
        reaches(node, &other, 200).await;
    }
    let (_, sensor) = created(second, &other, "sensor").await;
    reaches(third, &sensor, 200).await;
    let (mut socket, _) = connect(first, &lost, Some("lost")).await;
    let (mut measuring, _) = connect(third, &sensor, Some("sensor")).await;
    let of = async |device: &str| {
        let items = listed(second, &other).await;
        items.into_iter().find(|item| item["device"] == device).unwrap()["id"].clone()
    };
    // A device token ends no session but its own.
    end(third, &sensor, &of("lost").await)
        .await
        .is_problem(403, "forbidden");
    is_alive(&mut socket).await;

    end(second, &other, &of("lost").await).await.is(204);
    assert_eq!(socket.closed().await.0, 4403);
    for node in &cluster.nodes {
        reaches(node, &lost, 401).await;
        reaches(node, &other, 200).await;
    }
    let refresh = json!({ "refresh_token": one["refresh_token"] });
    let refreshed = Call::new("POST", "/v1/auth/refresh")
        .json(&refresh)
        .to(third)
        .await;
    assert_eq!(refreshed.status, 401);
    end(first, &other, &of("sensor").await).await.is(204);
    assert_eq!(measuring.closed().await.0, 4403);
    for node in &cluster.nodes {
        reaches(node, &sensor, 401).await;
    }
    let refresh = json!({ "refresh_token": two["refresh_token"] });
    Call::new("POST", "/v1/auth/refresh")
        .json(&refresh)
        .to(third)
        .await
        .is(200);
    cluster.stop().await;
}
