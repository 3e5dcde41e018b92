//! Backups: the rows of every shard in a directory or a bucket, and new data directories from them.
//!
//! ```text
//!  node:  rows of a shard at one log index → frames of an HTTP response
//!  tool:  frames → chunks, one file each, named by their hash → manifest, written last
//!         manifest → chunks → rows of a new store → data directory of the first member of a new cluster
//! ```
//!
//! A chunk is stored once, however many backups of the directory contain it. The formats are in docs/on-disk.md, the
//! reasons in docs/decisions/0029-backups-are-chunks-of-rows.md.

mod shard_entry;

mod manifest;

mod frame;

mod local_files;

mod bucket;

mod target;

mod directory;

mod collector;

mod data_directory;

mod verify;

mod restore;

#[cfg(feature = "testkit")]
mod codec_properties;
#[cfg(test)]
mod tests;

#[cfg(feature = "testkit")]
pub(crate) use codec_properties::{
    check_frames, check_manifest, check_rows, decode_frames, decode_manifest, decode_rows,
};
pub(crate) use collector::ShardCollector;
pub(crate) use data_directory::collect_from_data;
pub(crate) use directory::BackupDirectory;
pub(crate) use frame::{Frame, FrameDecoder, ShardEnd, ShardHead};
pub(crate) use manifest::Manifest;
pub(crate) use restore::restore;
pub(crate) use shard_entry::ShardEntry;
pub(crate) use target::BackupTarget;
pub(crate) use verify::verify;

use std::path::{Path, PathBuf};

/// Error of a backup, by the operator's next action.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The backup is damaged, incomplete or of another format: use another one.
    #[error("{}: {reason}", .path.display())]
    Damaged {
        /// Path of the file at fault.
        path: PathBuf,
        reason: String,
    },
    /// The arguments and the files do not fit together.
    #[error("{0}")]
    Refused(String),
    /// The file system refused an operation.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The object storage refused a request, or cannot be reached.
    #[error("{object}: {reason}")]
    Bucket { object: String, reason: String },
    /// A store refused an operation.
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    #[error("{0}")]
    Cluster(#[from] cluster::Error),
    /// The node sent something else than a backup, or too little of it.
    #[error("the node's response is no backup of the shard: {0}")]
    Response(String),
}

// === impl BackupError ===

impl BackupError {
    fn damaged(path: &Path, reason: impl Into<String>) -> BackupError {
        BackupError::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    fn too_long(path: &Path, bytes: u64, limit: u64) -> BackupError {
        BackupError::damaged(
            path,
            format!("{bytes} bytes, more than the {limit} that are permitted"),
        )
    }

    /// Returns the error for a target without backups that holds something else.
    fn foreign(target: &Path, name: &str) -> BackupError {
        BackupError::Refused(format!(
            "{} is neither empty nor a directory of backups: it holds {name:?}",
            target.display()
        ))
    }

    fn file(path: &Path) -> impl Fn(std::io::Error) -> BackupError + '_ {
        move |source| BackupError::File {
            path: path.to_owned(),
            source,
        }
    }
}
