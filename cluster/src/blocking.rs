//! Execution of blocking work: disk reads, writes that wait for an fsync or for a stalled disk.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` on a thread that may block. On a current-thread runtime, as in simulations, it runs in place: another
/// thread would race with the simulated time.
///
/// # Errors
/// If the runtime stops before `work` has run, or `work` panics.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => Ok(work()),
        _ => tokio::task::spawn_blocking(work).await.map_err(io::Error::other),
    }
}

/// Runs blocking `work` immediately on this thread, while tokio moves the thread's other tasks to another one. For
/// short work on the path of every message: no thread switch delays it. In a simulation as [`blocking`].
pub(crate) fn run_blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        // `block_in_place` panics on a current-thread runtime.
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}
