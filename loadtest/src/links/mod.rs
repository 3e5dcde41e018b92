//! The wires between the nodes of a local cluster. Every node advertises a door of the harness instead of its own
//! port, so every connection between two nodes goes through here, and can be cut, slowed or broken: each direction of
//! each pair by itself.
//!
//! ```text
//!   node 1 ── dials ──► door of 2 ──► port of 2
//!          1→2: what node 1 says, on connections that either of the two dialled
//!          2→1: what node 2 says, likewise
//! ```
//! Who dials is read from the hello with which every connection between nodes begins (its layout is common to all
//! versions). A cut holds bytes back and closes nothing, as a network that loses every packet would; what was held
//! goes on when the cut heals, as TCP sends it again. Runs on a thread of its own, so that the load's timing isn't its.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// The doors of a cluster. Dropping them closes every connection between its nodes.
pub(crate) struct Links {
    rules: Arc<watch::Sender<Vec<Rule>>>,
    /// Ends the thread when it goes.
    _stop: oneshot::Sender<()>,
}

/// One node's door, and where it leads.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) node: u64,
    pub(crate) listen: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// What one node says to another: `(who speaks, who hears)`.
pub(crate) type Way = (u64, u64);

/// What happens to bytes on some ways.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Effect {
    /// Nothing arrives, and nobody is told.
    Cut,
    /// Everything arrives later, by a time between the two; the order stays.
    Delay(Duration, Duration),
    /// So many of a hundred chunks are lost once, and what follows waits until they were sent again.
    Loss(u8),
    /// Connections are reset, each after a time around this one.
    Reset(Duration),
    /// Bytes a second of each connection.
    Throttle(u64),
}

/// An effect that is on. It goes off when this is dropped.
pub(crate) struct Installed {
    rules: Arc<watch::Sender<Vec<Rule>>>,
    rule: Rule,
}

#[derive(Clone, Debug)]
struct Rule {
    number: u64,
    ways: Arc<[Way]>,
    effect: Effect,
    /// How often it met something.
    touched: Arc<AtomicU64>,
}

/// One way, and the rules that are on.
#[derive(Clone)]
struct Road {
    way: Way,
    rules: watch::Receiver<Vec<Rule>>,
}

/// Bytes under way; no bytes are the end of the stream.
type Chunk = (Instant, Vec<u8>);

/// Before the hello's `from`: the frame's header, magic, versions, lane, cluster.
const FROM: usize = 19 + 4 + 2 + 2 + 1 + 8;
/// The frame's kind stands behind its length and check sum.
const KIND: usize = 8;
const HELLO: u8 = 16;
const MAGIC: &[u8] = b"RKRY";
const CHUNK: usize = 16 << 10;
/// Chunks between reading and writing; what is more waits at its sender.
const QUEUE: usize = 64;
/// When a lost packet is sent again: the shortest that the kernel waits.
const AGAIN: Duration = Duration::from_millis(200);

// === impl Links ===

impl Links {
    /// Opens the doors.
    pub(crate) fn open(doors: &[Door]) -> std::io::Result<Links> {
        let mut listeners = Vec::new();
        for door in doors {
            let listener = std::net::TcpListener::bind(door.listen)?;
            listener.set_nonblocking(true)?;
            listeners.push((listener, door.clone()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let rules = Arc::new(watch::channel(Vec::new()).0);
        let (stop, stopped) = oneshot::channel::<()>();
        let heard = rules.clone();
        std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    for (listener, door) in listeners {
                        match TcpListener::from_std(listener) {
                            Ok(listener) => drop(tokio::spawn(accept(listener, door, heard.clone()))),
                            Err(error) => eprintln!("the door of node {}: {error}", door.node),
                        }
                    }
                    // Ends with an error when the handle is dropped.
                    let _ = stopped.await;
                });
            })?;
        Ok(Links { rules, _stop: stop })
    }

    /// Puts an effect on ways, until the answer is dropped.
    pub(crate) fn install(&self, ways: Vec<Way>, effect: Effect) -> Installed {
        let rule = Rule {
            number: rand::rng().random(),
            ways: ways.into(),
            effect,
            touched: Arc::default(),
        };
        self.rules.send_modify(|rules| rules.push(rule.clone()));
        Installed {
            rules: self.rules.clone(),
            rule,
        }
    }
}

// === impl Installed ===

impl Installed {
    /// How many chunks, connections or resets it has met so far.
    pub(crate) fn touched(&self) -> u64 {
        self.rule.touched.load(Ordering::Relaxed)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        self.rules
            .send_modify(|rules| rules.retain(|rule| rule.number != self.rule.number));
    }
}

// === impl Road ===

