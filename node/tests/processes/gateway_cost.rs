//! Cost of each transport beside the native WebSocket: memory of an idle connection, and CPU time of a delivery. A
//! measurement, which `scripts/gateway-cost.sh` runs and whose figures mean something for a release build alone.
//!
//! Every round has a node of its own, and begins with another transport. Memory is the growth of the resident set while
//! the connections open, none of which closes before the round's last figure. CPU time is that of all threads of the
//! node, less that of the same messages without a receiver.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use node::testkit::cable::{BASE, Cable, INBOX};
use node::testkit::{
    Client, Incoming, MqttClient, MqttConnect, MqttPacket, ProcessGuard, SocketIoClient, ask, eventually,
    exchange, figure, masked, program, reserved_addr,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Connections that are opened at once.
const OPENING: usize = 20;
/// Interval of the pings of an MQTT client.
const MQTT_PING: Duration = Duration::from_secs(20);
/// Opcode of a pong.
const PONG: u8 = 10;

/// Transport of a connection, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CostTransport {
    Native,
    SocketIo,
    Cable,
    /// MQTT 5 with subscriptions of this quality.
    Mqtt(u8),
}

const TRANSPORTS: [CostTransport; 5] = [
    CostTransport::Native,
    CostTransport::SocketIo,
    CostTransport::Cable,
    CostTransport::Mqtt(0),
    CostTransport::Mqtt(1),
];

/// Size of the measurement.
struct CostPlan {
    connections: usize,
    receivers: usize,
    messages: u64,
    rounds: usize,
}

/// Node under measurement.
struct MeasuredNode {
    process: ProcessGuard,
    http: SocketAddr,
    mqtt: SocketAddr,
    _dir: TempDir,
}

/// Open connection, of which only messages and pings are read.
enum CostClient {
    WebSocket(Client),
    Mqtt(MqttClient),
}

/// Connection whose client runs in a task until it is dropped.
struct RunningClient {
    task: JoinHandle<()>,
    /// Messages so far.
    received: Arc<AtomicU64>,
}

/// Figures of one transport, one of each round.
#[derive(Default)]
struct CostFigures {
    bytes: Vec<u64>,
    nanoseconds: Vec<u64>,
}

// === impl CostTransport ===

impl CostTransport {
    fn name(self) -> &'static str {
        match self {
            CostTransport::Native => "native",
            CostTransport::SocketIo => "socketio",
            CostTransport::Cable => "cable",
            CostTransport::Mqtt(0) => "mqtt-qos0",
            CostTransport::Mqtt(_) => "mqtt-qos1",
        }
    }
}

// === impl CostPlan ===

impl CostPlan {
    fn from_env() -> CostPlan {
        let number = |name: &str, default: usize| {
            let value = std::env::var(name).ok();
            value.map_or(default, |value| value.parse().unwrap())
        };
        CostPlan {
            connections: number("CONNECTIONS", 1_000),
            receivers: number("RECEIVERS", 200),
            messages: number("MESSAGES", 300) as u64,
            rounds: number("ROUNDS", 3),
        }
    }
}

// === impl MeasuredNode ===

