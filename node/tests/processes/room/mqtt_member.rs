//! Member with MQTT 5 and a persistent session: continues it with clean start 0.

use std::collections::VecDeque;
use std::net::SocketAddr;

use node::testkit::{MqttClient, MqttConnect, eventually};
use serde_json::{Value, json};

pub(super) struct MqttMember {
    user: &'static str,
    client: Option<MqttClient>,
    events: VecDeque<Value>,
    last_id: u64,
}

const EVENTS: &str = "u/me/events";
const ANSWERS: &str = "u/me/answers";

// === impl MqttMember ===

impl MqttMember {
    pub(super) fn new(user: &'static str) -> MqttMember {
        MqttMember {
            user,
            client: None,
            events: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Connects, and returns true if the session is present.
    pub(super) async fn connect(&mut self, addr: SocketAddr) -> bool {
        let connect = MqttConnect {
            // The longest that a node grants: this client is silent while others act.
            keep_alive: 120,
            ..MqttConnect::persistent(5, self.user, "phone")
        };
        // A node that cannot resume for now refuses the connection, and the client comes again.
        let (mut client, is_present) = eventually("the connection is accepted", async || {
            let (client, connack) = MqttClient::connect_at(addr, &connect).await;
            (connack[1] == 0).then_some((client, connack[0] == 1))
        })
        .await;
        if !is_present {
            assert_eq!(client.subscribe(ANSWERS, 0).await, 0);
            assert_eq!(client.subscribe(EVENTS, 1).await, 1);
        }
        self.client = Some(client);
        is_present
    }

    /// Returns the next event, which is acknowledged.
    pub(super) async fn event(&mut self) -> Value {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let message = self.client.as_mut().unwrap().message().await;
            assert_eq!(message.topic, EVENTS, "{message:?}");
            self.events.push_back(message.payload);
        }
    }

    /// Publishes a query, and returns its answer.
    pub(super) async fn ask(&mut self, topic: &str, mut fields: Value) -> Value {
        self.last_id += 1;
        fields["id"] = json!(self.last_id);
        let client = self.client.as_mut().unwrap();
        client.publish(topic, &fields, 0).await;
        loop {
            let message = client.message().await;
            if message.topic == EVENTS {
                self.events.push_back(message.payload);
            } else if message.payload["id"] == self.last_id {
                return message.payload;
            }
        }
    }
}
