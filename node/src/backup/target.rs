//! Target of backups: a directory of this machine, or a prefix of a bucket.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;

use super::BackupError;
use super::bucket::{BucketFiles, BucketLocation};
use super::local_files::LocalFiles;

/// Target of backups: `DIR`, or `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackupTarget {
    Directory(PathBuf),
    Bucket(BucketLocation),
}

/// File of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredFile {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// File that was read; `None` if it does not exist.
pub(super) type ReadFile = Result<Option<Vec<u8>>, BackupError>;

/// Files of a target. A name is the path within the target, with `/` between its parts. All calls block.
pub(super) trait TargetFiles: fmt::Debug {
    /// Returns a file's path as the operator knows it.
    fn path(&self, name: &str) -> PathBuf;

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] for a longer file, and for what is no file.
    fn read(&self, name: &str, limit: u64) -> ReadFile;

    /// Reads files in this order, each by its name and limit, perhaps some of them ahead.
    fn read_each(&self, files: Vec<(String, u64)>) -> Box<dyn Iterator<Item = ReadFile> + '_>;

    /// Returns the names directly in the target.
    fn top(&self) -> Result<Vec<String>, BackupError>;

    /// Returns the files in a folder, and in the folders there.
    fn below(&self, folder: &str) -> Result<Vec<StoredFile>, BackupError>;

    /// Returns true if there is a file with this name and length.
    fn holds(&self, name: &str, bytes: u64) -> Result<bool, BackupError>;

    /// Writes a file, which has its name when all of its bytes are stored, and not before. It may still be in progress
    /// until [`finish_writes`](Self::finish_writes) returns.
    fn write(&self, name: &str, bytes: Bytes) -> Result<(), BackupError>;

    /// Waits until everything that was written or removed is durable.
    ///
    /// # Errors
    /// A write failed, or another tool may write here meanwhile.
    fn finish_writes(&self) -> Result<(), BackupError>;

    /// Removes a file, perhaps only when [`finish_writes`](Self::finish_writes) returns.
    fn remove(&self, name: &str) -> Result<(), BackupError>;
}

// === impl BackupTarget ===

impl BackupTarget {
    /// Opens the target for reading.
    pub(super) fn open(&self) -> Result<Box<dyn TargetFiles>, BackupError> {
        Ok(match self {
            BackupTarget::Directory(path) => Box::new(LocalFiles::open(path)),
            BackupTarget::Bucket(location) => Box::new(BucketFiles::open(location)?),
        })
    }

    /// Locks the target for writing. One without the file `format_file` must be empty; a directory is created.
    ///
    /// # Errors
    /// Another tool writes there, or the target holds something else than backups.
    pub(super) fn lock(&self, format_file: &str) -> Result<Box<dyn TargetFiles>, BackupError> {
        Ok(match self {
            BackupTarget::Directory(path) => Box::new(LocalFiles::lock(path, format_file)?),
            BackupTarget::Bucket(location) => Box::new(BucketFiles::lock(location, format_file)?),
        })
    }
}

impl FromStr for BackupTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<BackupTarget, String> {
        match text.split_once("://") {
            Some(("s3", location)) => location.parse().map(BackupTarget::Bucket),
            Some((scheme, _)) => Err(format!(
                "{scheme}:// is no target of backups: give a directory or s3://BUCKET/PREFIX"
            )),
            None => Ok(BackupTarget::from(Path::new(text))),
        }
    }
}

impl From<&Path> for BackupTarget {
    fn from(path: &Path) -> BackupTarget {
        BackupTarget::Directory(path.to_owned())
    }
}

impl fmt::Display for BackupTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupTarget::Directory(path) => path.display().fmt(f),
            BackupTarget::Bucket(location) => location.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_directories_or_prefixes_of_buckets() {
        for (text, expected) in [
            ("/var/backups", "/var/backups"),
            ("s3://backups", "s3://backups"),
            ("s3://backups/", "s3://backups"),
            ("s3://backups/chat/eu/", "s3://backups/chat/eu"),
        ] {
            let target: BackupTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), expected);
            let is_bucket = matches!(target, BackupTarget::Bucket(_));
            assert_eq!(is_bucket, text.starts_with("s3:"), "{text}");
        }
        for refused in [
            "s3://",
            "s3:///x",
            "s3://backups/../other",
            "s3://backups/a//b",
            "s3://backups/./a",
            "s3://back ups/a",
            "s3://user@host/a",
            "gs://backups",
        ] {
            assert!(refused.parse::<BackupTarget>().is_err(), "{refused}");
        }
    }
}
