//! A client with habits: what it does over its WebSocket, and what over REST.
//!
//! Whatever the habits, it follows the one rule of every client: apply the next event, keep a later one, ignore the rest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::http::{Call, Reply};
use crate::support::{Client, Node};

/// What goes over the WebSocket; everything else goes over REST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SocketUse {
    /// Everything.
    Socket,
    /// Receiving, and typing.
    ReceiveAndType,
    /// Receiving.
    Receive,
    /// Nothing: it polls for what happens.
    Poll,
    /// Nothing: it asks `sync` for what it misses.
    Resync,
}

pub(crate) struct TestUser<'a> {
    pub(crate) name: &'static str,
    pub(crate) socket_use: SocketUse,
    node: &'a Node,
    socket: Option<Client>,
    /// The session that is polled, and the last event from it.
    polled: Option<(String, u64)>,
    next_id: i64,
    c: String,
    /// Every event that was applied, by its `s`, without its number.
    pub(crate) log: BTreeMap<u64, Value>,
    early: BTreeMap<u64, Value>,
    /// Who was seen to type.
    typing: BTreeSet<String>,
}

// === impl TestUser ===

impl<'a> TestUser<'a> {
    /// Somebody who is in no conversation yet.
    pub(crate) async fn new(name: &'static str, socket_use: SocketUse, node: &'a Node) -> TestUser<'a> {
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
            // The first begins the session.
            person.listen().await;
        }
        person
    }

    /// Makes the group.
    pub(crate) async fn create(&mut self, members: &[&str]) -> String {
        let body = json!({ "kind": "group", "cid": "make", "members": members });
        let made = match self.socket_use {
            SocketUse::Socket => self.ask("create", body).await,
            _ => self.call("POST", "/v1/conversations", Some(body)).await.is(201),
        };
        made["c"].as_str().unwrap().to_owned()
    }

    /// Everything from now on is about this conversation; what happened in it is fetched.
    pub(crate) async fn enter(&mut self, c: &str) {
        self.c = c.to_owned();
        self.resync().await;
    }

    /// Lists its threads.
    pub(crate) async fn threads(&mut self) -> Value {
        let mut page = match self.socket_use {
            SocketUse::Socket => self.ask("list", json!({})).await,
            _ => self.call("GET", "/v1/conversations", None).await.is(200),
        };
        page["items"].take()
    }

    /// Lists what was said.
    pub(crate) async fn messages(&mut self) -> Vec<(u64, Value)> {
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

    /// Sends a message, and returns its place.
    pub(crate) async fn send(&mut self, cid: &str, b: Value) -> u64 {
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

    /// Says that it types.
    pub(crate) async fn types(&mut self) {
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

    /// Waits until it is shown that somebody types; events that come before are heard.
    pub(crate) async fn sees_typing(&mut self, who: &str) {
        while !self.typing.contains(who) {
            self.listen().await;
        }
    }

    /// Marks everything up to `s` as seen.
    pub(crate) async fn saw(&mut self, s: u64) {
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

    /// How far each member has read, as this one is told.
    pub(crate) async fn seen_by(&mut self) -> BTreeMap<String, u64> {
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

    /// Receives until it has everything up to `s`.
    pub(crate) async fn receive(&mut self, s: u64) {
        while self.last() < s {
            self.listen().await;
        }
    }

    /// Takes what comes next, its own way.
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

    /// Fetches what is missing.
    pub(crate) async fn resync(&mut self) {
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

    /// Asks over the socket; events that come before the answer are heard.
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

    /// The rule.
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
