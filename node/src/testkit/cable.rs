//! A client of ActionCable that sends raw frames.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Client, within};

/// Subprotocol of the base protocol.
pub const BASE: &str = "actioncable-v1-json";
/// Subprotocol with history and continued sessions.
pub const EXTENDED: &str = "actioncable-v1-ext-json";

/// Connection of one client.
pub struct Cable {
    pub client: Client,
}

// === impl Cable ===

impl Cable {
    /// Opens a WebSocket with this protocol and query.
    pub async fn open(addr: SocketAddr, protocol: &str, token: &str, query: &str) -> Cable {
        let headers = format!("Sec-WebSocket-Protocol: {protocol}, {token}\r\n");
        let client = Client::upgrade_at(addr, &format!("/cable{query}"), &headers, None).await;
        assert!(client.head.starts_with("HTTP/1.1 101"), "{}", client.head);
        let confirmed = format!("sec-websocket-protocol: {protocol}\r\n");
        assert!(client.head.to_lowercase().contains(&confirmed), "{}", client.head);
        Cable { client }
    }

    /// Opens the connection of a user, its `welcome` already read.
    pub async fn of(addr: SocketAddr, protocol: &str, user: &str) -> Cable {
        let mut cable = Cable::open(addr, protocol, &format!("anycable-token.dev.{user}"), "").await;
        assert_eq!(cable.next().await["type"], "welcome");
        cable
    }

    /// The next frame; pings of the protocol are passed over.
    pub async fn next(&mut self) -> Value {
        let next = async {
            loop {
                let frame = self.client.json().await;
                if frame["type"] != "ping" {
                    return frame;
                }
            }
        };
        within("a frame comes", next).await
    }

    /// Opens the connection of a user of the extended protocol that continues a session. Returns it with its `welcome`.
    pub async fn restored(addr: SocketAddr, user: &str, sid: &str) -> (Cable, Value) {
        let token = format!("anycable-token.dev.{user}");
        let mut cable = Cable::open(addr, EXTENDED, &token, &format!("?sid={sid}")).await;
        let welcome = cable.next().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        (cable, welcome)
    }

    /// The next event or answer of a channel with this `t`; other messages are passed over.
    pub async fn message(&mut self, t: &str) -> Value {
        loop {
            let frame = self.next().await;
            if frame["message"]["t"] == t {
                return frame;
            }
        }
    }

    /// Sends a command about an identifier, with further fields.
    pub async fn command(&mut self, command: &str, identifier: &str, fields: Value) {
        let mut frame = json!({"command": command, "identifier": identifier});
        if let (Some(frame), Some(fields)) = (frame.as_object_mut(), fields.as_object()) {
            frame.extend(fields.clone());
        }
        self.client.send(&frame.to_string()).await;
    }

    /// Subscribes and returns the type of the next frame about the identifier.
    pub async fn subscribe(&mut self, identifier: &str) -> Value {
        self.command("subscribe", identifier, json!({})).await;
        let answer = self.next().await;
        assert_eq!(answer["identifier"], identifier, "{answer}");
        answer["type"].clone()
    }

    /// Performs an action and returns the message that answers it; other messages are passed over.
    pub async fn perform(&mut self, identifier: &str, mut data: Value) -> Value {
        data["id"] = json!(77);
        self.command("message", identifier, json!({"data": data.to_string()}))
            .await;
        loop {
            let frame = self.next().await;
            if frame["message"]["id"] == 77 {
                assert_eq!(frame["identifier"], identifier, "{frame}");
                return frame["message"].clone();
            }
        }
    }

    /// Checks that nothing was sent before the answer to a further action. That answer comes behind everything else.
    pub async fn is_silent(&mut self, identifier: &str) {
        let data = json!({"action": "hb", "id": 78}).to_string();
        self.command("message", identifier, json!({"data": data})).await;
        let frame = self.next().await;
        assert_eq!(frame["message"]["id"], 78, "{frame}");
    }
}

/// The identifier of a conversation.
pub fn chat(c: &str) -> String {
    json!({"channel": "ChatChannel", "c": c}).to_string()
}

/// The identifier of all events.
pub const INBOX: &str = r#"{"channel":"InboxChannel"}"#;
