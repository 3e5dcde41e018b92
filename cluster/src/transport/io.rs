//! Access to the network and to randomness: TCP and the system, or a simulation.
//!
//! All other code (handshake, frames, queues, deadlines, reconnecting) is the same in both.

use std::io;

use futures::future::BoxFuture;

use super::connection::{ReadHalf, WriteHalf};

/// Environment of a node's transport, beside tokio's clock.
pub(crate) trait NetworkIo: Send + Sync + 'static {
    /// Makes a connection. The caller limits the time.
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<IoStream>>;

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
    /// Address of the other end, for the log.
    pub(crate) from: String,
}

pub(crate) fn random_u64(io: &dyn NetworkIo) -> u64 {
    let mut bytes = [0; 8];
    io.random(&mut bytes);
    u64::from_ne_bytes(bytes)
}
