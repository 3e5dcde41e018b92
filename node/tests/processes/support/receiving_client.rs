//! A client that listens, one way or the other, and follows the one rule: apply the next event, keep a later one, ignore
//! the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Client, Incoming, PATIENCE, Stream, ask, exchange, get};

/// How it listens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TestTransport {
    /// Over a WebSocket.
    Socket,
    /// To an event stream.
    Stream,
    /// By polling.
    Poll,
}

/// A client of one conversation.
pub(crate) struct ReceivingClient {
    user: &'static str,
    transport: TestTransport,
    addr: SocketAddr,
    line: Line,
    c: String,
    /// The session, and its last event that was heard.
    sid: String,
    n: u64,
    /// What was applied, by its place.
    pub(crate) log: BTreeMap<u64, Value>,
    early: BTreeMap<u64, Value>,
    /// The last goodbye.
    pub(crate) bye: Option<Value>,
}

enum Line {
    Socket(Client),
    Stream(Stream),
    Nothing,
}

// === impl ReceivingClient ===

impl ReceivingClient {
    /// Begins to listen at a node, and fetches what there is.
    pub(crate) async fn new(
        user: &'static str,
        transport: TestTransport,
        addr: SocketAddr,
        c: &str,
    ) -> ReceivingClient {
        let mut client = ReceivingClient {
            user,
            transport,
            addr,
            line: Line::Nothing,
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

    /// Comes back at a node with what it knows. Returns what it is told.
    pub(crate) async fn connect(&mut self, addr: SocketAddr) -> Value {
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
                self.line = Line::Socket(client);
                ready
            }
            TestTransport::Stream => {
                let last = (!self.sid.is_empty()).then(|| format!("{}:{}", self.sid, self.n));
                let mut stream = Stream::of(addr, self.user, last.as_deref()).await;
                let ready = stream.expect("ready").await.data;
                self.line = Line::Stream(stream);
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

    /// Fetches what is missing, whatever that is.
    pub(crate) async fn sync(&mut self) {
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

    /// More is missing than one answer holds: reads the log page by page.
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

    /// Listens until it has everything up to `s`.
    pub(crate) async fn receives(&mut self, s: u64) {
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

    /// Listens until the connection is over.
    pub(crate) async fn wait_for_close(&mut self) {
        while self.on_next().await {}
    }

    /// Shows that it knows its session, after which the one that it went on with is over.
    pub(crate) async fn confirm(&mut self) {
        match self.transport {
            TestTransport::Socket => {
                let hb = json!({ "t": "hb", "n": self.n });
                assert_eq!(self.ask(hb).await["t"], "hb");
            }
            // It can't say so but by coming back.
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

    /// The place of the last event that was applied: nothing is missing before it.
    pub(crate) fn last(&self) -> u64 {
        self.log.keys().next_back().copied().unwrap_or(0)
    }

    /// The keys of the messages, in the order of the log.
    pub(crate) fn keys(&self) -> Vec<&str> {
        self.log
            .values()
            .filter_map(|event| event["cid"].as_str())
            .collect()
    }

    /// Asks over the socket; what comes before the answer is heard.
    pub(crate) async fn ask(&mut self, mut command: Value) -> Value {
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
        match &mut self.line {
            Line::Socket(client) => client,
            Line::Stream(_) | Line::Nothing => panic!("{} has no socket", self.user),
        }
    }

    /// Takes what comes next. `false`: nothing does.
    async fn on_next(&mut self) -> bool {
        let event = match &mut self.line {
            Line::Socket(client) => match client.recv().await {
                Incoming::Text(text) => serde_json::from_str(&text).unwrap(),
                Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Binary(_) => return true,
                Incoming::Close(..) | Incoming::End => return false,
            },
            Line::Stream(stream) => match stream.next().await {
                Some(entry) if entry.name == "close" => return true,
                Some(entry) => entry.data,
                None => return false,
            },
            Line::Nothing => {
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

    /// `None`: nobody answers there.
    async fn poll(&self, wait: u64) -> Option<Value> {
        let session = match self.sid.as_str() {
            "" => String::new(),
            sid => format!("&sid={sid}&after={}&wait={wait}", self.n),
        };
        let headers = format!("Authorization: Bearer dev:{}\r\n", self.user);
        let path = format!("/v1/poll?device=phone{session}");
        let answer = exchange(self.addr, "GET", &path, &headers, &Value::Null);
        let (status, answer) = tokio::time::timeout(PATIENCE, answer)
            .await
            .expect("a poll ends")?;
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

    /// The rule.
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
