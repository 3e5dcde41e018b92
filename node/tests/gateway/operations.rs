//! What operators and probes see.

use serde_json::Value;

use futures::future::join_all;
use node::testkit::{Client, HumanDuration, Node, PATIENCE, masked};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_ready_node_reports_its_shards_and_a_conversations_owner() {
    let node = Node::start().await;
    assert_eq!(node.get("/livez").await.0, 200);
    assert_eq!(node.get("/readyz").await.0, 200);
    let status: Value = serde_json::from_str(&node.get("/v1/cluster").await.1).unwrap();
    assert_eq!(status["node"], 1);
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1);
    assert!(status["shards"].as_array().unwrap().len() >= 4);
    for shard in status["shards"].as_array().unwrap() {
        let local = &shard["local"];
        assert!(local["applied"].as_u64().unwrap() > 0, "{shard}");
        let digest = local["digest"].as_str().unwrap();
        assert!(
            digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
            "{shard}"
        );
    }

    let (code, owner) = node
        .get("/v1/cluster/owner?conversation=g_01ARZ3NDEKTSV4RRFFQ69G5FAV")
        .await;
    let owner: Value = serde_json::from_str(&owner).unwrap();
    assert_eq!(code, 200);
    assert_eq!(
        (&owner["owner"], &owner["replicas"]),
        (&1.into(), &serde_json::json!([1]))
    );
    assert!(owner["epoch"].as_u64().unwrap() > 0 && owner["shard"].as_u64().unwrap() < 4);
    assert_eq!(node.get("/v1/cluster/owner").await.0, 400);
    assert_eq!(node.get("/v1/cluster/owner?conversation=..%2F").await.0, 400);
}

#[tokio::test]
async fn figures_cover_every_part_of_the_node() {
    let node = Node::start().await;
    let mut client = node.client("alice").await;
    client
        .ask(1, r#"{"t":"send","id":1,"to":"bob","cid":"1","b":{}}"#)
        .await;
    let (_, text) = node.get("/metrics").await;
    assert!(text.ends_with("# EOF\n"));
    for name in [
        "rookery_ready 1",
        "rookery_replicas_failed 0",
        "rookery_session_backlog 0",
        "rookery_sessions ",
        "rookery_send_seconds_count 1",
        "rookery_frames_in_total",
        "rookery_bytes_out_total",
    ] {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    let names = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert!(
        names > 20,
        "storage, cluster and conversations too, not only {names}"
    );
}

#[tokio::test]
async fn outside_of_development_an_operator_needs_the_admin_token() {
    let node = Node::with(|config| {
        config.auth.dev_tokens = false;
        config.auth.secret.0 = "0123456789abcdef0123456789abcdef".to_owned();
        config.server.admin_token.0 = "an-admin-token-of-tests".to_owned();
    })
    .await;
    for path in ["/metrics", "/v1/cluster", "/v1/cluster/owner?conversation=g_1"] {
        assert_eq!(node.get(path).await.0, 401, "{path}");
        assert_eq!(
            node.request(path, "Authorization: Bearer wrong\r\n").await.0,
            401,
            "{path}"
        );
        assert_eq!(
            node.request(path, "Authorization: Bearer an-admin-token-of-tests\r\n")
                .await
                .0,
            200,
            "{path}"
        );
    }
    assert_eq!(node.get("/readyz").await.0, 200, "probes have no token");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let node = Node::start().await;
    for path in ["/v1/nope", "/v1/ws/..%2f..%2fetc", "/v1//cluster"] {
        let (status, body) = node.get(path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &body["code"], &body["status"]),
            (404, &"not_found".into(), &404.into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn no_client_makes_a_label() {
    let node = Node::start().await;
    join_all((0..100u16).map(async |i| {
        let mut client = Client::connect(node.addr()).await;
        client.expect("hello").await;
        client.raw(&masked(8, true, &(3_000 + i).to_be_bytes())).await;
        client.closed().await;
    }))
    .await;
    // Whatever else a client may write.
    for path in ["/v1/nope?x=1", "/metrics/deep", "/v1/conversations/g_1/messages"] {
        let bearer = "Authorization: Bearer dev:alice\r\n";
        node.request(path, bearer).await;
    }
    node.exchange("BREW /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let (_, text) = node.get("/metrics").await;
    let closed: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("rookery_sessions_closed_total") && !line.ends_with(" 0"))
        .collect();
    assert_eq!(closed, [r#"rookery_sessions_closed_total{code="other"} 100"#]);
    assert!(!text.contains("BREW") && !text.contains("nope"), "{text}");
}

#[tokio::test]
async fn probes_are_answered_however_many_connections_say_nothing() {
    let node = Node::with(|config| {
        config.server.max_connections = 20;
        // The silent ones stay as long as they like.
        config.tuning.request_timeout = HumanDuration::millis(600_000);
    })
    .await;
    // More than there are places, by far: were each to have its time, the last would wait for longer than a probe does.
    let mut silent = Vec::new();
    for round in 0..5 {
        for _ in 0..300 {
            silent.push(TcpStream::connect(node.addr()).await.unwrap());
        }
        let probe = tokio::time::timeout(PATIENCE, node.get("/readyz"));
        let (status, _) = probe
            .await
            .unwrap_or_else(|_| panic!("a probe is answered in round {round}"));
        assert_eq!(status, 200);
        // Nor do they keep clients out.
        let _client = node.client("alice").await;
    }
    drop(silent);
    node.stop().await;
}
