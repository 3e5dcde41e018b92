//! Member with the native protocol over a WebSocket: resumes by session id and number.

use std::collections::VecDeque;
use std::net::SocketAddr;

use node::testkit::Client;
use serde_json::{Value, json};

pub(super) struct NativeMember {
    user: &'static str,
    client: Option<Client>,
    sid: String,
    n: u64,
    /// Events that came before a response.
    events: VecDeque<Value>,
}

// === impl NativeMember ===

impl NativeMember {
    pub(super) fn new(user: &'static str) -> NativeMember {
        NativeMember {
            user,
            client: None,
            sid: String::new(),
            n: 0,
            events: VecDeque::new(),
        }
    }

    /// Connects, and returns true if the session was resumed.
    pub(super) async fn connect(&mut self, addr: SocketAddr) -> bool {
        let mut client = Client::connect(addr).await;
        client.expect("hello").await;
        let token = format!("dev:{}", self.user);
        let mut auth = json!({"t": "auth", "id": 1, "token": token, "device": "phone", "instance": "one"});
        if !self.sid.is_empty() {
            auth["resume"] = json!({"sid": self.sid, "n": self.n});
        }
        let ready = client.ask(1, &auth.to_string()).await;
        assert_eq!(ready["t"], "ready", "{ready}");
        let resumed = ready["resumed"] == true;
        if resumed {
            assert_eq!(ready["n"], self.n, "{ready}");
        }
        ready["sid"].as_str().unwrap().clone_into(&mut self.sid);
        self.n = ready["n"].as_u64().unwrap();
        self.client = Some(client);
        resumed
    }

    pub(super) async fn event(&mut self) -> Value {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let message = self.client.as_mut().unwrap().json().await;
            self.take(message);
        }
    }

    /// Sends a command, and returns its response.
    pub(super) async fn ask(&mut self, t: &str, mut fields: Value) -> Value {
        fields["t"] = json!(t);
        fields["id"] = json!(7);
        let client = self.client.as_mut().unwrap();
        client.send(&fields.to_string()).await;
        loop {
            let message = self.client.as_mut().unwrap().json().await;
            if message["id"] == 7 {
                return message;
            }
            self.take(message);
        }
    }

    fn take(&mut self, message: Value) {
        if let Some(n) = message["n"].as_u64() {
            assert_eq!(n, self.n + 1, "{}: {message}", self.user);
            self.n = n;
            self.events.push_back(message);
        }
    }
}
