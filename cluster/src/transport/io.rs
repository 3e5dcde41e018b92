//! Access to the network and to randomness: TCP and the system, or a simulation.
//!
//! All other code (handshake, frames, queues, deadlines, reconnecting) is the same in both.

use std::io;

use futures::future::{self, BoxFuture};

use super::connection::{ReadHalf, WriteHalf};
use super::tls::PeerCertificate;
use crate::ids::NodeId;

/// Environment of a node's transport, beside tokio's clock.
pub(crate) trait NetworkIo: Send + Sync + 'static {
    /// Makes a connection. The caller limits the time.
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<IoStream>>;

    /// Encrypts a new outgoing connection if the node has certificates, and verifies that the other end is the node `to`;
    /// 0 accepts any node. The caller limits the time.
    fn secure_outgoing(&self, stream: IoStream, to: NodeId) -> BoxFuture<'static, io::Result<IoStream>> {
        let _ = to;
        Box::pin(future::ready(Ok(stream)))
    }

    /// Encrypts an accepted connection if the node has certificates, and returns the one of the other end. The caller
    /// limits the time.
    fn secure_incoming(
        &self,
        stream: IoStream,
    ) -> BoxFuture<'static, io::Result<(IoStream, PeerCertificate)>> {
        Box::pin(future::ready(Ok((stream, PeerCertificate::Unchecked))))
    }

    /// Returns the listening side, once. Dropping it stops listening.
    fn listen(&self) -> Option<Box<dyn Acceptor>>;

    /// Fills `bytes` with random bytes for nonces and jitter; unpredictable except in a simulation.
    fn random(&self, bytes: &mut [u8]);
}

pub(crate) trait Acceptor: Send {
    /// Waits for the next incoming connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<IoStream>>;
}

/// Connection as an ordered byte stream in each direction.
pub(crate) struct IoStream {
    pub(crate) reader: ReadHalf,
    pub(crate) writer: WriteHalf,
    /// Address of the other end: the dialled one, or that of the dialler, for the log.
    pub(crate) from: String,
}

pub(crate) fn random_u64(io: &dyn NetworkIo) -> u64 {
    let mut bytes = [0; 8];
    io.random(&mut bytes);
    u64::from_ne_bytes(bytes)
}
