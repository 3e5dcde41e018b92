//! The transport over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand::RngCore;
use tokio::net::{TcpListener, TcpStream};

use super::door::{Acceptor, Door, Socket};
use super::endpoint::Endpoint;
use super::{Error, Handler, Identity, Lane, Metrics, Transport, TransportConfig};
use crate::types::NodeId;

/// The transport of a real node; a cheap handle.
#[derive(Clone, Debug)]
pub struct TcpTransport {
    endpoint: Endpoint,
    addr: SocketAddr,
}

/// Why a node cannot listen for its peers.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not one of this machine's: stop the other process or correct the address.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen {
        /// The address as it was configured.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody who reaches the address could pose as a node: set the same secret on every node.
    #[error("listening for peers on {0}, which is not a loopback address, needs a cluster secret")]
    SecretRequired(SocketAddr),
}

/// The door to TCP; the listener is in it until the transport starts.
struct TcpDoor(Mutex<Option<TcpListener>>);

// === impl TcpTransport ===

impl TcpTransport {
    /// Binds the listen address. The transport's tasks run on the tokio runtime this is called on.
    ///
    /// # Errors
    /// The address cannot be had, or it needs a secret and none is set.
    pub async fn bind(config: TransportConfig) -> Result<TcpTransport, BindError> {
        let failed = |source| BindError::Listen {
            addr: config.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        if config.secret.is_empty() && !addr.ip().is_loopback() {
            return Err(BindError::SecretRequired(addr));
        }
        let endpoint = Endpoint::new(config, TcpDoor(Mutex::new(Some(listener))));
        Ok(TcpTransport { endpoint, addr })
    }

    /// Where it listens: with port 0 configured, the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The transport's counters.
    pub fn metrics(&self) -> &Metrics {
        self.endpoint.metrics()
    }
}

impl Transport for TcpTransport {
    fn start(&self, me: Identity, handler: Arc<dyn Handler>) {
        self.endpoint.start(me, handler);
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        self.endpoint.set_peers(peers);
    }

    fn call(
        &self,
        to: NodeId,
        lane: Lane,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.endpoint.call(to, lane, method, body, deadline)
    }

    fn cast(&self, to: NodeId, lane: Lane, method: u16, body: Bytes) -> Result<(), Error> {
        self.endpoint.cast(to, lane, method, body)
    }

    fn call_addr(
        &self,
        addr: &str,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.endpoint.call_addr(addr, method, body, deadline)
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.endpoint.shutdown()
    }
}

// === impl TcpDoor ===

impl Door for TcpDoor {
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<Socket>> {
        let addr = addr.to_owned();
        Box::pin(async move { socket(TcpStream::connect(&addr).await?, addr) })
    }

    fn listen(&self) -> Option<Box<dyn Acceptor>> {
        self.0
            .lock()
            .take()
            .map(|listener| Box::new(listener) as Box<dyn Acceptor>)
    }

    fn random(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

impl Acceptor for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Socket>> {
        Box::pin(async move {
            let (stream, from) = TcpListener::accept(self).await?;
            socket(stream, from.to_string())
        })
    }
}

fn socket(stream: TcpStream, from: String) -> io::Result<Socket> {
    // The writer has already gathered what there is: waiting for more only adds delay.
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(Socket {
        reader: Box::new(reader),
        writer: Box::new(writer),
        from,
    })
}
