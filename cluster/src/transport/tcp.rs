//! The transport over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{self, BoxFuture};

use super::{Error, Handler, Identity, Lane, Metrics, Transport, TransportConfig};
use crate::types::NodeId;

/// The transport of a real node; a cheap handle.
#[derive(Clone, Debug)]
pub struct TcpTransport {
    addr: SocketAddr,
    metrics: Metrics,
}

/// Why a node cannot listen for its peers.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not one of this machine's.
    #[error("cannot listen for peers on {addr}: {source}")]
    Listen {
        /// The address as it was configured.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anybody who reaches the address could pose as a node.
    #[error("listening for peers on {0}, which is not a loopback address, needs a cluster secret")]
    SecretRequired(SocketAddr),
}

// === impl TcpTransport ===

impl TcpTransport {
    /// Binds the listen address. The transport's tasks run on the tokio runtime this is called on.
    ///
    /// # Errors
    /// The address cannot be had, or it needs a secret and none is set.
    pub async fn bind(config: TransportConfig) -> Result<TcpTransport, BindError> {
        let failed = |source| BindError::Listen { addr: config.listen.clone(), source };
        let listener = tokio::net::TcpListener::bind(&config.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(TcpTransport { addr, metrics: Metrics::default() })
    }

    /// Where it listens: with port 0 configured, the port the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// The transport's counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl Transport for TcpTransport {
    fn start(&self, _me: Identity, _handler: Arc<dyn Handler>) {}

    fn set_peers(&self, _peers: Vec<(NodeId, String)>) {}

    fn call(
        &self,
        _to: NodeId,
        _lane: Lane,
        _method: u16,
        _body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        Box::pin(future::ready(Err(Error::Closed)))
    }

    fn cast(&self, _to: NodeId, _lane: Lane, _method: u16, _body: Bytes) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn call_addr(
        &self,
        _addr: &str,
        _method: u16,
        _body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>> {
        Box::pin(future::ready(Err(Error::Closed)))
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        Box::pin(future::ready(()))
    }
}
