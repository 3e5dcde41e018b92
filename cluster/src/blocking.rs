//! The door to work that blocks: reads of the disk, and writes that wait for an fsync.

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
