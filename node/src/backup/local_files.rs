//! Files of a target that is a directory of this machine.
//!
//! A file gets its name by a rename, after its bytes are synced, so a file with a name is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::BackupError;
use super::target::{ReadFile, StoredFile, TargetFiles};

/// Name of the file that is locked while a tool writes.
const LOCK: &str = "LOCK";
/// Name of the folder of files that are being written.
const STAGING: &str = "new";

/// Files of a directory.
#[derive(Debug)]
pub(super) struct LocalFiles {
    path: PathBuf,
    /// Kept while this process may write.
    _lock: Option<File>,
}

// === impl LocalFiles ===

impl LocalFiles {
    pub(super) fn open(path: &Path) -> LocalFiles {
        LocalFiles {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// Locks a directory; one that does not exist is created, and one without `format_file` must be empty.
    pub(super) fn lock(path: &Path, format_file: &str) -> Result<LocalFiles, BackupError> {
        fs::create_dir_all(path).map_err(BackupError::file(path))?;
        if !path.join(format_file).exists() {
            let mut entries = fs::read_dir(path).map_err(BackupError::file(path))?;
            let foreign = entries.find_map(|entry| {
                let name = entry.ok()?.file_name();
                // Left by a creation that was interrupted.
                (name != LOCK && name != STAGING).then_some(name)
            });
            if let Some(name) = foreign {
                return Err(BackupError::foreign(path, &name.to_string_lossy()));
            }
        }
        restrict(path)?;
        let lock = lock(&path.join(LOCK))?;
        let staging = path.join(STAGING);
        // What an interrupted backup left behind; the lock proves that nobody writes there.
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(BackupError::file(&staging))?;
        }
        for dir in [staging, path.join("chunks"), path.join("keys")] {
            fs::create_dir_all(&dir).map_err(BackupError::file(&dir))?;
            restrict(&dir)?;
        }
        Ok(LocalFiles {
            path: path.to_owned(),
            _lock: Some(lock),
        })
    }

    /// Returns the folders of chunks.
    fn folders(&self) -> Result<Vec<PathBuf>, BackupError> {
        let chunks = self.path.join("chunks");
        let mut folders = vec![self.path.join("keys")];
        for entry in fs::read_dir(&chunks).map_err(BackupError::file(&chunks))? {
            let entry = entry.map_err(BackupError::file(&chunks))?;
            if entry.file_type().map_err(BackupError::file(&chunks))?.is_dir() {
                folders.push(entry.path());
            }
        }
        folders.push(chunks);
        Ok(folders)
    }

    fn add_files(&self, folder: &str, found: &mut Vec<StoredFile>, depth: u8) -> Result<(), BackupError> {
        let dir = self.path.join(folder);
        for entry in fs::read_dir(&dir).map_err(BackupError::file(&dir))? {
            let entry = entry.map_err(BackupError::file(&dir))?;
            let metadata = entry.metadata().map_err(BackupError::file(&dir))?;
            // A name that is no text is of no chunk.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let name = format!("{folder}/{name}");
            if metadata.is_file() {
                let bytes = metadata.len();
                found.push(StoredFile { name, bytes });
            } else if metadata.is_dir() && depth > 0 {
                self.add_files(&name, found, depth - 1)?;
            }
        }
        Ok(())
    }
}

impl TargetFiles for LocalFiles {
    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            return self.path.clone();
        }
        self.path.join(name)
    }

    fn read(&self, name: &str, limit: u64) -> ReadFile {
        read_bounded(&self.path(name), limit)
    }

    fn read_each(&self, files: Vec<(String, u64)>) -> Box<dyn Iterator<Item = ReadFile> + '_> {
        Box::new(files.into_iter().map(|(name, limit)| self.read(&name, limit)))
    }

    fn top(&self) -> Result<Vec<String>, BackupError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(BackupError::file(&self.path))? {
            let entry = entry.map_err(BackupError::file(&self.path))?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    fn below(&self, folder: &str) -> Result<Vec<StoredFile>, BackupError> {
        let mut found = Vec::new();
        self.add_files(folder, &mut found, 1)?;
        Ok(found)
    }

    fn holds(&self, name: &str, bytes: u64) -> Result<bool, BackupError> {
        let metadata = fs::symlink_metadata(self.path(name));
        Ok(metadata.is_ok_and(|file| file.is_file() && file.len() == bytes))
    }

    fn write(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        let path = self.path(name);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(BackupError::file(dir))?;
        }
        // Hashes and times: no two files in different folders have one name.
        let staged = self.path.join(STAGING).join(path.file_name().unwrap_or_default());
        let failed = BackupError::file(&staged);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&staged).map_err(&failed)?;
        file.write_all(&bytes).map_err(&failed)?;
        file.sync_all().map_err(&failed)?;
        fs::rename(&staged, &path).map_err(BackupError::file(&path))
    }

    fn finish_writes(&self) -> Result<(), BackupError> {
        // The names of the files are durable only with their directories.
        for dir in self.folders()? {
            sync_directory(&dir)?;
        }
        sync_directory(&self.path)
    }

    fn remove(&self, name: &str) -> Result<(), BackupError> {
        let path = self.path(name);
        fs::remove_file(&path).map_err(BackupError::file(&path))
    }
}

/// Reads a regular file of at most `limit` bytes; of a longer one, an error.
fn read_bounded(path: &Path, limit: u64) -> ReadFile {
    let failed = BackupError::file(path);
    // Not followed: a link in a copied directory could name any file, or a device without an end.
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !metadata.is_file() {
        return Err(BackupError::damaged(path, "not a regular file"));
    }
    if metadata.len() > limit {
        return Err(BackupError::too_long(path, metadata.len(), limit));
    }
    let file = File::open(path).map_err(&failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The file may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(&failed)?;
    Ok(Some(bytes))
}

fn lock(path: &Path) -> Result<File, BackupError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(BackupError::file(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::Refused(format!(
            "{} is locked: another backup is running",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(BackupError::file(path)(error)),
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
