//! Client that divides its operations between the WebSocket and REST.
//!
//! Every division follows the rule of all clients: apply the next event, store a later one, ignore the rest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Call, Client, Node, Reply};

/// Operations over the WebSocket; all others go over REST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketUse {
    /// All operations.
    Socket,
    ReceiveAndType,
    Receive,
    /// No WebSocket: events come by polling.
    Poll,
    /// No WebSocket: events come by `sync`.
    Resync,
}

pub struct TestUser<'a> {
    pub name: &'static str,
    pub socket_use: SocketUse,
    node: &'a Node,
    socket: Option<Client>,
    /// Polled session and its last event.
    polled: Option<(String, u64)>,
    next_id: i64,
    c: String,
    /// Applied events by their `s`, without the session's number.
    pub log: BTreeMap<u64, Value>,
    early: BTreeMap<u64, Value>,
    /// Users whose typing was received.
    typing: BTreeSet<String>,
}

// === impl TestUser ===

impl<'a> TestUser<'a> {
    /// Connects a user without a conversation.
    pub async fn new(name: &'static str, socket_use: SocketUse, node: &'a Node) -> TestUser<'a> {
        let socket = match socket_use {
            SocketUse::Resync | SocketUse::Poll => None,
            _ => Some(node.client(name).await),
        };
        let mut person = TestUser {
            name,
            socket_use,
            node,
            socket,
            polled: None,
            next_id: 1,
            c: String::new(),
            log: BTreeMap::new(),
            early: BTreeMap::new(),
            typing: BTreeSet::new(),
        };
        if socket_use == SocketUse::Poll {
            // The first poll begins the session.
            person.listen().await;
        }
        person
    }

    /// Creates a group and returns its id.
    pub async fn create(&mut self, members: &[&str]) -> String {
        let body = json!({ "kind": "group", "cid": "make", "members": members });
        let made = match self.socket_use {
            SocketUse::Socket => self.ask("create", body).await,
            _ => self.call("POST", "/v1/conversations", Some(body)).await.is(201),
        };
        made["c"].as_str().unwrap().to_owned()
    }

    /// Selects the conversation of all further operations, and fetches its events.
    pub async fn enter(&mut self, c: &str) {
        self.c = c.to_owned();
        self.resync().await;
    }

    /// Returns the user's conversation list.
    pub async fn threads(&mut self) -> Value {
        let mut page = match self.socket_use {
            SocketUse::Socket => self.ask("list", json!({})).await,
            _ => self.call("GET", "/v1/conversations", None).await.is(200),
        };
        page["items"].take()
    }

    /// Returns the messages with their positions.
    pub async fn messages(&mut self) -> Vec<(u64, Value)> {
        let list = match self.socket_use {
            SocketUse::Socket => {
                let c = self.c.clone();
                self.ask("hist", json!({ "c": c, "limit": 100 })).await["events"].take()
            }
            _ => {
                let path = self.path("messages?limit=100");
                self.call("GET", &path, None).await.is(200)["items"].take()
            }
        };
        let list = list.as_array().unwrap();
        let sent = list.iter().filter(|event| event["mn"].is_u64());
        sent.map(|event| (event["s"].as_u64().unwrap(), event["b"].clone()))
            .collect()
    }

    /// Sends a message and returns its position.
    pub async fn send(&mut self, cid: &str, b: Value) -> u64 {
        let body = json!({ "c": self.c, "cid": cid, "b": b });
        let ack = match self.socket_use {
            SocketUse::Socket => self.ask("send", body).await,
            _ => {
                let path = self.path("messages");
                self.call("POST", &path, Some(body)).await.is(201)
            }
        };
        ack["s"]
            .as_u64()
            .unwrap_or_else(|| panic!("{} got {ack}", self.name))
    }

    /// Sends that the user is typing.
    pub async fn types(&mut self) {
        let body = json!({ "t": "typing", "c": self.c, "on": true });
        match (self.socket_use, &mut self.socket) {
            (SocketUse::Socket | SocketUse::ReceiveAndType, Some(socket)) => {
                socket.send(&body.to_string()).await
            }
            _ => {
                let path = self.path("typing");
                self.call("POST", &path, Some(body)).await.is(204);
            }
        }
    }

    /// Waits for the typing of a user, and applies the events before it.
    pub async fn sees_typing(&mut self, who: &str) {
        while !self.typing.contains(who) {
            self.listen().await;
        }
    }

    /// Moves the read cursor to `s`.
    pub async fn saw(&mut self, s: u64) {
        match self.socket_use {
            SocketUse::Socket => {
                let c = self.c.clone();
                let ok = self.ask("read", json!({ "c": c, "s": s })).await;
                assert_eq!(ok["t"], "ok");
            }
            _ => {
                let path = self.path("read");
                self.call("PUT", &path, Some(json!({ "s": s }))).await.is(204);
            }
        }
    }

    /// Returns the read position of each member, as shown to this user.
    pub async fn seen_by(&mut self) -> BTreeMap<String, u64> {
        let c = self.c.clone();
        let members = match self.socket_use {
            SocketUse::Socket => self.ask("members", json!({ "c": c })).await,
            _ => {
                let path = self.path("members");
                self.call("GET", &path, None).await.is(200)
            }
        };
        let items = members["items"].as_array().unwrap();
        let read = |member: &Value| {
            (
                member["u"].as_str().unwrap().to_owned(),
                member["read"].as_u64().unwrap(),
            )
        };
        items.iter().map(read).collect()
    }

    /// Receives until every event up to `s` is applied.
    pub async fn receive(&mut self, s: u64) {
        while self.last() < s {
            self.listen().await;
        }
    }

    /// Receives the next events over the user's transport.
    async fn listen(&mut self) {
        match (&mut self.socket, self.socket_use) {
            (Some(socket), _) => {
                let message = socket.json().await;
                self.on_event(message);
            }
            (None, SocketUse::Poll) => {
                let path = match &self.polled {
                    Some((sid, n)) => format!("/v1/poll?device=tablet&sid={sid}&after={n}&wait=5"),
                    None => "/v1/poll?device=tablet".to_owned(),
                };
                let mut batch = self.call("GET", &path, None).await.is(200);
                assert!(self.polled.is_none() || batch["resumed"] == true, "{batch}");
                let sid = batch["sid"].as_str().unwrap().to_owned();
                self.polled = Some((sid, batch["n"].as_u64().unwrap()));
                for event in batch["events"].as_array_mut().unwrap() {
                    self.on_event(event.take());
                }
            }
            (None, _) => self.resync().await,
        }
    }

    /// Fetches missing events by `sync`.
    pub async fn resync(&mut self) {
        let have = json!({ "have": [[self.c, self.last()]] });
        let delta = match self.socket_use {
            SocketUse::Socket => self.ask("sync", have).await,
            _ => self.call("POST", "/v1/sync", Some(have)).await.is(200),
        };
        for item in delta["items"].as_array().unwrap() {
            if item["c"] == *self.c {
                assert_eq!(item["gap"], false, "{item}");
                item["events"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .for_each(|event| self.apply(event.clone()));
            }
        }
    }

    fn last(&self) -> u64 {
        self.log.keys().next_back().copied().unwrap_or(0)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/conversations/{}/{rest}", self.c)
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let call = Call::new(method, path).by(self.name);
        let call = match body {
            Some(body) => call.json(&body),
            None => call,
        };
        call.to(self.node).await
    }

    /// Sends a request over the socket, and applies the events before its response.
    async fn ask(&mut self, t: &str, fields: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let mut request = json!({ "t": t, "id": id });
        for (key, value) in fields.as_object().unwrap() {
            request[key] = value.clone();
        }
        self.socket.as_mut().unwrap().send(&request.to_string()).await;
        loop {
            let message = self.socket.as_mut().unwrap().json().await;
            if message["id"] == id {
                assert_ne!(message["t"], "err", "{} asked {request}: {message}", self.name);
                return message;
            }
            self.on_event(message);
        }
    }

    fn on_event(&mut self, mut message: Value) {
        if message["t"] == "typing" && message["c"] == *self.c {
            self.typing.insert(message["u"].as_str().unwrap().to_owned());
        }
        if message["c"] == *self.c && message["s"].is_u64() && message["n"].is_u64() {
            message.as_object_mut().unwrap().remove("n");
            self.apply(message);
        }
    }

    /// Applies the next event, stores a later one and ignores the rest.
    fn apply(&mut self, event: Value) {
        let s = event["s"].as_u64().unwrap();
        if s > self.last() {
            self.early.insert(s, event);
        }
        while let Some(next) = self.early.remove(&(self.last() + 1)) {
            self.log.insert(self.last() + 1, next);
        }
    }
}
