//! Member with Socket.IO by long polling: recovers by `pid` and the offset of the last event.

use std::collections::VecDeque;
use std::net::SocketAddr;

use node::testkit::PollingClient;
use serde_json::{Value, json};

pub(super) struct SocketIoMember {
    user: &'static str,
    client: Option<PollingClient>,
    pid: String,
    offset: String,
    acks: u64,
    /// Events that came before a response.
    events: VecDeque<Value>,
}

// === impl SocketIoMember ===

impl SocketIoMember {
    pub(super) fn new(user: &'static str) -> SocketIoMember {
        SocketIoMember {
            user,
            client: None,
            pid: String::new(),
            offset: String::new(),
            acks: 0,
            events: VecDeque::new(),
        }
    }

    /// Connects, and returns true if the state was recovered.
    pub(super) async fn connect(&mut self, addr: SocketAddr) -> bool {
        let token = format!("dev:{}", self.user);
        let mut auth = json!({"token": token, "device": "web", "instance": "one"});
        if !self.pid.is_empty() {
            auth["pid"] = json!(self.pid);
            auth["offset"] = json!(self.offset);
        }
        let mut client = PollingClient::open(&[addr]).await;
        client.post(&format!("40{auth}")).await;
        let (connected, ready) = (client.packet().await, client.packet().await);
        let connected = connected
            .strip_prefix("40")
            .unwrap_or_else(|| panic!("{connected}"));
        let connected: Value = serde_json::from_str(connected).unwrap();
        let recovered = connected["pid"] == *self.pid;
        connected["pid"].as_str().unwrap().clone_into(&mut self.pid);
        self.client = Some(client);
        let ready = self.event_of(&ready);
        assert_eq!(
            (&ready["t"], &ready["resumed"]),
            (&json!("ready"), &json!(recovered)),
            "{ready}"
        );
        recovered
    }

    pub(super) async fn event(&mut self) -> Value {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let packet = self.client.as_mut().unwrap().packet().await;
            let event = self.event_of(&packet);
            self.events.push_back(event);
        }
    }

    /// Emits an event with an acknowledgement, and returns its response.
    pub(super) async fn ask(&mut self, name: &str, fields: Value) -> Value {
        self.acks += 1;
        let prefix = format!("43{}[", self.acks);
        let emit = format!("42{}{}", self.acks, json!([name, fields]));
        self.client.as_mut().unwrap().post(&emit).await;
        loop {
            let packet = self.client.as_mut().unwrap().packet().await;
            if packet.starts_with(&prefix) {
                let arguments: Value = serde_json::from_str(&packet[prefix.len() - 1..]).unwrap();
                return arguments[0].clone();
            }
            let event = self.event_of(&packet);
            self.events.push_back(event);
        }
    }

    /// Returns the event of a packet, and stores its offset.
    fn event_of(&mut self, packet: &str) -> Value {
        let event = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let mut event: Value = serde_json::from_str(event).unwrap();
        let offset = event[2].as_str().unwrap_or_else(|| panic!("{packet}"));
        offset.clone_into(&mut self.offset);
        event[1].take()
    }
}
