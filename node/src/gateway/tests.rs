//! A gateway with the smallest possible wire format, over real sessions of a real node: each answer and each event is a
//! line of JSON.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use protocol::event::event_frame;
use protocol::{ErrorCode, Request};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::config::{Config, HumanDuration, HumanSize};
use crate::lifecycle::{Running, start};
use crate::session::messages::{Disconnect, ReceivedCommand};
use crate::session::{
    AuthenticatedClient, ClientCredentials, CloseSocket, ConnectionHandle, Framing, OpenedSession,
    OutboundQueue, QueueBounds, ResumePoint, SessionHandle, TransportPolicy, WorkerContext, admit_client,
};

/// Deadline of every wait; the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

/// Node with a worker of its own for the gateway.
struct TestNode {
    running: Running,
    worker: Rc<WorkerContext>,
    _dir: TempDir,
}

/// Framing with a window of unconfirmed events.
struct LineFraming {
    window: Cell<usize>,
    unconfirmed: Cell<usize>,
}

/// Client of the gateway, with both halves of its connection.
struct LineClient {
    session: SessionHandle,
    framing: Rc<LineFraming>,
    lines: VecDeque<Value>,
}

struct NoSocket;

// === impl TestNode ===

impl TestNode {
    async fn start(change: impl FnOnce(&mut Config)) -> TestNode {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".to_owned();
        config.server.admin = String::new();
        config.server.threads = 1;
        config.auth.dev_tokens = true;
        config.cluster.listen = "127.0.0.1:0".to_owned();
        config.cluster.seeds = vec![config.cluster.listen.clone()];
        config.cluster.shards = 2;
        config.storage.dir = dir.path().join("data").display().to_string();
        config.storage.cache_size = HumanSize::mib(4);
        config.storage.free_space_reserve = HumanSize::mib(1);
        config.tuning.timer_tick = HumanDuration::millis(20);
        change(&mut config);
        let running = start(config).await.unwrap();
        let ready = async {
            while running.cluster().ready().is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.unwrap();
        let deps = running.gateway_deps();
        let worker = WorkerContext::start(
            deps.config.clone(),
            deps.auth.clone(),
            deps.conversations.clone(),
            (
                deps.relay.hub(),
                deps.presence.local_presence(),
                deps.sessions.clone(),
                deps.rates.clone(),
            ),
            deps.metrics.clone(),
            "test".to_owned(),
            Arc::clone(&deps.admission),
        );
        TestNode {
            running,
            worker,
            _dir: dir,
        }
    }

    async fn admit(&self, user: &str) -> AuthenticatedClient {
        let credentials = ClientCredentials {
            token: format!("dev:{user}"),
            device: None,
            instance: None,
        };
        admit_client(&self.worker, credentials).await.unwrap()
    }

    /// Opens a session of the client. Returns it after its `ready`.
    async fn open(
        &self,
        mut client: AuthenticatedClient,
        policy: TransportPolicy,
        window: usize,
    ) -> (LineClient, OpenedSession) {
        let (opened_sender, opened) = oneshot::channel();
        client.opened_sender = Some(opened_sender);
        let bounds = QueueBounds::from(&*self.worker.config);
        let socket: Weak<dyn CloseSocket> = Weak::<NoSocket>::new();
        let connection = ConnectionHandle::new(OutboundQueue::new(bounds), socket);
        let framing = LineFraming {
            window: Cell::new(window),
            unconfirmed: Cell::new(0),
        };
        let mut client = LineClient {
            session: SessionHandle::open(self.worker.clone(), connection, policy, Some(client)),
            framing: Rc::new(framing),
            lines: VecDeque::new(),
        };
        let opened = tokio::time::timeout(DEADLINE, opened).await.unwrap().unwrap();
        client.expect("ready").await;
        (client, opened)
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

// === impl LineClient ===

impl LineClient {
    /// Hands these commands to the session in one batch.
    async fn send(&self, commands: &[String]) {
        let received = commands.iter().map(|text| ReceivedCommand {
            request: Request::decode(text).map(Option::unwrap),
            bytes: text.len(),
        });
        self.session.dispatch(received.collect()).await.unwrap();
    }

    /// Reads the next line.
    async fn line(&mut self) -> Value {
        while self.lines.is_empty() {
            let connection = self.session.connection().clone();
            let piece = std::future::poll_fn(|cx| connection.poll_piece(cx, &*self.framing));
            let piece = tokio::time::timeout(DEADLINE, piece).await;
            let piece = piece.expect("a line in time").expect("an open connection");
            let text = String::from_utf8(piece.bytes.to_vec()).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            self.lines.extend(lines);
        }
        self.lines.pop_front().unwrap()
    }

    /// Reads up to the next line with this tag.
    async fn expect(&mut self, tag: &str) -> Value {
        loop {
            let line = self.line().await;
            if line["t"] == tag {
                return line;
            }
        }
    }

    /// Waits until the outbound queue has numbered this many events.
    async fn numbered(&self, least: u64) {
        let numbered = async {
            while self.session.connection().outbox(|outbox| outbox.last_n()) < least {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, numbered).await.unwrap();
    }
}

// === impl LineFraming ===

impl Framing for LineFraming {
    fn takes_event(&self) -> bool {
        self.unconfirmed.get() < self.window.get()
    }

    fn answer(&self, out: &mut BytesMut, body: &[u8]) {
        out.put_slice(body);
        out.put_u8(b'\n');
    }

    fn event(&self, out: &mut BytesMut, n: u64, tail: &[u8]) {
        self.unconfirmed.set(self.unconfirmed.get() + 1);
        out.put_slice(event_frame(n, std::str::from_utf8(tail).unwrap()).as_bytes());
        out.put_u8(b'\n');
    }

    fn ping(&self, _out: &mut BytesMut, _sent: u64) {}

    fn pong(&self, _out: &mut BytesMut, _payload: &[u8]) {}

    fn close(&self, out: &mut BytesMut, code: Option<u16>, _reason: &str) {
        out.put_slice(format!("{{\"t\":\"closed\",\"code\":{}}}\n", code.unwrap_or(0)).as_bytes());
    }
}

impl CloseSocket for NoSocket {
    fn cut(&self) {}
}

fn send_to(user: &str, number: usize) -> String {
    format!(r#"{{"t":"send","id":{number},"to":"{user}","cid":"m{number}","b":{{"text":"{number}"}}}}"#)
}

/// A full window withholds events and passes responses; a confirmation opens it again.
#[actix_web::test]
async fn responses_pass_events_behind_a_full_window() {
    let node = TestNode::start(|_| ()).await;
    let (mut alice, _) = node
        .open(node.admit("alice").await, TransportPolicy::GATEWAY, 2)
        .await;
    let (mut bob, _) = node
        .open(node.admit("bob").await, TransportPolicy::GATEWAY, usize::MAX)
        .await;
    for number in 1..=6 {
        bob.send(&[send_to("alice", number)]).await;
        bob.expect("ack").await;
    }
    // The introduction of the conversation and the six messages.
    alice.numbered(7).await;
    let first = [alice.line().await, alice.line().await];
    assert_eq!(first.map(|line| line["n"].as_u64()), [Some(1), Some(2)]);
    alice.send(&[r#"{"t":"hb","id":9}"#.to_owned()]).await;
    let response = alice.line().await;
    assert_eq!((&response["t"], &response["id"]), (&"hb".into(), &9.into()));

    alice.session.confirm(2);
    let behind = |n| {
        alice
            .session
            .connection()
            .outbox(|outbox| outbox.after(n).is_ok())
    };
    assert!(behind(2) && !behind(1), "the replay buffer is trimmed");
    alice.framing.window.set(usize::MAX);
    alice.session.connection().wake_writer();
    for n in 3..=7_u64 {
        assert_eq!(alice.line().await["n"], n);
    }
    node.stop().await;
}

#[actix_web::test]
async fn gateway_state_is_carried_to_the_resuming_session() {
    let node = TestNode::start(|_| ()).await;
    let (first, opened) = node
        .open(node.admit("alice").await, TransportPolicy::GATEWAY, usize::MAX)
        .await;
    let connection = first.session.connection();
    assert!(connection.gateway_state().is_empty() && !opened.ready.resumed);
    let state = Bytes::from_static(b"subscriptions");
    connection.set_gateway_state(state.clone()).unwrap();
    let large = Bytes::from(vec![0; ConnectionHandle::GATEWAY_STATE_BYTES + 1]);
    assert!(connection.set_gateway_state(large).is_err());
    first.session.disconnect(Disconnect::Lost).await;

    let mut client = node.admit("alice").await;
    client.resume = Some(ResumePoint::parse(&format!("{}:0", opened.ready.session_id)));
    let (second, resumed) = node.open(client, TransportPolicy::GATEWAY, usize::MAX).await;
    assert!(resumed.ready.resumed);
    assert_eq!(second.session.connection().gateway_state(), state);
    node.stop().await;
}

#[actix_web::test]
async fn session_without_expiry_ends_with_its_connection() {
    let node = TestNode::start(|_| ()).await;
    let (first, opened) = node
        .open(node.admit("alice").await, TransportPolicy::GATEWAY, usize::MAX)
        .await;
    first.session.set_expiry(Duration::ZERO).await.unwrap();
    first.session.disconnect(Disconnect::Lost).await;
    let sid = opened.ready.session_id.parse().unwrap();
    let user = "alice".parse().unwrap();
    let ended = async {
        while node.worker.sessions.find(sid, &user, None).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.unwrap();
    node.stop().await;
}

/// The same batch above the rate: a native client is refused, that of a gateway is read more slowly, in order.
#[actix_web::test]
async fn gateway_waits_for_the_rate_instead_of_refusing() {
    let limits = |config: &mut Config| {
        config.limits.sends_per_second = 4;
        config.tuning.sends_burst = Some(8);
    };
    let node = TestNode::start(limits).await;
    let batch: Vec<String> = (1..=16).map(|number| send_to("carol", number)).collect();
    let native = TransportPolicy {
        has_hello: false,
        ..TransportPolicy::WEBSOCKET
    };
    let (mut bob, _) = node.open(node.admit("bob").await, native, usize::MAX).await;
    bob.send(&batch).await;
    let refusal = bob.expect("err").await;
    assert_eq!(refusal["code"], ErrorCode::RateLimited.as_str());

    let (mut alice, _) = node
        .open(node.admit("alice").await, TransportPolicy::GATEWAY, usize::MAX)
        .await;
    let (sent, mut places) = (alice.session.clone(), Vec::new());
    let received = batch.iter().map(|text| ReceivedCommand {
        request: Request::decode(text).map(Option::unwrap),
        bytes: text.len(),
    });
    let received = received.collect();
    let reader = actix_web::rt::spawn(async move { sent.dispatch(received).await });
    while places.len() < batch.len() {
        let line = alice.line().await;
        assert_ne!(line["t"], "err", "{line}");
        if line["t"] == "ack" {
            let number = line["cid"].as_str().unwrap()[1..].parse::<usize>().unwrap();
            places.push((number, line["s"].as_u64().unwrap()));
        }
    }
    // The first message waits for the subscription to its conversation, so the responses may come in another order.
    places.sort_unstable();
    assert!(places.is_sorted_by_key(|(_, seq)| *seq), "{places:?}");
    assert!(places.iter().map(|(number, _)| *number).eq(1..=batch.len()));
    reader.await.unwrap().unwrap();
    node.stop().await;
}

#[actix_web::test]
async fn admission_refuses_with_the_code_for_the_client() {
    let node = TestNode::start(|_| ()).await;
    let admit = async |token: &str, device: Option<String>| {
        let credentials = ClientCredentials {
            token: token.to_owned(),
            device,
            instance: None,
        };
        let admitted = admit_client(&node.worker, credentials).await;
        admitted.map(|_| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!(admit("nonsense", None).await, Err(ErrorCode::Unauthenticated));
    let long = Some("d".repeat(protocol::limits::DEVICE_BYTES + 1));
    assert_eq!(admit("dev:alice", long).await, Err(ErrorCode::BadRequest));
    assert_eq!(admit("dev:alice", Some("phone".to_owned())).await, Ok(()));
    node.stop().await;
}
