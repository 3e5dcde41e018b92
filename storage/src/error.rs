//! What can go wrong, by what the caller does next.

use std::path::PathBuf;
use std::sync::Arc;

/// An error of the store. Cheap to clone: one failed round answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A write or an fsync failed earlier: nothing is acknowledged any more. Step down and stop the process;
    /// only a new start may look at the disk again.
    #[error("store is poisoned, restart the process: {0}")]
    Poisoned(Arc<str>),
    /// The store was closed. Nothing was written.
    #[error("store is closed")]
    Closed,
    /// Too little free space; nothing was written. Refuse new work and try again when space has returned.
    #[error("disk is full: {free} bytes free, {reserve} reserved")]
    Full {
        /// Free bytes of the file system.
        free: u64,
        /// Free bytes below which writes are refused.
        reserve: u64,
    },
    /// Stored bytes are damaged. The replica must not serve or vote: quarantine it and let it rejoin empty.
    #[error("corrupt data: {0}")]
    Corrupt(Arc<str>),
    /// Another process has this directory open. Stop it, or choose another directory.
    #[error("data directory {path:?} is in use by another process")]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The directory was written by a newer version. Start that version or a newer one.
    #[error("data directory has format {found}, this version reads up to {supported}; start a newer version")]
    Newer {
        /// Version found on disk.
        found: u32,
        /// Highest version this build reads.
        supported: u32,
    },
    /// The directory can not be a data directory. Choose another one.
    #[error("{path:?} is not a data directory: {why}")]
    Foreign {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system or the engine refused. At open: fix the cause and start again.
    #[error("{what}: {why}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        why: Arc<str>,
    },
    /// The call breaks this crate's contract: a bug in the caller.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}
