//! Every command of the native protocol by its MQTT topic.

use std::collections::{BTreeMap, BTreeSet};

use node::testkit::{MqttClient, Node};
use protocol::ClientCommand;
use serde_json::{Value, json};

use crate::mqtt::with_mqtt;

/// Commands of the connection itself, which MQTT does by packets of its own.
const WITHOUT_A_TOPIC: [&str; 2] = ["auth", "hb"];

/// Client that has published some commands.
struct Publisher {
    client: MqttClient,
    /// Tags of the commands so far.
    published: BTreeSet<&'static str>,
    /// Tag of the answer to each command, as the protocol declares it.
    answers: BTreeMap<&'static str, Option<&'static str>>,
}

impl Publisher {
    /// Publishes a command at this quality, and returns its only answer.
    async fn publish(&mut self, topic: &str, tag: &'static str, fields: Value, quality: u8) -> Value {
        self.published.insert(tag);
        let mut payload = fields;
        payload["id"] = json!(self.published.len());
        let packet_id = self.client.publish(topic, &payload, quality).await;
        if quality > 0 {
            assert_eq!(self.client.acked(packet_id).await.0, 0, "{topic}");
        }
        let Some(answer) = self.answers[tag] else {
            self.client.is_silent().await;
            return Value::Null;
        };
        let message = self.client.message().await;
        assert_eq!(message.topic, "u/bob/answers");
        let found = (&message.payload["t"], &message.payload["id"]);
        assert_eq!(found, (&json!(answer), &payload["id"]), "{topic} {message:?}");
        message.payload
    }

    /// Publishes a query, at both qualities.
    async fn query(&mut self, topic: &str, tag: &'static str, fields: Value) {
        for quality in [0, 1] {
            self.publish(topic, tag, fields.clone(), quality).await;
        }
    }

    /// Publishes a change of a conversation under a `cid` of its own.
    async fn change(&mut self, c: &str, tag: &'static str, mut fields: Value) -> Value {
        fields["cid"] = json!(format!("of {tag}"));
        self.publish(&format!("c/{c}/{tag}"), tag, fields, 1).await
    }
}

#[tokio::test]
async fn every_command_has_a_topic_and_an_answer() {
    let node = Node::with(with_mqtt).await;
    let mut alice = node.client("alice").await;
    let channel = json!({"t": "create", "id": 1, "kind": "channel", "cid": "make", "members": []});
    let channel = alice.ask(1, &channel.to_string()).await;
    let channel = channel["c"].as_str().unwrap().to_owned();
    let mut bob = Publisher {
        client: MqttClient::of(&node, 4, "bob").await,
        published: BTreeSet::new(),
        answers: ClientCommand::responses().into_iter().collect(),
    };
    bob.client.subscribe("u/bob/answers", 0).await;

    let create = json!({"cid": "make", "kind": "group", "members": ["alice", "eve"]});
    let made = bob.publish("me/create", "create", create, 1).await;
    let c = made["c"].as_str().unwrap().to_owned();
    let sent = bob.change(&c, "send", json!({"b": {"text": "hi"}})).await["s"].clone();
    let direct = json!({"cid": "direct", "b": {"text": "hi"}});
    let direct = bob.publish("u/alice/send", "send", direct, 1).await;
    assert_ne!(direct["c"], json!(c));
    bob.change(&c, "edit", json!({"of": sent, "b": {"text": "ho"}}))
        .await;
    bob.change(&c, "react", json!({"of": sent, "k": "+1", "on": true}))
        .await;
    bob.change(&c, "del", json!({"of": sent})).await;
    bob.change(&c, "invite", json!({"who": "dave"})).await;
    bob.change(&c, "role", json!({"who": "dave", "role": "admin"}))
        .await;
    bob.change(&c, "kick", json!({"who": "dave"})).await;
    bob.change(&c, "ban", json!({"who": "eve"})).await;
    bob.change(&c, "unban", json!({"who": "eve"})).await;
    bob.change(&c, "set", json!({"muted": true})).await;
    bob.change(&channel, "join", json!({})).await;
    bob.change(&channel, "leave", json!({})).await;
    for tag in ["read", "recv"] {
        let topic = format!("c/{c}/{tag}");
        bob.publish(&topic, tag, json!({"s": 1}), 1).await;
    }
    let typing = format!("c/{c}/typing");
    bob.publish(&typing, "typing", json!({"on": true}), 1).await;

    bob.query(&format!("c/{c}/open"), "open", json!({})).await;
    bob.query(&format!("c/{c}/hist"), "hist", json!({"after": 0}))
        .await;
    bob.query(&format!("c/{c}/members"), "members", json!({})).await;
    bob.query("me/list", "list", json!({})).await;
    bob.query("me/sync", "sync", json!({"have": []})).await;
    for tag in ["watch", "unwatch"] {
        bob.query(&format!("me/{tag}"), tag, json!({"users": ["alice"]}))
            .await;
    }
    bob.query("me/me", "me", json!({"name": "Bob"})).await;
    bob.query("me/users", "users", json!({"ids": ["bob"]})).await;
    for tag in ["block", "unblock"] {
        bob.query(&format!("me/{tag}"), tag, json!({"who": "eve"})).await;
    }

    let commands = bob.answers.keys().copied();
    let with_a_topic: BTreeSet<&str> = commands.filter(|tag| !WITHOUT_A_TOPIC.contains(tag)).collect();
    assert_eq!(bob.published, with_a_topic);
    node.stop().await;
}
