//! Directory of backups: chunks named by their hash, and one manifest per backup.
//!
//! ```text
//!  BACKUPS                 "rookery-backups\nformat 1\n"
//!  chunks/ab/abcd…         a chunk of rows; its name is its SHA-256 hash
//!  keys/abcd…              a chunk of rows with key material, readable by the owner only
//!  2026-11-30T11-30-00.123Z.manifest
//! ```
//!
//! It lies on this machine, or in a bucket ([`BackupTarget`]). The manifest is written last, so a backup without all of
//! its chunks has none.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use super::BackupError;
use super::manifest::{MANIFEST_BYTES, Manifest};
use super::shard_entry::{ChunkEntry, ChunkHash, RowSet};
use super::target::{BackupTarget, ReadFile, TargetFiles};

const FORMAT: &str = "rookery-backups\nformat 1\n";
const FORMAT_FILE: &str = "BACKUPS";
const SUFFIX: &str = ".manifest";

/// Open directory of backups.
#[derive(Debug)]
pub(crate) struct BackupDirectory {
    files: Box<dyn TargetFiles>,
}

// === impl BackupDirectory ===

impl BackupDirectory {
    /// Opens a directory for reading.
    ///
    /// # Errors
    /// It is none, or of another format.
    pub(crate) fn open(target: &BackupTarget) -> Result<BackupDirectory, BackupError> {
        let directory = BackupDirectory {
            files: target.open()?,
        };
        if directory.has_format()? {
            return Ok(directory);
        }
        Err(BackupError::Refused(format!(
            "{target} is no directory of backups: file {FORMAT_FILE} is missing"
        )))
    }

    /// Opens a directory for writing, and creates it if it does not exist or is empty.
    ///
    /// # Errors
    /// Another tool writes there, or the directory holds something else.
    pub(crate) fn create(target: &BackupTarget) -> Result<BackupDirectory, BackupError> {
        let directory = BackupDirectory {
            files: target.lock(FORMAT_FILE)?,
        };
        if !directory.has_format()? {
            directory
                .files
                .write(FORMAT_FILE, Bytes::from_static(FORMAT.as_bytes()))?;
            directory.files.finish_writes()?;
        }
        Ok(directory)
    }

    /// Returns false if the file of the format is missing.
    fn has_format(&self) -> Result<bool, BackupError> {
        match self.files.read(FORMAT_FILE, 64)? {
            Some(text) if text == FORMAT.as_bytes() => Ok(true),
            Some(_) => Err(BackupError::damaged(
                &self.files.path(FORMAT_FILE),
                "another format of backups",
            )),
            None => Ok(false),
        }
    }

    /// Returns the path of the directory, as the operator knows it.
    pub(crate) fn path(&self) -> PathBuf {
        self.files.path("")
    }

    /// Returns the names of the backups, the oldest first.
    pub(crate) fn backups(&self) -> Result<Vec<String>, BackupError> {
        let files = self.files.top()?;
        let names = files.iter().filter_map(|name| name.strip_suffix(SUFFIX));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        // The names are times, so their order is that of the backups.
        names.sort_unstable();
        Ok(names)
    }

    /// Returns a backup by its name, or the newest one, with its name.
    ///
    /// # Errors
    /// There is none, or its manifest is damaged.
    pub(crate) fn backup(&self, name: Option<&str>) -> Result<(String, Manifest), BackupError> {
        let names = self.backups()?;
        let known = || names.join(", ");
        let name = match name {
            // Compared with the names that exist, so that no name can lead out of the directory.
            Some(name) => names.iter().find(|known| *known == name).ok_or_else(|| {
                BackupError::Refused(format!("there is no backup {name:?}; there are: {}", known()))
            })?,
            None => names.last().ok_or_else(|| {
                BackupError::Refused(format!("{} holds no complete backup", self.path().display()))
            })?,
        };
        let file = manifest_name(name);
        let path = self.files.path(&file);
        let damaged = |reason: &str| BackupError::damaged(&path, reason);
        let bytes = self.files.read(&file, MANIFEST_BYTES)?;
        let bytes = bytes.ok_or_else(|| damaged("the manifest is missing"))?;
        let manifest = Manifest::decode(&bytes).map_err(|reason| damaged(&reason))?;
        Ok((name.clone(), manifest))
    }

