//! Gateways when a shard has no owner: clients without retries are served as soon as there is one.

use serde_json::json;

use node::testkit::ProcessCluster;
use node::testkit::cable::{BASE, Cable, chat};

/// A client of ActionCable sends in the moment of the owner's death. The gateway repeats what is refused meanwhile, with
/// the same key and in the same order.
#[tokio::test]
async fn gateway_repeats_commands_while_a_shard_has_no_owner() {
    // Less than an election: each first attempt of the gateway is refused.
    let mut cluster = ProcessCluster::with(&[("chat.command_timeout", "500ms")]).await;
    let c = cluster.made(json!({"kind": "group", "members": ["bob"]})).await;
    let (owner, [second, third]) = cluster.owner(&c).await;
    let mut bob = Cable::of(cluster.addr(second), BASE, "bob").await;
    assert_eq!(bob.subscribe(&chat(&c)).await, "confirm_subscription");
    let mut alice = Cable::of(cluster.addr(third), BASE, "alice").await;
    cluster.kill(owner);
    let cids: Vec<String> = (0..20).map(|i| format!("m{i}")).collect();
    for (id, cid) in cids.iter().enumerate() {
        let data = json!({"action": "send", "id": id, "cid": cid, "b": {"text": cid}, "echo": false});
        let data = json!({"data": data.to_string()});
        alice.command("message", &chat(&c), data).await;
    }
    let mut last = 0;
    for (id, cid) in cids.iter().enumerate() {
        let ack = loop {
            let frame = alice.next().await;
            if frame["message"]["id"].is_i64() {
                break frame["message"].clone();
            }
        };
        assert_eq!(
            (&ack["t"], &ack["id"], &ack["cid"]),
            (&json!("ack"), &json!(id), &json!(cid)),
            "{ack}"
        );
        let s = ack["s"].as_u64().unwrap();
        assert!(s > last, "{ack}");
        last = s;
    }
    for cid in &cids {
        assert_eq!(bob.message("msg").await["message"]["cid"], json!(cid));
    }
    cluster.end();
}