impl MeasuredNode {
    async fn start() -> MeasuredNode {
        let dir = tempfile::tempdir().unwrap();
        let [http, mqtt, between] = [reserved_addr(), reserved_addr(), reserved_addr()];
        // Sessions of clients that have left end soon, or they would receive the messages of the next phase.
        let settings = format!(
            "[server]\nlisten = \"{http}\"\nadmin = \"\"\nthreads = 2\nunauthenticated_per_address = 100000\n\
             [mqtt]\nlisten = \"{mqtt}\"\n[cluster]\nlisten = \"{between}\"\nseeds = [\"{between}\"]\nshards = 4\n\
             [auth]\ndev_tokens = true\n[session]\nresume_timeout = \"1s\"\n\
             [limits]\nsends_per_second = 100000\nqueries_per_second = 100000\nadditions_per_day = 1000\n\
             [storage]\nfree_space_reserve = \"1MiB\"\ndir = {:?}\n",
            dir.path().join("data")
        );
        let file = dir.path().join("node.toml");
        std::fs::write(&file, settings).unwrap();
        let mut command = std::env::var_os("ROOKERY_BIN").map_or_else(program, Command::new);
        let log = std::fs::File::create(dir.path().join("node.log")).unwrap();
        let process = command.args(["node", "--config"]).arg(file).stderr(log).spawn();
        let process = ProcessGuard(process.unwrap());
        eventually("the node is ready", async || {
            let ready = exchange(http, "GET", "/readyz", "", &Value::Null).await;
            ready.is_some_and(|(status, _)| status == 200)
        })
        .await;
        MeasuredNode {
            process,
            http,
            mqtt,
            _dir: dir,
        }
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.process.0.id())).unwrap()
    }

    /// Returns the resident set in bytes.
    fn memory(&self) -> u64 {
        let status = self.proc_file("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1_024
    }

    /// Returns the CPU time of all threads in nanoseconds.
    fn cpu_time(&self) -> u64 {
        let tasks = format!("/proc/{}/task", self.process.0.id());
        let threads = std::fs::read_dir(tasks).unwrap();
        let times = threads.filter_map(|thread| {
            // A thread may end meanwhile.
            let times = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            times.split(' ').next()?.parse::<u64>().ok()
        });
        times.sum()
    }

    /// Waits until no client is connected, and no session waits for one.
    async fn is_empty(&self) {
        for gauge in ["rookery_sessions", "rookery_sessions_detached"] {
            eventually(&format!("{gauge} is 0"), async || {
                figure(self.http, gauge).await == 0
            })
            .await;
        }
    }

    async fn open(&self, transport: CostTransport, user: String) -> RunningClient {
        let client = CostClient::open(self, transport, &user).await;
        let received = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(client.run(received.clone()));
        RunningClient { task, received }
    }

    async fn open_all(&self, transport: CostTransport, users: Vec<String>) -> Vec<RunningClient> {
        let opening = futures::stream::iter(users).map(|user| self.open(transport, user));
        opening.buffer_unordered(OPENING).collect().await
    }

    /// Returns the memory of an idle connection in bytes.
    async fn idle_memory(
        &self,
        transport: CostTransport,
        plan: &CostPlan,
        open: &mut Vec<RunningClient>,
    ) -> u64 {
        let users = (0..plan.connections).map(|at| format!("{}-{at}", transport.name()));
        let before = self.memory();
        open.extend(self.open_all(transport, users.collect()).await);
        // What the beginning of a session needs is done.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.memory().saturating_sub(before) / plan.connections as u64
    }

    /// Sends the messages, and returns the CPU time until `is_received`.
    async fn time_of(&self, c: &str, tag: &str, messages: u64, is_received: impl Fn() -> bool) -> u64 {
        let mut alice = alice(self.http).await;
        let before = self.cpu_time();
        for message in 0..messages {
            send(&mut alice, c, &format!("{tag}-{message}")).await;
        }
        eventually("every message is received", async || is_received()).await;
        self.cpu_time() - before
    }

    /// Returns the CPU time of a delivery in nanoseconds. `unreceived`: that of the same messages without a receiver.
    async fn delivery_time(
        &self,
        (transport, round): (CostTransport, usize),
        c: &str,
        plan: &CostPlan,
        unreceived: u64,
    ) -> u64 {
        let users = (0..plan.receivers).map(receiver).collect();
        let clients = self.open_all(transport, users).await;
        let tag = format!("{round}-{}", transport.name());
        // A session may follow its conversations a moment later.
        let mut alice = alice(self.http).await;
        let mut warm = 0;
        while clients.iter().any(|client| client.count() == 0) {
            send(&mut alice, c, &format!("{tag}-warm-{warm}")).await;
            warm += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(alice);
        let sum = || clients.iter().map(RunningClient::count).sum::<u64>();
        let mut before = sum();
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if std::mem::replace(&mut before, sum()) == before {
                break;
            }
        }
        let before = sum();
        let deliveries = plan.receivers as u64 * plan.messages;
        let time = self
            .time_of(c, &tag, plan.messages, || sum() >= before + deliveries)
            .await;
        drop(clients);
        self.is_empty().await;
        time.saturating_sub(unreceived) / deliveries
    }
}

fn receiver(at: usize) -> String {
    format!("receiver{at}")
}

async fn alice(addr: SocketAddr) -> Client {
    let mut alice = Client::upgrade(addr, "Authorization: Bearer dev:alice\r\n", None).await;
    alice.expect("ready").await;
    alice
}

async fn send(alice: &mut Client, c: &str, cid: &str) {
    let send = json!({"t": "send", "id": 1, "c": c, "cid": cid, "b": {"text": "x".repeat(100)}});
    assert_eq!(alice.ask(1, &send.to_string()).await["t"], "ack");
}

// === impl CostClient ===

