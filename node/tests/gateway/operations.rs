//! What operators and probes see.

use serde_json::Value;

use crate::support::Node;

#[tokio::test]
async fn a_ready_node_tells_its_shards_and_where_a_conversation_lives() {
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
    for path in ["/", "/v1/nope", "/v1/ws/..%2f..%2fetc", "/v1//cluster"] {
        let (status, body) = node.get(path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, &body["code"], &body["status"]),
            (404, &"not_found".into(), &404.into()),
            "{path}"
        );
    }
}
