//! Client of Socket.IO by long polling that sends raw packets. Its requests go to the nodes in turn.

use std::cell::Cell;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Call, Client, Reply, within};

const PATH: &str = "/socket.io/?EIO=4&transport=polling";

/// Connection whose client polls for its packets.
pub struct PollingClient {
    /// Nodes to which the requests go, in turn.
    addrs: Vec<SocketAddr>,
    next: Cell<usize>,
    /// Path of the requests, with the id of the connection.
    pub path: String,
    pub sid: String,
    /// Names the state of the connection.
    pub pid: String,
    /// Packets that were received and not looked at.
    packets: Vec<String>,
}

// === impl PollingClient ===

impl PollingClient {
    /// Opens a connection at the first of these nodes.
    pub async fn open(addrs: &[SocketAddr]) -> PollingClient {
        let open = Call::new("GET", PATH).send(addrs[0]).await.unwrap();
        assert_eq!(open.status, 200, "{open:?}");
        let open: Value = serde_json::from_str(open.text.strip_prefix('0').unwrap()).unwrap();
        assert_eq!(open["upgrades"], json!(["websocket"]));
        let sid = open["sid"].as_str().unwrap().to_owned();
        PollingClient {
            addrs: addrs.to_vec(),
            next: Cell::new(1),
            path: format!("{PATH}&sid={sid}"),
            sid,
            pid: String::new(),
            packets: Vec::new(),
        }
    }

    /// Opens the connection of a user, which follows the user's conversations from then on.
    pub async fn of(addr: SocketAddr, user: &str) -> PollingClient {
        let mut client = PollingClient::open(&[addr]).await;
        client.connect(json!({"token": format!("dev:{user}")})).await;
        // It waits until the session is subscribed.
        client.post(r#"421["sync",{"have":[]}]"#).await;
        let delta = client.response(1).await;
        assert_eq!(delta["t"], "delta", "{delta}");
        client
    }

    /// Connects with this payload, and returns the event `ready`.
    pub async fn connect(&mut self, auth: Value) -> Value {
        self.post(&format!("40{auth}")).await;
        let confirmed = self.packet().await;
        let confirmed: Value = serde_json::from_str(confirmed.strip_prefix("40").unwrap()).unwrap();
        confirmed["pid"].as_str().unwrap().clone_into(&mut self.pid);
        self.event("ready").await
    }

    fn addr(&self) -> SocketAddr {
        let next = self.next.get();
        self.next.set(next + 1);
        self.addrs[next % self.addrs.len()]
    }

    /// Polls for the next payload, whatever the status.
    pub async fn get(&self) -> Reply {
        let poll = Call::new("GET", &self.path).send(self.addr());
        within("a poll is answered", poll).await.unwrap()
    }

    /// Sends a payload, and returns the response.
    pub async fn try_post(&self, payload: &str) -> Reply {
        let post = Call::new("POST", &self.path).text(payload).send(self.addr());
        within("a payload is accepted", post).await.unwrap()
    }

    /// Sends a payload, which the node has to accept.
    pub async fn post(&self, payload: &str) {
        let reply = self.try_post(payload).await;
        assert_eq!((reply.status, &*reply.text), (200, "ok"), "{payload}");
    }

    /// Returns the next packet. Pings are answered.
    pub async fn packet(&mut self) -> String {
        within("a packet comes", self.packet_now()).await
    }

    async fn packet_now(&mut self) -> String {
        loop {
            if self.packets.is_empty() {
                let reply = self.get().await;
                assert_eq!(reply.status, 200, "{reply:?}");
                assert_eq!(reply.header("content-type"), "text/plain; charset=UTF-8");
                self.packets = reply.text.split('\x1e').rev().map(str::to_owned).collect();
            }
            match self.packets.pop() {
                Some(ping) if ping == "2" => self.post("3").await,
                Some(packet) => return packet,
                None => {}
            }
        }
    }

    /// Returns the first argument of the next event with this name; other packets are passed over.
    pub async fn event(&mut self, name: &str) -> Value {
        let prefix = format!(r#"42["{name}","#);
        loop {
            let packet = self.packet().await;
            if packet.starts_with(&prefix) {
                let event: Value = serde_json::from_str(&packet[2..]).unwrap();
                return event[1].clone();
            }
        }
    }

    /// Returns the response to an acknowledgement; other packets are passed over.
    pub async fn response(&mut self, ack: u64) -> Value {
        let prefix = format!("43{ack}[");
        loop {
            let packet = self.packet().await;
            if packet.starts_with(&prefix) {
                let arguments: Value = serde_json::from_str(&packet[prefix.len() - 1..]).unwrap();
                return arguments[0].clone();
            }
        }
    }

    /// Opens the WebSocket that replaces the polls, and sends the probe.
    pub async fn probe(&self) -> Client {
        let path = format!("/socket.io/?EIO=4&transport=websocket&sid={}", self.sid);
        let mut socket = Client::upgrade_at(self.addrs[0], &path, "", None).await;
        assert!(socket.head.starts_with("HTTP/1.1 101"), "{}", socket.head);
        socket.send("2probe").await;
        socket
    }
}
