//! Proxy for the connections between the nodes of a local cluster.
//!
//! Every node advertises an endpoint of the harness instead of its own port. All connections between two nodes pass
//! through here, and can be cut, delayed or broken, each direction of each pair separately.
//!
//! ```text
//!   node 1 ── dials ──► endpoint of 2 ──► port of 2
//!          1→2: bytes that node 1 sends, on connections dialled by either of the two
//!          2→1: bytes that node 2 sends, likewise
//! ```
//!
//! The dialling node is read from the hello that begins every connection between nodes. Its layout is common to all
//! versions.
//!
//! A cut holds bytes and closes nothing, like a network that loses every packet. The bytes continue when the cut heals,
//! as after a TCP retransmission.
//!
//! The proxy has a thread of its own, so that it does not disturb the timing of the load.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::server_internals::{HELLO_PREFIX, hello_sender};

/// Endpoints of a cluster. Dropping them closes every connection between its nodes.
pub(crate) struct NetworkProxy {
    rules: Arc<watch::Sender<Vec<ActiveFault>>>,
    /// Ends the thread on drop.
    _stop: oneshot::Sender<()>,
}

/// Endpoint of one node, and the address that it forwards to.
#[derive(Clone, Debug)]
pub(crate) struct ProxyEndpoint {
    pub(crate) node: u64,
    pub(crate) listen: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// Direction between two nodes: (sender, receiver).
pub(crate) type Direction = (u64, u64);

/// Effect on the bytes of some directions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum NetworkFault {
    /// Nothing arrives, and no connection is closed.
    Cut,
    /// Everything arrives later, by a time between the two values; the order is kept.
    Delay(Duration, Duration),
    /// This percentage of the chunks is lost once; later chunks wait for the retransmission.
    Loss(u8),
    /// Connections are reset, each after about this time.
    Reset(Duration),
    /// Limit of each connection, in bytes per second.
    Throttle(u64),
}

/// Guard for an active effect, which ends on drop.
pub(crate) struct FaultGuard {
    rules: Arc<watch::Sender<Vec<ActiveFault>>>,
    rule: ActiveFault,
}

#[derive(Clone, Debug)]
struct ActiveFault {
    number: u64,
    ways: Arc<[Direction]>,
    effect: NetworkFault,
    /// Number of chunks, connections or resets that the effect applied to.
    touched: Arc<AtomicU64>,
}

/// One direction, and the active faults.
#[derive(Clone)]
struct ProxyPath {
    way: Direction,
    rules: watch::Receiver<Vec<ActiveFault>>,
}

/// Bytes with the earliest time of their delivery; an empty chunk is the end of the stream.
type ProxyChunk = (Instant, Vec<u8>);

const CHUNK: usize = 16 << 10;
/// Number of chunks between reading and writing; beyond it, backpressure reaches the sender.
const QUEUE: usize = 64;
/// Delay of a retransmission: the kernel's minimum.
const AGAIN: Duration = Duration::from_millis(200);

// === impl NetworkProxy ===

impl NetworkProxy {
    /// Binds the endpoints, and starts the proxy's thread.
    pub(crate) fn open(endpoints: &[ProxyEndpoint]) -> std::io::Result<NetworkProxy> {
        let mut listeners = Vec::new();
        // Bound here, so that an occupied port is an error of this call.
        for endpoint in endpoints {
            let listener = std::net::TcpListener::bind(endpoint.listen)?;
            listener.set_nonblocking(true)?;
            listeners.push((listener, endpoint.clone()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let rules = Arc::new(watch::channel(Vec::new()).0);
        let (stop, stopped) = oneshot::channel::<()>();
        let shared_rules = rules.clone();
        std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    for (listener, endpoint) in listeners {
                        match TcpListener::from_std(listener) {
                            Ok(listener) => {
                                drop(tokio::spawn(accept(listener, endpoint, shared_rules.clone())))
                            }
                            Err(error) => eprintln!("the proxy endpoint of node {}: {error}", endpoint.node),
                        }
                    }
                    // The result is an error, because the sender is dropped and never used.
                    let _ = stopped.await;
                });
            })?;
        Ok(NetworkProxy { rules, _stop: stop })
    }

    /// Applies an effect to directions, until the guard is dropped.
    pub(crate) fn install(&self, ways: Vec<Direction>, effect: NetworkFault) -> FaultGuard {
        let rule = ActiveFault {
            number: rand::rng().random(),
            ways: ways.into(),
            effect,
            touched: Arc::default(),
        };
        self.rules.send_modify(|rules| rules.push(rule.clone()));
        FaultGuard {
            rules: self.rules.clone(),
            rule,
        }
    }
}

// === impl FaultGuard ===

impl FaultGuard {
    /// Returns the number of chunks, connections or resets that the effect applied to.
    pub(crate) fn touched(&self) -> u64 {
        self.rule.touched.load(Ordering::Relaxed)
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        self.rules
            .send_modify(|rules| rules.retain(|rule| rule.number != self.rule.number));
    }
}

// === impl ProxyPath ===

impl ProxyPath {
    /// Returns the active effects on this direction that `meets` accepts, and counts each as applied.
    fn effects(&self, meets: impl Fn(&NetworkFault) -> bool) -> Vec<NetworkFault> {
        let rules = self.rules.borrow();
        let here = rules.iter().filter(|rule| rule.ways.contains(&self.way));
        here.filter(|rule| meets(&rule.effect))
            .map(|rule| {
                rule.touched.fetch_add(1, Ordering::Relaxed);
                rule.effect
            })
            .collect()
    }

