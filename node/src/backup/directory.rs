//! Directory of backups: chunks named by their hash, and one manifest per backup.
//!
//! ```text
//!  DIR/BACKUPS                 "rookery-backups\nformat 1\n"
//!  DIR/LOCK                    locked while a tool writes
//!  DIR/chunks/ab/abcd…         a chunk of rows; its name is its SHA-256 hash
//!  DIR/keys/abcd…              a chunk of rows with key material, readable by the owner only
//!  DIR/2026-11-30T11-30-00.123Z.manifest
//!  DIR/new/                    files that are being written
//! ```
//!
//! A file gets its name by a rename, after its bytes are synced, so a file with a name is whole. The manifest is written
//! last, so a backup without all of its chunks has none.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::BackupError;
use super::manifest::{ChunkEntry, ChunkHash, MANIFEST_BYTES, Manifest};

const FORMAT: &str = "rookery-backups\nformat 1\n";
const FORMAT_FILE: &str = "BACKUPS";
const SUFFIX: &str = ".manifest";

/// Open directory of backups.
#[derive(Debug)]
pub(crate) struct BackupDirectory {
    path: PathBuf,
    /// Kept while this process may write.
    _lock: Option<File>,
}

// === impl BackupDirectory ===

impl BackupDirectory {
    /// Opens a directory for reading.
    ///
    /// # Errors
    /// It is none, or of another format.
    pub(crate) fn open(path: &Path) -> Result<BackupDirectory, BackupError> {
        let format = path.join(FORMAT_FILE);
        match read_bounded(&format, 64) {
            Ok(text) if text == FORMAT.as_bytes() => {}
            Ok(_) => return Err(BackupError::damaged(&format, "another format of backups")),
            Err(BackupError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(BackupError::Refused(format!(
                    "{} is no directory of backups: file {FORMAT_FILE} is missing",
                    path.display()
                )));
            }
            Err(error) => return Err(error),
        }
        Ok(BackupDirectory {
            path: path.to_owned(),
            _lock: None,
        })
    }