impl Road {
    /// The effects that are on for this way, each counted as having met something if `meets` says so.
    fn effects(&self, meets: impl Fn(&Effect) -> bool) -> Vec<Effect> {
        let rules = self.rules.borrow();
        let here = rules.iter().filter(|rule| rule.ways.contains(&self.way));
        here.filter(|rule| meets(&rule.effect))
            .map(|rule| {
                rule.touched.fetch_add(1, Ordering::Relaxed);
                rule.effect
            })
            .collect()
    }

    /// Waits until the way is not cut.
    async fn passable(&mut self) {
        while !self.effects(|effect| *effect == Effect::Cut).is_empty() {
            if self.rules.changed().await.is_err() {
                return;
            }
        }
    }

    /// When a chunk that came now may go on.
    fn due(&self) -> Instant {
        let mut rng = rand::rng();
        let met = self.effects(|effect| match effect {
            Effect::Delay(..) => true,
            Effect::Loss(percent) => rand::rng().random_range(0..100) < *percent,
            _ => false,
        });
        let late = met.into_iter().map(|effect| match effect {
            Effect::Delay(least, most) => rng.random_range(least..=most),
            _ => AGAIN,
        });
        Instant::now() + late.sum::<Duration>()
    }

    /// How long `bytes` take on their way.
    fn takes(&self, bytes: usize) -> Duration {
        self.effects(|effect| matches!(effect, Effect::Throttle(_)))
            .into_iter()
            .map(|effect| match effect {
                Effect::Throttle(rate) => Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64),
                _ => Duration::ZERO,
            })
            .sum()
    }

    /// Returns when a connection is to be reset.
    async fn reset(mut self) {
        loop {
            let every = self.rules.borrow().iter().find_map(|rule| match rule.effect {
                Effect::Reset(every) if rule.ways.contains(&self.way) => Some(every),
                _ => None,
            });
            let Some(every) = every else {
                if self.rules.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            let pause = every.mul_f64(rand::rng().random_range(0.5..1.5));
            tokio::time::sleep(pause).await;
            if !self
                .effects(|effect| matches!(effect, Effect::Reset(_)))
                .is_empty()
            {
                return;
            }
        }
    }
}

async fn accept(listener: TcpListener, door: Door, rules: Arc<watch::Sender<Vec<Rule>>>) -> ! {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(carry(stream, door.clone(), rules.subscribe()))),
            // Out of files, most likely: others will close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Carries one connection from its first byte to its end.
async fn carry(mut dialler: TcpStream, door: Door, rules: watch::Receiver<Vec<Rule>>) {
    let mut first = vec![0; FROM + 8];
    if dialler.read_exact(&mut first).await.is_err() {
        return;
    }
    // Of a node that isn't a member yet, 0: no rule is about it.
    let from = speaker(&first).unwrap_or(0);
    let mut to = Road {
        way: (from, door.node),
        rules: rules.clone(),
    };
    let back = Road {
        way: (door.node, from),
        rules,
    };
    to.passable().await;
    let Ok(mut acceptor) = TcpStream::connect(door.to).await else {
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
        let ((said, heard), (answered, told)) = (dialler.split(), acceptor.split());
        let there = pump(said, told, to, first);
        let again = pump(answered, heard, back, Vec::new());
        tokio::select! {
            // The end of one side is passed on, and the other side has its say; a failure ends both.
            _ = async { tokio::try_join!(there, again) } => false,
            () = reset => true,
        }
    };
    if was_reset {
        let _ = (dialler.set_zero_linger(), acceptor.set_zero_linger());
    }
}

/// Reads who dials from the first bytes of a connection.
fn speaker(first: &[u8]) -> Option<u64> {
    let body = first.get(FROM - 17..)?;
    let hello = first.get(KIND) == Some(&HELLO) && body.starts_with(MAGIC);
    let from = first.get(FROM..FROM + 8)?.try_into().ok()?;
    hello.then(|| u64::from_be_bytes(from))
}

/// Moves one direction of a connection, by the rules of its way.
async fn pump(mut from: ReadHalf<'_>, to: WriteHalf<'_>, way: Road, first: Vec<u8>) -> std::io::Result<()> {
    let (queue, queued) = mpsc::channel::<Chunk>(QUEUE);
    let arriving = way.clone();
    let reading = async move {
        let mut due = arriving.due();
        if !first.is_empty() && queue.send((due, first)).await.is_err() {
            return Ok(());
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            // A broken side says no more, which a cut keeps from the other one too.
            let length = from.read(&mut buffer).await.unwrap_or(0);
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
    mut queued: mpsc::Receiver<Chunk>,
    mut to: WriteHalf<'_>,
    mut way: Road,
) -> std::io::Result<()> {
    while let Some((due, chunk)) = queued.recv().await {
        // Even a sleep of nothing costs a tick of the timer.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
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
