//! The door to the network and to randomness: behind it are TCP and the system, or a simulation.
//!
//! Everything on this side of the door (handshake, frames, lanes, deadlines, reconnecting) is the same code in both.

use std::io;

use futures::future::BoxFuture;

use super::wire::{ReadHalf, WriteHalf};

/// What a node's transport needs of the world, beside tokio's clock.
pub(crate) trait Door: Send + Sync + 'static {
    /// Makes a connection. The caller limits the time.
    fn connect(&self, addr: &str) -> BoxFuture<'static, io::Result<Socket>>;

    /// Hands over the listening side, once. Dropping it stops listening.
    fn listen(&self) -> Option<Box<dyn Acceptor>>;

    /// Fills `bytes` for nonces and jitter; unpredictable except in a simulation.
    fn random(&self, bytes: &mut [u8]);
}

/// The listening side of a door.
pub(crate) trait Acceptor: Send {
    /// Waits for the next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Socket>>;
}

/// One connection: an ordered stream of bytes in each direction.
pub(crate) struct Socket {
    pub(crate) reader: ReadHalf,
    pub(crate) writer: WriteHalf,
    /// The other end, for the log.
    pub(crate) from: String,
}

/// A random number.
pub(crate) fn random_u64(door: &dyn Door) -> u64 {
    let mut bytes = [0; 8];
    door.random(&mut bytes);
    u64::from_ne_bytes(bytes)
}