    /// Writes a manifest, by which the backup exists. Returns its name.
    pub(crate) fn add_backup(&self, manifest: &Manifest) -> Result<String, BackupError> {
        let at = UNIX_EPOCH + Duration::from_millis(manifest.began_ms);
        let name = humantime::format_rfc3339_millis(at).to_string().replace(':', "-");
        if self.backups()?.contains(&name) {
            let path = self.files.path(&manifest_name(&name));
            return Err(BackupError::Refused(format!("{} exists already", path.display())));
        }
        // Before the manifest: a backup that has one has all of its chunks.
        self.files.finish_writes()?;
        self.files
            .write(&manifest_name(&name), manifest.encode().into())?;
        self.files.finish_writes()?;
        Ok(name)
    }

    /// Removes a backup; its chunks stay until [`sweep`](Self::sweep).
    pub(crate) fn remove_backup(&self, name: &str) -> Result<(), BackupError> {
        self.files.remove(&manifest_name(name))?;
        // Before the chunks: no manifest may list what is removed.
        self.files.finish_writes()
    }

    /// Removes the chunks that no backup lists. Returns their number and bytes.
    ///
    /// # Errors
    /// If a manifest cannot be read, nothing is removed.
    pub(crate) fn sweep(&self) -> Result<(u64, u64), BackupError> {
        let mut listed = HashSet::new();
        for name in self.backups()? {
            let (_, manifest) = self.backup(Some(&name))?;
            for (is_key, set) in manifest.shards.iter().flat_map(|shard| shard.row_sets()) {
                listed.extend(set.chunks.iter().map(|chunk| chunk_name(&chunk.sha256, is_key)));
            }
        }
        let (mut files, mut bytes) = (0, 0);
        for folder in ["chunks", "keys"] {
            for file in self.files.below(folder)? {
                if !listed.contains(&file.name) {
                    self.files.remove(&file.name)?;
                    files += 1;
                    bytes += file.bytes;
                }
            }
        }
        self.files.finish_writes()?;
        Ok((files, bytes))
    }

    /// Stores a chunk unless the directory holds it. Returns its entry, and whether it is new.
    pub(crate) fn add_chunk(&self, chunk: &Bytes, is_key: bool) -> Result<(ChunkEntry, bool), BackupError> {
        let entry = ChunkEntry {
            sha256: ChunkHash::of(chunk),
            bytes: chunk.len() as u64,
        };
        let name = chunk_name(&entry.sha256, is_key);
        // A file with a name is whole, unless it was damaged since: then its length may tell, and it is written again.
        let is_known = self.files.holds(&name, entry.bytes)?;
        if !is_known {
            self.files.write(&name, chunk.clone())?;
        }
        Ok((entry, !is_known))
    }

    /// Reads the chunks of a set in their order, and compares their lengths and hashes.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] for any difference.
    pub(crate) fn chunks<'d>(
        &'d self,
        set: &'d RowSet,
        is_key: bool,
    ) -> impl Iterator<Item = Result<Vec<u8>, BackupError>> + 'd {
        // The bound is that of the manifest, which has checked it, and not what the file claims.
        let files = set.chunks.iter();
        let files = files.map(|chunk| (chunk_name(&chunk.sha256, is_key), chunk.bytes));
        let read = self.files.read_each(files.collect());
        read.zip(&set.chunks)
            .map(move |(read, entry)| self.checked(read, entry, is_key))
    }

    fn checked(&self, read: ReadFile, entry: &ChunkEntry, is_key: bool) -> Result<Vec<u8>, BackupError> {
        let path = self.files.path(&chunk_name(&entry.sha256, is_key));
        let bytes = read?.ok_or_else(|| BackupError::damaged(&path, "the chunk is missing"))?;
        if bytes.len() as u64 != entry.bytes {
            let reason = format!("truncated: {} of {} bytes", bytes.len(), entry.bytes);
            return Err(BackupError::damaged(&path, reason));
        }
        if ChunkHash::of(&bytes) != entry.sha256 {
            return Err(BackupError::damaged(
                &path,
                "the bytes do not match the name: they are damaged",
            ));
        }
        Ok(bytes)
    }
}

fn chunk_name(hash: &ChunkHash, is_key: bool) -> String {
    let hash = hash.to_string();
    if is_key {
        return format!("keys/{hash}");
    }
    // In 256 folders: some file systems are slow with very many files in one.
    format!("chunks/{}/{hash}", &hash[..2])
}

fn manifest_name(backup: &str) -> String {
    format!("{backup}{SUFFIX}")
}
