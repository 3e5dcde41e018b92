//! The history of failovers: after a kill, a pause and a drain it has each shard that moved, with the time without service.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use node::testkit::{ProcessCluster, eventually, exchange};

/// Owners by shard, with their epochs.
type Owners = BTreeMap<u64, (u64, u64)>;

async fn get(cluster: &ProcessCluster, at: usize, path: &str) -> Option<Value> {
    let (status, answer) = exchange(cluster.addr(at), "GET", path, "", &Value::Null).await?;
    (status == 200).then_some(answer)
}

/// Returns the owners of all shards and of the meta group, as a node knows them.
async fn owners(cluster: &ProcessCluster, at: usize) -> Option<Owners> {
    let overview = get(cluster, at, "/v1/admin/overview").await?;
    let groups = overview["shards"].as_array()?.iter().chain([&overview["meta"]]);
    groups
        .map(|group| {
            let owner = (group["owner"].as_u64()?, group["epoch"].as_u64()?);
            Some((group["shard"].as_u64()?, owner))
        })
        .collect()
}

/// Waits until the node owns a shard, and returns the owners at that moment.
async fn owners_with(cluster: &ProcessCluster, at: usize, node: u64) -> Owners {
    eventually("the node owns a shard", async || {
        let owners = owners(cluster, at).await?;
        owners.values().any(|(owner, _)| *owner == node).then_some(owners)
    })
    .await
}

/// Waits until the history names every shard that the node owned, from it to the new owner, for one of these reasons and
/// with a time. `before`: the owners at the end of the node's service.
async fn all_named(cluster: &ProcessCluster, at: usize, node: u64, before: &Owners, why: &[&str]) {
    let lost: BTreeMap<u64, u64> = before
        .iter()
        .filter(|(_, (owner, _))| *owner == node)
        .map(|(shard, (_, epoch))| (*shard, *epoch))
        .collect();
    eventually("the failovers name every shard", async || {
        let list = get(cluster, at, "/v1/admin/failovers").await?;
        let items = list["items"].as_array()?;
        let named = items.iter().filter(|item| {
            let was = item["shard"].as_u64().and_then(|shard| lost.get(&shard));
            let is_later = was.zip(item["epoch"].as_u64()).is_some_and(|(was, is)| is > *was);
            is_later
                && item["from"] == node
                && item["to"] != node
                && why.iter().any(|why| item["why"] == *why)
                && item["unavailable_ms"].is_u64()
        });
        let named: BTreeSet<u64> = named.filter_map(|item| item["shard"].as_u64()).collect();
        named.is_superset(&lost.keys().copied().collect()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn kill_pause_and_drain_list_each_shard_that_moved() {
    let mut cluster = ProcessCluster::start().await;
    let second = cluster.id(1);

    let before = owners_with(&cluster, 0, second).await;
    cluster.kill(1);
    all_named(&cluster, 0, second, &before, &["killed"]).await;
    cluster.restart().await;

    // Its connections stay open, and nothing comes from it.
    let before = owners_with(&cluster, 0, second).await;
    cluster.suspend(1);
    all_named(&cluster, 0, second, &before, &["isolated"]).await;
    cluster.wake(1);
    cluster.whole().await;

    let before = owners_with(&cluster, 0, second).await;
    let path = format!("/v1/admin/nodes/{second}/drain");
    let (status, _) = exchange(cluster.addr(0), "POST", &path, "", &Value::Null)
        .await
        .unwrap();
    assert_eq!(status, 202);
    all_named(&cluster, 2, second, &before, &["drained"]).await;

    // Every node tells the same history; from a time on, it is the part behind that time.
    let all = get(&cluster, 0, "/v1/admin/failovers").await.unwrap();
    assert_eq!(all.get("partial"), None, "the owner of the meta group answers");
    let items = all["items"].as_array().unwrap();
    let seqs: Vec<u64> = items.iter().map(|item| item["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted_by(|a, b| a > b), "the newest first: {seqs:?}");
    let newest = items
        .iter()
        .map(|item| item["ts"].as_u64().unwrap())
        .max()
        .unwrap();
    for at in 0..3 {
        let same = get(&cluster, at, "/v1/admin/failovers").await.unwrap();
        let part =
            &same["items"].as_array().unwrap()[same["items"].as_array().unwrap().len() - items.len()..];
        assert_eq!(json!(part), json!(items));
        let path = format!("/v1/admin/failovers?since={}", newest + 3_600_000);
        assert_eq!(get(&cluster, at, &path).await.unwrap(), json!({"items": []}));
    }
    cluster.end();
}