impl CostClient {
    /// Opens the connection of a user, which follows the user's conversations.
    async fn open(node: &MeasuredNode, transport: CostTransport, user: &str) -> CostClient {
        match transport {
            CostTransport::Native => {
                let bearer = format!("Authorization: Bearer dev:{user}\r\n");
                let mut client = Client::upgrade(node.http, &bearer, None).await;
                client.expect("ready").await;
                client.ask(1, r#"{"t":"sync","id":1,"have":[]}"#).await;
                CostClient::WebSocket(client)
            }
            CostTransport::SocketIo => {
                CostClient::WebSocket(SocketIoClient::of(node.http, user).await.client)
            }
            CostTransport::Cable => {
                let mut cable = Cable::of(node.http, BASE, user).await;
                assert_eq!(cable.subscribe(INBOX).await, "confirm_subscription");
                cable.perform(INBOX, json!({"action": "sync", "have": []})).await;
                CostClient::WebSocket(cable.client)
            }
            CostTransport::Mqtt(quality) => {
                // Not the user's name alone: the client of the other quality would be displaced.
                let connect = MqttConnect::clean(5, user, &format!("{user}-{}", transport.name()));
                let mut client = MqttClient::connect_at(node.mqtt, &connect).await.0;
                assert_eq!(client.subscribe("u/me/events", quality).await, quality);
                CostClient::Mqtt(client)
            }
        }
    }

    /// Counts the messages, and answers the pings of the server.
    async fn run(self, received: Arc<AtomicU64>) {
        match self {
            CostClient::WebSocket(mut client) => loop {
                match client.recv().await {
                    Incoming::Text(text) if text == "2" => client.send("3").await,
                    Incoming::Text(text) => count(text.as_bytes(), &received),
                    Incoming::Ping(payload) => client.raw(&masked(PONG, true, &payload)).await,
                    Incoming::Close(..) | Incoming::End => return,
                    Incoming::Binary(_) | Incoming::Pong(_) => {}
                }
            },
            CostClient::Mqtt(mut client) => {
                let mut ping = tokio::time::interval(MQTT_PING);
                loop {
                    tokio::select! {
                        packet = client.next() => {
                            count(&packet.body, &received);
                            if let Some(packet_id) = packet_id(&packet) {
                                client.ack(packet_id).await;
                            }
                        }
                        _ = ping.tick() => client.send(&[0xC0, 0]).await,
                    }
                }
            }
        }
    }
}

fn count(message: &[u8], received: &AtomicU64) {
    const MARK: &[u8] = br#""t":"msg""#;
    if message.windows(MARK.len()).any(|part| part == MARK) {
        received.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the packet id of a message that has to be acknowledged.
fn packet_id(packet: &MqttPacket) -> Option<u16> {
    let is_acked = packet.first & 0xF6 == 0x32;
    let topic = usize::from(u16::from_be_bytes([*packet.body.first()?, *packet.body.get(1)?]));
    let id = packet.body.get(2 + topic..4 + topic)?;
    is_acked.then(|| u16::from_be_bytes([id[0], id[1]]))
}

// === impl RunningClient ===

impl RunningClient {
    fn count(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for RunningClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: scripts/gateway-cost.sh"]
async fn gateways_beside_the_native_websocket() {
    let plan = CostPlan::from_env();
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let mut figures: Vec<CostFigures> = TRANSPORTS.iter().map(|_| CostFigures::default()).collect();
    for round in 0..plan.rounds {
        let order = (0..TRANSPORTS.len()).map(|at| (at + round) % TRANSPORTS.len());
        let order: Vec<usize> = order.collect();
        let node = MeasuredNode::start().await;
        let members: Vec<String> = (0..plan.receivers).map(receiver).collect();
        let make = ("POST", "/v1/conversations", "make");
        let (status, made) = ask(
            node.http,
            "alice",
            make,
            json!({"kind": "group", "members": members}),
        )
        .await;
        assert_eq!(status, 201, "{made}");
        let c = made["c"].as_str().unwrap();

        let mut open = Vec::new();
        for transport in TRANSPORTS {
            let users = (0..20).map(|at| format!("first{at}")).collect();
            open.extend(node.open_all(transport, users).await);
        }
        for &at in &order {
            let bytes = node.idle_memory(TRANSPORTS[at], &plan, &mut open).await;
            figures[at].bytes.push(bytes);
        }
        drop(open);
        node.is_empty().await;

        let unreceived = node
            .time_of(c, &format!("{round}-none"), plan.messages, || true)
            .await;
        node.is_empty().await;
        for &at in &order {
            let measured = (TRANSPORTS[at], round);
            let time = node.delivery_time(measured, c, &plan, unreceived).await;
            figures[at].nanoseconds.push(time);
        }
        eprintln!("round {} of {}", round + 1, plan.rounds);
    }
    report(&figures);
}

/// Prints the medians, each with its ratio to the native one.
fn report(figures: &[CostFigures]) {
    let median = |of: &[u64]| {
        let mut sorted = of.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    let of = |figures: &CostFigures| (median(&figures.bytes), median(&figures.nanoseconds));
    let native = of(&figures[0]);
    let ratio = |value: u64, native: u64| value as f64 / native.max(1) as f64;
    println!("transport   bytes/connection  ratio   ns CPU/delivery  ratio   (all rounds)");
    for (transport, figures) in TRANSPORTS.iter().zip(figures) {
        let (bytes, nanoseconds) = of(figures);
        println!(
            "{:<10}  {bytes:>16}  {:>5.2}  {nanoseconds:>16}  {:>5.2}   {:?} {:?}",
            transport.name(),
            ratio(bytes, native.0),
            ratio(nanoseconds, native.1),
            figures.bytes,
            figures.nanoseconds,
        );
    }
}
