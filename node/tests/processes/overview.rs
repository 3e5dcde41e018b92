//! Operators of a cluster in which a node is dead or hangs: any other node tells them, and what they may stop.

use serde_json::Value;

use node::testkit::{ProcessCluster, eventually, exchange};

async fn get(cluster: &ProcessCluster, at: usize, path: &str) -> Option<Value> {
    let (status, answer) = exchange(cluster.addr(at), "GET", path, "", &Value::Null).await?;
    (status == 200).then_some(answer)
}

/// Returns the nodes that are silent, and the numbers of replicas of which nothing is known.
async fn silent(cluster: &ProcessCluster, at: usize) -> Option<(Vec<u64>, usize)> {
    let overview = get(cluster, at, "/v1/admin/overview").await?;
    let nodes = overview["nodes"].as_array()?;
    let silent = nodes.iter().filter(|node| node["silent"] == true);
    let groups = overview["shards"].as_array()?.iter().chain([&overview["meta"]]);
    let unknown = groups.flat_map(|group| group["replicas"].as_array().into_iter().flatten());
    Some((
        silent.map(|node| node["id"].as_u64().unwrap()).collect(),
        unknown.filter(|replica| replica["role"].is_null()).count(),
    ))
}

async fn can_stop(cluster: &ProcessCluster, at: usize, node: u64) -> Option<bool> {
    let verdict = get(cluster, at, &format!("/v1/admin/nodes/{node}/can-stop")).await?;
    verdict["can_stop"].as_bool()
}

#[tokio::test]
async fn a_dead_or_hanging_node_is_silent_and_no_other_may_stop() {
    let mut cluster = ProcessCluster::start().await;
    // Four shards and the meta group.
    let groups = 5;
    eventually("every node reports", async || {
        silent(&cluster, 0).await == Some((Vec::new(), 0))
    })
    .await;
    for node in 1..=3 {
        assert_eq!(can_stop(&cluster, 0, node).await, Some(true), "{node}");
    }

    // Its connections stay open, and it answers nothing: the first overview already must not wait for it.
    cluster.suspend(2);
    assert_eq!(silent(&cluster, 0).await, Some((vec![cluster.id(2)], groups)));
    cluster.wake(2);
    eventually("it reports again", async || {
        silent(&cluster, 1).await == Some((Vec::new(), 0))
    })
    .await;

    cluster.kill(2);
    for at in 0..2 {
        assert_eq!(silent(&cluster, at).await, Some((vec![cluster.id(2)], groups)));
        eventually("its death is known", async || {
            can_stop(&cluster, at, cluster.id(0)).await == Some(false)
        })
        .await;
        assert_eq!(can_stop(&cluster, at, cluster.id(1)).await, Some(false));
        assert_eq!(
            can_stop(&cluster, at, cluster.id(2)).await,
            Some(true),
            "it is dead already"
        );
    }
    assert_eq!(get(&cluster, 0, "/v1/admin/nodes/4/can-stop").await, None);
    cluster.restart().await;
    eventually("every node may stop again", async || {
        can_stop(&cluster, 0, 1).await == Some(true)
    })
    .await;
    cluster.end();
}
