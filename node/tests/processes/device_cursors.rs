//! A node is killed with the session of a device, and its client, which knows nothing but the device, goes on elsewhere.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use node::testkit::session::{confirm, connect_by_device, event, is_refused, next_message};
use node::testkit::{ProcessCluster, ask, eventually, figure};

const WRITTEN: &str = "rookery_device_cursors_written_total";

/// The node that dies has the session, and owns the rows of its user: the worst of all.
#[tokio::test]
async fn device_of_a_killed_node_continues_from_its_durable_cursors() {
    let mut cluster = ProcessCluster::start().await;
    let c = cluster.made(json!({"kind": "group", "members": ["bob"]})).await;
    let (dying, [second, third]) = cluster.owner("bob").await;
    let say = async |at: usize, cid: &str| -> u64 {
        let path = format!("/v1/conversations/{c}/messages");
        let body = json!({"b": {"text": cid}});
        let (status, ack) = ask(cluster.addr(at), "alice", ("POST", &path, cid), body).await;
        assert_eq!(status, 201, "{ack}");
        ack["s"].as_u64().unwrap()
    };
    let (mut bob, ready) = connect_by_device(cluster.addr(dying), "bob", "phone", "device").await;
    is_refused(&ready, "unknown");
    // Behind a sync, the session follows the conversation. A shard that moves refuses it for a moment.
    let sync = json!({"t": "sync", "id": 1, "have": [[c, 0]]}).to_string();
    eventually("the session follows the conversation", async || {
        bob.ask(1, &sync).await["t"] == "delta"
    })
    .await;
    for cid in ["a", "b", "c"] {
        say(third, cid).await;
    }
    let mut n = 0;
    next_message(&mut bob, &mut n).await;
    let confirmed = next_message(&mut bob, &mut n).await["s"].as_u64().unwrap();
    confirm(&mut bob, n).await;
    let written = async |least: u64| {
        eventually("the cursors are written", async || {
            figure(cluster.addr(dying), WRITTEN).await >= least
        })
        .await;
    };
    written(1).await;
    let before = figure(cluster.addr(dying), WRITTEN).await;
    drop(bob);
    written(before + 1).await;

    // In the memory of the node alone, then with nobody to keep it.
    say(second, "detached").await;
    let made = json!({"kind": "group", "members": ["bob"], "title": "new"});
    let (_, new) = ask(
        cluster.addr(second),
        "alice",
        ("POST", "/v1/conversations", "two"),
        made,
    )
    .await;
    cluster.kill(dying);
    cluster.owner("bob").await;
    cluster.owner(&c).await;
    let path = format!("/v1/conversations/{c}/messages");
    let (_, ack) = ask(
        cluster.addr(third),
        "alice",
        ("POST", &path, "killed"),
        json!({"b": {}}),
    )
    .await;
    let last = ack["s"].as_u64().unwrap();

    let (mut bob, ready) = connect_by_device(cluster.addr(second), "bob", "phone", "device").await;
    assert_eq!(
        (&ready["resumed"], &ready["n"]),
        (&json!(true), &json!(0)),
        "{ready}"
    );
    let mut log: BTreeMap<u64, Value> = BTreeMap::new();
    n = 0;
    let mut has_new = false;
    while log.last_key_value().is_none_or(|(s, _)| *s < last) || !has_new {
        n += 1;
        let event = event(&mut bob, n).await;
        if event["c"] == json!(c) && event["s"].is_u64() {
            let s = event["s"].as_u64().unwrap();
            assert!(log.insert(s, event).is_none(), "{s} came twice");
        } else if event["t"] == "conv" {
            has_new |= event["c"] == new["c"];
        }
    }
    // Cursors may be older than the last confirmation; a hole would be a loss.
    let first = *log.first_key_value().unwrap().0;
    assert!(first <= confirmed + 1, "{first} is behind {confirmed}");
    let seqs: Vec<u64> = log.keys().copied().collect();
    assert_eq!(seqs, (first..=last).collect::<Vec<_>>());
    assert_eq!(log[&last]["cid"], "killed");

    // From here on it is a session like any other.
    confirm(&mut bob, n).await;
    let (_, ack) = ask(
        cluster.addr(third),
        "alice",
        ("POST", &path, "live"),
        json!({"b": {}}),
    )
    .await;
    assert_eq!(next_message(&mut bob, &mut n).await["s"], ack["s"]);
    cluster.end();
}
