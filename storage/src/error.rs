//! Errors of the store, one variant per reaction of the caller.

use std::path::PathBuf;
use std::sync::Arc;

/// Error of the store. Cheap to clone, because one failed commit group completes many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A write or an fsync failed earlier, and nothing is acknowledged any more. Step down and stop the process; only a
    /// restart may use the disk again.
    #[error("storage is poisoned, restart the process: {0}")]
    Poisoned(Arc<str>),
    /// The store was closed. Nothing was written.
    #[error("storage is closed")]
    Closed,
    /// Too little free space; nothing was written. Refuse new work and retry when space is free again.
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
        /// Path of the locked directory.
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
    /// The path cannot be used as a data directory. Choose another one.
    #[error("{path:?} is not a data directory: {why}")]
    Foreign {
        /// Path of the refused directory.
        path: PathBuf,
        /// Defect that was found in the directory.
        why: String,
    },
    /// The file system or the engine returned an error. At open: fix the cause and start again.
    #[error("{what}: {why}")]
    Io {
        /// Operation that was tried, for the error message.
        what: &'static str,
        /// Error text of the file system or of RocksDB.
        why: Arc<str>,
    },
    /// The call violates this crate's contract, which is a bug in the caller.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}
