//! Opens connections from several source addresses, limited in concurrency and rate.
//!
//! One source address has some 28,000 ports for one destination. Further addresses (127.0.0.0/8, or those of the
//! machine) carry further connections.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Opens the connections of one process.
pub(crate) struct Connector {
    sources: Vec<IpAddr>,
    turn: Cell<usize>,
    /// Minimum time between two connections.
    gap: Duration,
    /// Earliest time of the next connection.
    next: Cell<Option<Instant>>,
    at_once: Semaphore,
}

/// Timeout of the TCP handshake.
const PATIENCE: Duration = Duration::from_secs(3);

/// Open files that a run needs besides its connections.
const OTHER_FILES: u64 = 64;

/// Raises the limit of open files to its maximum. Each client needs one file, here and in the local nodes, which
/// inherit the limit.
pub(crate) fn permit_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A failure is ignored: refused connections are counted in the report.
    let _refused = setrlimit(Resource::Nofile, limit);
}

/// Checks that this number of connections is within the limit of open files.
pub(crate) fn permitted(connections: u64) -> Result<(), String> {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if connections + OTHER_FILES > limit => Err(format!(
            "{connections} connections need as many open files, but RLIMIT_NOFILE is {limit} (ulimit -Hn): raise it, or use workers"
        )),
        _ => Ok(()),
    }
}

// === impl Connector ===

impl Connector {
    /// Creates a connector. With empty `sources` the system chooses; `rate` is in connections per second.
    pub(crate) fn new(sources: Vec<IpAddr>, rate: Option<f64>, at_once: usize) -> Connector {
        Connector {
            sources,
            turn: Cell::new(0),
            gap: rate.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(1.0 / rate.max(1e-3))
            }),
            next: Cell::new(None),
            at_once: Semaphore::new(at_once),
        }
    }

    /// Waits for permission to open a connection. The permit must be held until the handshakes are over.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed, so `None` cannot occur.
        let permit = self.at_once.acquire().await.ok();
        if !self.gap.is_zero() {
            let now = Instant::now();
            let at = self.next.get().map_or(now, |next| next.max(now));
            // Reserved before the sleep: tasks that wait at the same time get consecutive times.
            self.next.set(Some(at + self.gap));
            tokio::time::sleep_until(at).await;
        }
        permit
    }

    /// Connects to `host:port` from the next source address in turn.
    pub(crate) async fn connect(&self, node: &str) -> io::Result<TcpStream> {
        let stream = tokio::time::timeout(PATIENCE, self.open(node)).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        // Without it, Nagle's algorithm would add up to 40 ms to the measured latencies.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn open(&self, node: &str) -> io::Result<TcpStream> {
        if self.sources.is_empty() {
            return TcpStream::connect(node).await;
        }
        let source = self.sources[self.turn.get() % self.sources.len()];
        self.turn.set(self.turn.get().wrapping_add(1));
        let mut addresses = tokio::net::lookup_host(node).await?;
        let address = addresses.find(|address| address.is_ipv4() == source.is_ipv4());
        let address = address.ok_or_else(|| {
            io::Error::other(format!(
                "{node} has no address of the address family of the source {source}"
            ))
        })?;
        let socket = if source.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(address).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::SourceAddresses;
    use tokio::net::TcpListener;

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test)
    }

    #[test]
    fn connections_come_from_each_source_in_turn() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let node = listener.local_addr().unwrap().to_string();
            let sources = "127.0.0.2-127.0.0.3".parse::<SourceAddresses>().unwrap().0;
            let dialer = Connector::new(sources, None, 4);
            let mut seen = Vec::new();
            for _ in 0..4 {
                let _ours = dialer.connect(&node).await.unwrap();
                seen.push(listener.accept().await.unwrap().1.ip().to_string());
            }
            assert_eq!(seen, ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
        });
    }

    #[test]
    fn more_connections_than_files_are_refused_by_number() {
        assert_eq!(permitted(1), Ok(()));
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            let refused = permitted(limit).unwrap_err();
            assert!(refused.contains(&limit.to_string()), "{refused}");
        }
    }

    #[test]
    fn a_rate_spaces_connections() {
        run(async {
            let dialer = Connector::new(Vec::new(), Some(200.0), 64);
            let began = Instant::now();
            let all = (0..11).map(|_| dialer.turn());
            futures::future::join_all(all).await;
            assert!(began.elapsed() >= Duration::from_millis(50), "ten gaps of 5 ms");
        });
    }
}
