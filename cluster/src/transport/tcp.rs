//! Transport over TCP connections, with TLS if the node has certificates.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use parking_lot::Mutex;
use rand::Rng;
use tokio::net::{TcpListener, TcpStream};

use super::endpoint::Endpoint;
use super::io::{Acceptor, IoStream, NetworkIo};
use super::tls::{PeerCertificate, PeerTls};
use super::{ConnectionClass, Error, Handler, Metrics, NodeIdentity, Transport, TransportConfig};
use crate::ids::NodeId;

/// Transport of a real node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TcpTransport {
    endpoint: Endpoint,
    addr: SocketAddr,
}

/// Reason for which a node cannot listen for its peers.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use or not one of this machine's: stop the other process or correct the address.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen { addr: String, source: io::Error },
    /// Anyone who reaches the address could pose as a node: set the same secret on every node.
    #[error("listening for peers on {0}, which is not a loopback address, needs a cluster secret")]
    SecretRequired(SocketAddr),
}

/// Network access over TCP; holds the listener until the transport starts.
struct TcpIo {
    listener: Mutex<Option<TcpListener>>,
    tls: Option<PeerTls>,
}

// === impl TcpTransport ===

impl TcpTransport {
    /// Binds the listen address. The transport's tasks run on the tokio runtime of the caller.
    ///
    /// # Errors
    /// If the address cannot be bound, or it requires a secret and none is set.
    pub async fn bind(config: TransportConfig) -> Result<TcpTransport, BindError> {
        let failed = |source| BindError::Listen {
            addr: config.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        // The bound address decides, since the configured one may be a host name.
        if config.secret.is_empty() && !addr.ip().is_loopback() {
            return Err(BindError::SecretRequired(addr));
        }
        let io = TcpIo {
            listener: Mutex::new(Some(listener)),
            tls: config.tls.clone(),
        };
        let endpoint = Endpoint::new(config, io);
        Ok(TcpTransport { endpoint, addr })
    }

    /// Returns the listen address; for a configured port 0, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn metrics(&self) -> &Metrics {
        self.endpoint.metrics()
    }
}

impl Transport for TcpTransport {
    fn start(&self, me: NodeIdentity, handler: Arc<dyn Handler>) {
        self.endpoint.start(me, handler);
    }

    fn set_peers(&self, peers: Vec<(NodeId, String)>) {
        self.endpoint.set_peers(peers);
    }

    fn call(
        &self,
        to: NodeId,
        class: ConnectionClass,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        self.endpoint.call(to, class, method, body, deadline)
    }

    fn cast(&self, to: NodeId, class: ConnectionClass, method: u16, body: Bytes) -> Result<(), Error> {
        self.endpoint.cast(to, class, method, body)
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

// === impl TcpIo ===

impl NetworkIo for TcpIo {
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<IoStream>> {
        Box::pin(connect(addr.to_owned()))
    }

    fn secure_outgoing(&self, stream: IoStream, to: NodeId) -> BoxFuture<'static, io::Result<IoStream>> {
        let Some(tls) = self.tls.clone() else {
            return Box::pin(future::ready(Ok(stream)));
        };
        Box::pin(async move {
            let addr = stream.from.clone();
            match tls.dial(stream, to).await? {
                Some(stream) => Ok(stream),
                None => connect(addr).await,
            }
        })
    }

    fn secure_incoming(
        &self,
        stream: IoStream,
    ) -> BoxFuture<'static, io::Result<(IoStream, PeerCertificate)>> {
        match self.tls.clone() {
            Some(tls) => Box::pin(async move { tls.accept(stream).await }),
            None => Box::pin(future::ready(Ok((stream, PeerCertificate::Unchecked)))),
        }
    }

    fn listen(&self) -> Option<Box<dyn Acceptor>> {
        self.listener
            .lock()
            .take()
            .map(|listener| Box::new(listener) as Box<dyn Acceptor>)
    }

    fn random(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

impl Acceptor for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<IoStream>> {
        Box::pin(async move {
            let (stream, from) = TcpListener::accept(self).await?;
            socket(stream, from.to_string())
        })
    }
}

async fn connect(addr: String) -> io::Result<IoStream> {
    socket(TcpStream::connect(&addr).await?, addr)
}

fn socket(stream: TcpStream, from: String) -> io::Result<IoStream> {
    // The writer coalesces frames by itself, so Nagle's algorithm would only add delay.
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    Ok(IoStream {
        reader: Box::new(reader),
        writer: Box::new(writer),
        from,
    })
}
