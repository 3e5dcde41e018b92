//! Client that receives over any transport, by the rule of all clients: apply the next event, store a later one, ignore
//! the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Client, Incoming, Stream, ask, exchange, get, within};

/// Transport of a receiving client.
#[derive(Clone, Copy, Debug)]
pub enum TestTransport {
    Socket,
    Stream,
    Poll,
}

/// Client that follows one conversation.
pub struct ReceivingClient {
    user: &'static str,
    transport: TestTransport,
    addr: SocketAddr,
    connection: ReceivingConnection,
    c: String,
    /// Session id, and number of its last received event.
    sid: String,
    n: u64,
    /// Applied events by their position.
    pub log: BTreeMap<u64, Value>,
    early: BTreeMap<u64, Value>,
    pub bye: Option<Value>,
}

enum ReceivingConnection {
    Socket(Client),
    Stream(Stream),
    None,
}

// === impl ReceivingClient ===

impl ReceivingClient {
    /// Connects to a node and fetches the events so far.
    pub async fn new(
        user: &'static str,
        transport: TestTransport,
        addr: SocketAddr,
        c: &str,
    ) -> ReceivingClient {
        let mut client = ReceivingClient {
            user,
            transport,
            addr,
            connection: ReceivingConnection::None,
            c: c.to_owned(),
            sid: String::new(),
            n: 0,
            log: BTreeMap::new(),
            early: BTreeMap::new(),
            bye: None,
        };
        let ready = client.connect(addr).await;
        assert_eq!(ready["resumed"], false, "{ready}");
        client.sync().await;
        client
    }

    /// Resumes at a node, and returns its `ready`.
    pub async fn connect(&mut self, addr: SocketAddr) -> Value {
        self.addr = addr;
        let ready = match self.transport {
            TestTransport::Socket => {
                let mut client = Client::connect(addr).await;
                client.expect("hello").await;
                let mut auth =
                    json!({"t":"auth","id":1,"token":format!("dev:{}", self.user),"device":"phone"});
                if !self.sid.is_empty() {
                    auth["resume"] = json!({"sid":self.sid,"n":self.n});
                }
                let ready = client.ask(1, &auth.to_string()).await;
                self.connection = ReceivingConnection::Socket(client);
                ready
            }
            TestTransport::Stream => {
                let last = (!self.sid.is_empty()).then(|| format!("{}:{}", self.sid, self.n));
                let mut stream = Stream::of(addr, self.user, last.as_deref()).await;
                let ready = stream.expect("ready").await.data;
                self.connection = ReceivingConnection::Stream(stream);
                ready
            }
            TestTransport::Poll => {
                let answer = self.poll(0).await.unwrap();
                self.take_batch(&answer);
                return answer;
            }
        };
        self.begin(&ready);
        ready
    }

    /// Fetches every missing event.
    pub async fn sync(&mut self) {
        let have = json!({ "t": "sync", "have": [[self.c, self.last()]] });
        let delta = match self.transport {
            TestTransport::Socket => self.ask(have).await,
            TestTransport::Stream | TestTransport::Poll => {
                let (status, delta) = ask(self.addr, self.user, ("POST", "/v1/sync", ""), have).await;
                assert_eq!(status, 200, "{delta}");
                delta
            }
        };
        for item in delta["items"].as_array().unwrap() {
            if item["c"] == *self.c {
                if item["gap"] == true {
                    self.read_on().await;
                }
                for event in item["events"].as_array().unwrap() {
                    self.apply(event.clone());
                }
            }
        }
    }

    /// Reads the log page by page, after a gap that one response could not hold.
    async fn read_on(&mut self) {
        loop {
            let path = format!(
                "/v1/conversations/{}/events?after={}&limit=100",
                self.c,
                self.last()
            );
            let page = get(self.addr, self.user, &path).await;
            for event in page["events"].as_array().unwrap() {
                self.apply(event.clone());
            }
            if page["more"] == false {
                return;
            }
        }
    }

    /// Receives until every event up to `s` is applied.
    pub async fn receives(&mut self, s: u64) {
        while self.last() < s {
            assert!(
                self.on_next().await,
                "{} {:?} is cut off at {}",
                self.user,
                self.transport,
                self.last()
            );
        }
    }

    /// Receives until the connection ends.
    pub async fn wait_for_close(&mut self) {
        while self.on_next().await {}
    }

