//! Client of Socket.IO over a WebSocket that sends raw packets.

use std::net::SocketAddr;

use super::{Client, Incoming, within};
use serde_json::{Value, json};

/// Connection to the main namespace.
pub struct SocketIoClient {
    pub client: Client,
    /// The handshake of the engine.
    pub open: Value,
    /// Last string behind an event, with which the client recovers.
    pub offset: String,
    /// Names the state of the connection.
    pub pid: String,
    acks: u64,
}

// === impl SocketIoClient ===

impl SocketIoClient {
    /// Opens an engine connection.
    pub async fn open(addr: SocketAddr) -> SocketIoClient {
        let path = "/socket.io/?EIO=4&transport=websocket";
        let mut client = Client::upgrade_at(addr, path, "", None).await;
        assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
        let open = client.text().await;
        let open = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
        SocketIoClient {
            client,
            open,
            offset: String::new(),
            pid: String::new(),
            acks: 0,
        }
    }

    /// Opens the connection of a user, which follows the user's conversations from then on.
    pub async fn of(addr: SocketAddr, user: &str) -> SocketIoClient {
        let mut socket = SocketIoClient::open(addr).await;
        socket.connect(json!({"token": format!("dev:{user}")})).await;
        // It waits until the session is subscribed.
        let delta = socket.ask("sync", json!({"have": []})).await;
        assert_eq!(delta["t"], "delta", "{delta}");
        socket
    }

    /// Connects with this payload, and returns the event `ready`.
    pub async fn connect(&mut self, auth: Value) -> Value {
        self.client.send(&format!("40{auth}")).await;
        let confirmed = self.packet().await;
        let confirmed: Value = serde_json::from_str(confirmed.strip_prefix("40").unwrap()).unwrap();
        confirmed["pid"].as_str().unwrap().clone_into(&mut self.pid);
        self.event("ready").await
    }

    /// Returns the refusal of a CONNECT with this payload.
    pub async fn refused(&mut self, auth: Value) -> Value {
        self.client.send(&format!("40{auth}")).await;
        let refusal = self.packet().await;
        serde_json::from_str(refusal.strip_prefix("44").unwrap()).unwrap()
    }

    /// Returns the next packet. Pings are answered.
    pub async fn packet(&mut self) -> String {
        let packet = async {
            loop {
                let packet = self.client.text().await;
                if packet != "2" {
                    return packet;
                }
                self.client.send("3").await;
            }
        };
        within("a packet comes", packet).await
    }

    /// Returns the first argument of the next event with this name; others and responses are passed over.
    pub async fn event(&mut self, name: &str) -> Value {
        loop {
            let (of_event, argument) = self.any_event().await;
            if of_event == name {
                return argument;
            }
        }
    }

    /// Returns name and first argument of the next event; responses are passed over.
    pub async fn any_event(&mut self) -> (String, Value) {
        loop {
            let packet = self.packet().await;
            if let Some(event) = packet.strip_prefix("42") {
                let event: Value = serde_json::from_str(event).unwrap();
                let last = event.as_array().unwrap().last().unwrap();
                if let Some(offset) = last.as_str() {
                    offset.clone_into(&mut self.offset);
                }
                return (event[0].as_str().unwrap().to_owned(), event[1].clone());
            }
        }
    }

    /// Emits an event with an acknowledgement, and returns its response; events are passed over.
    pub async fn ask(&mut self, name: &str, fields: Value) -> Value {
        self.acks += 1;
        let ack = self.acks;
        self.client
            .send(&format!("42{ack}{}", json!([name, fields])))
            .await;
        self.response(ack).await
    }

    /// Returns the response to an acknowledgement; other packets are passed over.
    pub async fn response(&mut self, ack: u64) -> Value {
        let prefix = format!("43{ack}[");
        loop {
            let packet = self.packet().await;
            if packet.starts_with(&prefix) {
                let arguments: Value = serde_json::from_str(&packet[prefix.len() - 1..]).unwrap();
                assert_eq!(arguments.as_array().unwrap().len(), 1);
                return arguments[0].clone();
            }
        }
    }

    /// Emits an event without an acknowledgement.
    pub async fn emit(&mut self, name: &str, fields: Value) {
        self.client.send(&format!("42{}", json!([name, fields]))).await;
    }

    /// Returns the packets up to the close frame, and its code.
    pub async fn last_packets(&mut self) -> (Vec<String>, u16) {
        let mut packets = Vec::new();
        loop {
            match self.client.recv().await {
                Incoming::Text(packet) => packets.push(packet),
                Incoming::Close(code, _) => return (packets, code),
                Incoming::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
