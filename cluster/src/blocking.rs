//! The doors to work that blocks: reads of the disk, writes that wait for an fsync, or for a disk that has stalled.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` on a thread that may block. A simulation has one thread and a disk that never blocks: there it runs in
/// place, since another thread would race with the simulated time.
///
/// # Errors
/// When the runtime stops first.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}

/// Runs `work`, which may block, at once and on this thread; the other tasks of the thread go on on another one. For what is
/// short as a rule, and in the way of every message: it waits for no thread. In a simulation as in [`blocking`].
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}
