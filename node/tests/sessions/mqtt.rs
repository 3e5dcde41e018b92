//! Sessions of MQTT clients at several nodes.

use node::testkit::{Client, MqttClient, MqttConnect, TestCluster};
use serde_json::{Value, json};

async fn cluster() -> TestCluster {
    TestCluster::with(|config| config.mqtt.listen = "127.0.0.1:0".to_owned()).await
}

async fn group(alice: &mut Client, members: &[&str]) -> String {
    let create = json!({"t": "create", "id": 1, "cid": "make", "kind": "group", "members": members});
    alice.ask(1, &create.to_string()).await["c"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn say(alice: &mut Client, c: &str, cid: &str) -> Value {
    let send = json!({"t": "send", "id": 2, "c": c, "cid": cid, "b": {}});
    alice.ask(2, &send.to_string()).await["s"].clone()
}

#[tokio::test]
async fn nothing_is_missed_over_cut_connections_at_any_node() {
    let cluster = cluster().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let c = group(&mut alice, &["bob"]).await;
    for level in [4, 5] {
        let connect = MqttConnect::persistent(level, "bob", &format!("phone-{level}"));
        let (mut bob, _) = MqttClient::accepted(&cluster.nodes[0], &connect).await;
        bob.subscribe(&format!("c/{c}/events"), 1).await;
        let first = say(&mut alice, &c, &format!("{level}-first"))
            .await
            .as_u64()
            .unwrap();
        let mut last = first - 1;
        for (round, node) in [1, 2, 0].into_iter().enumerate() {
            for i in 0..3 {
                say(&mut alice, &c, &format!("{level}-{round}-{i}")).await;
            }
            // Two are acknowledged, the third is not.
            for _ in 0..2 {
                let s = bob.message().await.payload["s"].as_u64().unwrap();
                assert_eq!(s, last + 1);
                last = s;
            }
            let unacked = bob.unacked_message().await;
            // The answer to a ping shows that the server has read the acknowledgements.
            bob.ping().await;
            drop(bob);
            say(&mut alice, &c, &format!("{level}-{round}-gone")).await;
            let is_present;
            (bob, is_present) = MqttClient::accepted(&cluster.nodes[node], &connect).await;
            assert!(is_present, "round {round}");
            let again = bob.unacked_message().await;
            assert!(again.is_repeated);
            assert_eq!(
                (again.packet_id, &again.payload),
                (unacked.packet_id, &unacked.payload)
            );
            bob.ack(again.packet_id).await;
            last += 1;
            assert_eq!(again.payload["s"].as_u64(), Some(last));
        }
        let end = say(&mut alice, &c, &format!("{level}-end"))
            .await
            .as_u64()
            .unwrap();
        while last < end {
            let s = bob.message().await.payload["s"].as_u64().unwrap();
            assert_eq!(s, last + 1);
            last = s;
        }
        bob.send(&[0xE0, 0]).await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn takeover_from_another_node_closes_the_old_connection() {
    let cluster = cluster().await;
    let mut alice = cluster.nodes[2].client("alice").await;
    let c = group(&mut alice, &["bob"]).await;
    let connect = MqttConnect::persistent(5, "bob", "phone");
    let (mut old, _) = MqttClient::accepted(&cluster.nodes[0], &connect).await;
    old.subscribe(&format!("c/{c}/events"), 1).await;
    let (mut new, is_present) = MqttClient::accepted(&cluster.nodes[1], &connect).await;
    assert!(is_present);
    let last = old.rest().await.pop().unwrap();
    assert_eq!((last.first, last.body[0]), (0xE0, 0x8E));
    say(&mut alice, &c, "one").await;
    assert_eq!(new.event("msg").await.payload["cid"], "one");
    cluster.stop().await;
}

#[tokio::test]
async fn removal_while_the_client_is_gone_ends_its_subscription() {
    let cluster = cluster().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let c = group(&mut alice, &["bob"]).await;
    let connect = MqttConnect::persistent(4, "bob", "phone");
    let (mut bob, _) = MqttClient::accepted(&cluster.nodes[0], &connect).await;
    bob.subscribe(&format!("c/{c}/events"), 1).await;
    bob.is_silent().await;
    drop(bob);
    say(&mut alice, &c, "before").await;
    let kick = json!({"t": "kick", "id": 3, "c": c, "cid": "kick", "who": "bob"});
    assert_eq!(alice.ask(3, &kick.to_string()).await["t"], "ack");
    say(&mut alice, &c, "after").await;
    let (mut bob, is_present) = MqttClient::accepted(&cluster.nodes[1], &connect).await;
    assert!(is_present);
    assert_eq!(bob.message().await.payload["cid"], "before");
    assert_eq!(bob.message().await.payload["why"], "kick");
    bob.is_silent().await;
    assert_eq!(bob.subscribe(&format!("c/{c}/events"), 1).await, 0x80);
    cluster.stop().await;
}

#[tokio::test]
async fn message_is_the_same_one_at_every_node() {
    let cluster = cluster().await;
    let mut alice = cluster.nodes[0].client("alice").await;
    let c = group(&mut alice, &["bob"]).await;
    let mut places = Vec::new();
    for node in &cluster.nodes {
        let mut bob = MqttClient::of(node, 5, "bob").await;
        let (reason, properties) = bob
            .ask(&format!("c/{c}/send"), &json!({"cid": "k1", "b": {}}))
            .await;
        assert_eq!(reason, 0);
        places.push(properties.into_iter().find(|(name, _)| name == "s"));
    }
    assert!(places[0].is_some() && places.iter().all(|s| *s == places[0]));
    cluster.stop().await;
}