    /// Waits until the direction is not cut.
    async fn passable(&mut self) {
        while !self.effects(|effect| *effect == NetworkFault::Cut).is_empty() {
            if self.rules.changed().await.is_err() {
                return;
            }
        }
    }

    /// Returns the time at which a chunk that arrives now may be delivered.
    fn due(&self) -> Instant {
        let mut rng = rand::rng();
        let met = self.effects(|effect| match effect {
            NetworkFault::Delay(..) => true,
            NetworkFault::Loss(percent) => rand::rng().random_range(0..100) < *percent,
            _ => false,
        });
        let late = met.into_iter().map(|effect| match effect {
            NetworkFault::Delay(least, most) => rng.random_range(least..=most),
            _ => AGAIN,
        });
        Instant::now() + late.sum::<Duration>()
    }

    /// Returns the transmission time of `bytes` under the active limits.
    fn takes(&self, bytes: usize) -> Duration {
        self.effects(|effect| matches!(effect, NetworkFault::Throttle(_)))
            .into_iter()
            .map(|effect| match effect {
                NetworkFault::Throttle(rate) => Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64),
                _ => Duration::ZERO,
            })
            .sum()
    }

    /// Waits until the connection has to be reset.
    async fn reset(mut self) {
        loop {
            let every = self.rules.borrow().iter().find_map(|rule| match rule.effect {
                NetworkFault::Reset(every) if rule.ways.contains(&self.way) => Some(every),
                _ => None,
            });
            let Some(every) = every else {
                if self.rules.changed().await.is_err() {
                    // The proxy ends. Returning would reset the connection instead of closing it.
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let pause = every.mul_f64(rand::rng().random_range(0.5..1.5));
            tokio::time::sleep(pause).await;
            // Checked again: the fault may have been removed during the pause.
            if !self
                .effects(|effect| matches!(effect, NetworkFault::Reset(_)))
                .is_empty()
            {
                return;
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    endpoint: ProxyEndpoint,
    rules: Arc<watch::Sender<Vec<ActiveFault>>>,
) -> ! {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(carry(stream, endpoint.clone(), rules.subscribe()))),
            // Probably out of file descriptors; other connections will release some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Forwards one connection from its first byte to its end.
async fn carry(mut dialler: TcpStream, endpoint: ProxyEndpoint, rules: watch::Receiver<Vec<ActiveFault>>) {
    let mut first = vec![0; HELLO_PREFIX];
    if dialler.read_exact(&mut first).await.is_err() {
        return;
    }
    // 0 for a node that is not a member yet; no fault applies to it.
    let from = hello_sender(&first).unwrap_or(0);
    let mut to = ProxyPath {
        way: (from, endpoint.node),
        rules: rules.clone(),
    };
    let back = ProxyPath {
        way: (endpoint.node, from),
        rules,
    };
    // Before the connect: a cut must keep the connection itself from the other node as well.
    to.passable().await;
    let Ok(mut acceptor) = TcpStream::connect(endpoint.to).await else {
        return;
    };
    let _ = (dialler.set_nodelay(true), acceptor.set_nodelay(true));
    let (one, other) = (to.clone().reset(), back.clone().reset());
    let reset = async {
        tokio::select! {
            () = one => {}
            () = other => {}
        }
    };
    let was_reset = {
        let ((from_dialler, to_dialler), (from_acceptor, to_acceptor)) = (dialler.split(), acceptor.split());
        let there = forward(from_dialler, to_acceptor, to, first);
        let again = forward(from_acceptor, to_dialler, back, Vec::new());
        tokio::select! {
            // The end of one direction is forwarded, and the other direction continues. A failure ends both.
            _ = async { tokio::try_join!(there, again) } => false,
            () = reset => true,
        }
    };
    if was_reset {
        // Without lingering, the close sends a RST, as a real reset would.
        let _ = (dialler.set_zero_linger(), acceptor.set_zero_linger());
    }
}

/// Forwards one direction of a connection, subject to the faults of this direction.
async fn forward(
    mut from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: ProxyPath,
    first: Vec<u8>,
) -> std::io::Result<()> {
    let (queue, queued) = mpsc::channel::<ProxyChunk>(QUEUE);
    let arriving = way.clone();
    let reading = async move {
        let mut due = arriving.due();
        if !first.is_empty() && queue.send((due, first)).await.is_err() {
            return Ok(());
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            // A read error counts as the end of the stream, which a cut must hold back as well.
            let length = from.read(&mut buffer).await.unwrap_or(0);
            // `max`: a chunk must not overtake an earlier one that has a longer delay.
            due = due.max(arriving.due());
            let sent = queue.send((due, buffer[..length].to_vec())).await;
            if length == 0 || sent.is_err() {
                return Ok::<(), std::io::Error>(());
            }
        }
    };
    tokio::try_join!(reading, write(queued, to, way)).map(|_| ())
}

async fn write(
    mut queued: mpsc::Receiver<ProxyChunk>,
    mut to: WriteHalf<'_>,
    mut way: ProxyPath,
) -> std::io::Result<()> {
    while let Some((due, chunk)) = queued.recv().await {
        // Even a sleep until now costs a tick of the timer.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        // After the delay: a cut that began in the meantime holds the chunk.
        way.passable().await;
        if chunk.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(&chunk).await?;
        let takes = way.takes(chunk.len());
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
    }
    Ok(())
}