    /// Opens a directory for writing, and creates it if it does not exist or is empty.
    ///
    /// # Errors
    /// Another tool writes there, or the directory holds something else.
    pub(crate) fn create(path: &Path) -> Result<BackupDirectory, BackupError> {
        fs::create_dir_all(path).map_err(BackupError::file(path))?;
        let is_new = !path.join(FORMAT_FILE).exists();
        if is_new {
            let mut entries = fs::read_dir(path).map_err(BackupError::file(path))?;
            let foreign = entries.find_map(|entry| {
                let name = entry.ok()?.file_name();
                // Left by a creation that was interrupted.
                (name != "LOCK" && name != "new").then_some(name)
            });
            if let Some(name) = foreign {
                return Err(BackupError::Refused(format!(
                    "{} is neither empty nor a directory of backups: it holds {name:?}",
                    path.display()
                )));
            }
        }
        restrict(path)?;
        let lock = lock(path)?;
        let staging = path.join("new");
        // What an interrupted backup left behind; the lock proves that nobody writes there.
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(BackupError::file(&staging))?;
        }
        for dir in [staging, path.join("chunks"), path.join("keys")] {
            fs::create_dir_all(&dir).map_err(BackupError::file(&dir))?;
            restrict(&dir)?;
        }
        let directory = BackupDirectory {
            path: path.to_owned(),
            _lock: Some(lock),
        };
        if is_new {
            directory.write(&path.join(FORMAT_FILE), FORMAT.as_bytes())?;
            return Ok(directory);
        }
        let checked = BackupDirectory::open(path)?;
        Ok(BackupDirectory {
            _lock: directory._lock,
            ..checked
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of the backups, the oldest first.
    pub(crate) fn backups(&self) -> Result<Vec<String>, BackupError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(BackupError::file(&self.path))? {
            let entry = entry.map_err(BackupError::file(&self.path))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            names.extend(name.map(str::to_owned));
        }
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
                BackupError::Refused(format!("{} holds no complete backup", self.path.display()))
            })?,
        };
        let path = self.manifest_path(name);
        let bytes = read_bounded(&path, MANIFEST_BYTES)?;
        let manifest = Manifest::decode(&bytes).map_err(|reason| BackupError::damaged(&path, reason))?;
        Ok((name.clone(), manifest))
    }

    /// Writes a manifest, by which the backup exists. Returns its name.
    pub(crate) fn add_backup(&self, manifest: &Manifest) -> Result<String, BackupError> {
        let at = UNIX_EPOCH + Duration::from_millis(manifest.began_ms);
        let name = humantime::format_rfc3339_millis(at).to_string().replace(':', "-");
        let path = self.manifest_path(&name);
        if path.exists() {
            return Err(BackupError::Refused(format!("{} exists already", path.display())));
        }
        // The names of the chunks are durable only with their directories.
        for dir in self.chunk_directories()? {
            sync_directory(&dir)?;
        }
        self.write(&path, &manifest.encode())?;
        Ok(name)
    }

    /// Removes a backup; its chunks stay until [`sweep`](Self::sweep).
    pub(crate) fn remove_backup(&self, name: &str) -> Result<(), BackupError> {
        let path = self.manifest_path(name);
        fs::remove_file(&path).map_err(BackupError::file(&path))?;
        sync_directory(&self.path)
    }

    /// Removes the chunks that no backup lists. Returns their number and bytes.
    ///
    /// # Errors
    /// If a manifest cannot be read, nothing is removed.
    pub(crate) fn sweep(&self) -> Result<(u64, u64), BackupError> {
        let mut listed = std::collections::HashSet::new();
        for name in self.backups()? {
            let (_, manifest) = self.backup(Some(&name))?;
            for (is_key, set) in manifest.shards.iter().flat_map(|shard| shard.row_sets()) {
                listed.extend(
                    set.chunks
                        .iter()
                        .map(|chunk| self.chunk_path(&chunk.sha256, is_key)),
                );
            }
        }
        let (mut files, mut bytes) = (0, 0);
        for dir in self.chunk_directories()? {
            for entry in fs::read_dir(&dir).map_err(BackupError::file(&dir))? {
                let entry = entry.map_err(BackupError::file(&dir))?;
                let path = entry.path();
                let metadata = entry.metadata().map_err(BackupError::file(&path))?;
                if metadata.is_file() && !listed.contains(&path) {
                    fs::remove_file(&path).map_err(BackupError::file(&path))?;
                    files += 1;
                    bytes += metadata.len();
                }
            }
        }
        Ok((files, bytes))
    }

    /// Stores a chunk unless the directory holds it. Returns its entry, and whether it is new.
    pub(crate) fn add_chunk(&self, chunk: &[u8], is_key: bool) -> Result<(ChunkEntry, bool), BackupError> {
        let entry = ChunkEntry {
            sha256: ChunkHash::of(chunk),
            bytes: chunk.len() as u64,
        };
        let path = self.chunk_path(&entry.sha256, is_key);
        // A file with a name is whole, unless it was damaged since: then its length may tell, and it is written again.
        let known = fs::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() == entry.bytes);
        if !known {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir).map_err(BackupError::file(dir))?;
            }
            self.write(&path, chunk)?;
        }
        Ok((entry, !known))
    }

    /// Reads a chunk and compares its length and hash.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] for any difference.
    pub(crate) fn read_chunk(&self, entry: &ChunkEntry, is_key: bool) -> Result<Vec<u8>, BackupError> {
        let path = self.chunk_path(&entry.sha256, is_key);
        // The bound is that of the manifest, which has checked it, and not what the file claims.
        let bytes = read_bounded(&path, entry.bytes).map_err(|error| match error {
            BackupError::File { source, .. } if source.kind() == ErrorKind::NotFound => {
                BackupError::damaged(&path, "the chunk is missing")
            }
            other => other,
        })?;
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

    fn chunk_path(&self, hash: &ChunkHash, is_key: bool) -> PathBuf {
        let name = hash.to_string();
        if is_key {
            return self.path.join("keys").join(name);
        }
        // In 256 directories: some file systems are slow with very many files in one.
        self.path.join("chunks").join(&name[..2]).join(name)
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{SUFFIX}"))
    }

    fn chunk_directories(&self) -> Result<Vec<PathBuf>, BackupError> {
        let chunks = self.path.join("chunks");
        let mut directories = vec![self.path.join("keys")];
        for entry in fs::read_dir(&chunks).map_err(BackupError::file(&chunks))? {
            let entry = entry.map_err(BackupError::file(&chunks))?;
            if entry.file_type().map_err(BackupError::file(&chunks))?.is_dir() {
                directories.push(entry.path());
            }
        }
        directories.push(chunks);
        Ok(directories)
    }

    /// Writes a file aside, syncs it, and gives it its name.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
        let name = path.file_name().unwrap_or_default();
        let staged = self.path.join("new").join(name);
        let failed = BackupError::file(&staged);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&staged).map_err(&failed)?;
        file.write_all(bytes).map_err(&failed)?;
        file.sync_all().map_err(&failed)?;
        fs::rename(&staged, path).map_err(BackupError::file(path))?;
        path.parent().map_or(Ok(()), |dir| {
            // Chunks are synced in bulk, before the manifest; a file directly in the directory is synced at once.
            if dir == self.path {
                sync_directory(dir)
            } else {
                Ok(())
            }
        })
    }
}

/// Reads a regular file of at most `limit` bytes; of a longer one, an error.
fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, BackupError> {
    let failed = BackupError::file(path);
    // Not followed: a link in a copied directory could name any file, or a device without an end.
    let metadata = fs::symlink_metadata(path).map_err(&failed)?;
    if !metadata.is_file() {
        return Err(BackupError::damaged(path, "not a regular file"));
    }
    if metadata.len() > limit {
        let reason = format!(
            "{} bytes, more than the {limit} that are permitted",
            metadata.len()
        );
        return Err(BackupError::damaged(path, reason));
    }
    let file = File::open(path).map_err(&failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The file may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(&failed)?;
    Ok(bytes)
}

fn lock(path: &Path) -> Result<File, BackupError> {
    let path = path.join("LOCK");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(BackupError::file(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Refused(format!(
            "{} is locked: another backup is running",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(BackupError::file(&path)(error)),
    }
}

/// Makes a directory accessible to its owner only, since it holds messages.
fn restrict(path: &Path) -> Result<(), BackupError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(BackupError::file(path))?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> Result<(), BackupError> {
    let failed = BackupError::file(dir);
    File::open(dir).map_err(&failed)?.sync_all().map_err(&failed)
}