    /// Confirms the session, which ends the session that it was resumed from.
    pub async fn confirm(&mut self) {
        match self.transport {
            TestTransport::Socket => {
                let hb = json!({ "t": "hb", "n": self.n });
                assert_eq!(self.ask(hb).await["t"], "hb");
            }
            // A stream has no requests: another resume is its confirmation.
            TestTransport::Stream => {
                let ready = self.connect(self.addr).await;
                assert_eq!(ready["resumed"], true, "{ready}");
            }
            TestTransport::Poll => {
                let answer = self.poll(0).await.unwrap();
                self.take_batch(&answer);
            }
        }
    }

    /// Returns the position of the last applied event; no event before it is missing.
    pub fn last(&self) -> u64 {
        self.log.keys().next_back().copied().unwrap_or(0)
    }

    /// Returns the keys of the messages in the order of the log.
    pub fn keys(&self) -> Vec<&str> {
        self.log
            .values()
            .filter_map(|event| event["cid"].as_str())
            .collect()
    }

    /// Sends a command over the socket, and applies the events before its response.
    pub async fn ask(&mut self, mut command: Value) -> Value {
        command["id"] = json!(7);
        self.socket().send(&command.to_string()).await;
        loop {
            let message = self.socket().json().await;
            if message["id"] == 7 {
                return message;
            }
            self.event(message);
        }
    }

    fn socket(&mut self) -> &mut Client {
        match &mut self.connection {
            ReceivingConnection::Socket(client) => client,
            ReceivingConnection::Stream(_) | ReceivingConnection::None => {
                panic!("{} has no socket", self.user)
            }
        }
    }

    /// Receives the next event. `false`: the connection has ended.
    async fn on_next(&mut self) -> bool {
        let event = match &mut self.connection {
            ReceivingConnection::Socket(client) => match client.recv().await {
                Incoming::Text(text) => serde_json::from_str(&text).unwrap(),
                Incoming::Binary(_) | Incoming::Ping(_) | Incoming::Pong(_) => return true,
                Incoming::Close(..) | Incoming::End => return false,
            },
            ReceivingConnection::Stream(stream) => match stream.next().await {
                Some(entry) if entry.name == "close" => return true,
                Some(entry) => entry.data,
                None => return false,
            },
            ReceivingConnection::None => {
                let answer = self.poll(5).await;
                let goes_on = answer.as_ref().is_some_and(|answer| answer["resumed"] == true);
                if let Some(answer) = answer.filter(|_| goes_on) {
                    self.take_batch(&answer);
                }
                return goes_on;
            }
        };
        self.event(event);
        true
    }

    /// Polls once. `None`: the node did not respond.
    async fn poll(&self, wait: u64) -> Option<Value> {
        let session = match self.sid.as_str() {
            "" => String::new(),
            sid => format!("&sid={sid}&after={}&wait={wait}", self.n),
        };
        let headers = format!("Authorization: Bearer dev:{}\r\n", self.user);
        let path = format!("/v1/poll?device=phone{session}");
        let answer = exchange(self.addr, "GET", &path, &headers, &Value::Null);
        let (status, answer) = within("a poll ends", answer).await?;
        (status == 200).then_some(answer)
    }

    fn take_batch(&mut self, answer: &Value) {
        if answer["resumed"] == true {
            self.sid = answer["sid"].as_str().unwrap().to_owned();
        } else {
            self.begin(answer);
        }
        for event in answer["events"].as_array().unwrap() {
            self.event(event.clone());
        }
    }

    fn begin(&mut self, ready: &Value) {
        let n = ready["n"].as_u64().unwrap_or_else(|| panic!("{ready}"));
        if ready["resumed"] == true {
            assert_eq!(n, self.n, "{} {:?}", self.user, self.transport);
        }
        self.sid = ready["sid"].as_str().unwrap().to_owned();
        self.n = n;
    }

    fn event(&mut self, mut event: Value) {
        let Some(n) = event["n"].as_u64().filter(|_| event["t"] != "ready") else {
            return;
        };
        assert_eq!(n, self.n + 1, "{} {:?}: {event}", self.user, self.transport);
        self.n = n;
        if event["t"] == "bye" {
            self.bye = Some(event);
        } else if event["c"] == *self.c && event["s"].is_u64() {
            event.as_object_mut().unwrap().remove("n");
            self.apply(event);
        }
    }

    /// Applies the next event, stores a later one and ignores the rest.
    fn apply(&mut self, event: Value) {
        let s = event["s"].as_u64().unwrap();
        if let Some(known) = self.log.get(&s) {
            assert_eq!(*known, event, "one event at one place");
        } else if s > self.last() {
            self.early.insert(s, event);
        }
        while let Some(next) = self.early.remove(&(self.last() + 1)) {
            self.log.insert(self.last() + 1, next);
        }
    }
}
