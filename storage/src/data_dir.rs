//! Data directory: its lock, its layout and its format version.
//!
//! ```text
//!  <path>/LOCK      locked while a process has the directory open
//!  <path>/FORMAT    "rookery-storage\nformat 1\n"
//!  <path>/WITNESS   number of the last synced commit group, see `sync_marker`
//!  <path>/db/       RocksDB; accessible to the owner only
//! ```
//!
//! The format is checked before RocksDB opens any file. A newer version may use column families or options that this
//! build lacks, and its files must stay untouched. A new format gets a new number here, and the migration from the old
//! one runs at open, in one place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Format that this build writes. Older formats would be migrated at open; newer ones are refused.
pub(crate) const FORMAT: u32 = 1;

const HEADING: &str = "rookery-storage";

/// A data directory that is locked and has a format of this build.
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

// === impl DataDir ===

impl DataDir {
    /// Creates the directory if it is missing, locks it and checks its format.
    pub(crate) fn open(path: &Path) -> Result<DataDir, Error> {
        fs::create_dir_all(path).map_err(failed("create the data directory"))?;
        // Locked before FORMAT is read: two processes that start at once must not both create it.
        let lock = lock(path)?;
        let directory = DataDir {
            path: path.to_owned(),
            lock,
        };
        match fs::read_to_string(path.join("FORMAT")) {
            Ok(text) => check(path, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => directory.create()?,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(foreign(path, "file FORMAT is not text"));
            }
            Err(error) => return Err(failed("read file FORMAT")(error)),
        }
        Ok(directory)
    }

    /// Returns the directory of the database.
    pub(crate) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// Restricts the directory of the database to its owner, since it holds messages and keys.
    pub(crate) fn protect(&self) -> Result<(), Error> {
        let database = self.database();
        fs::create_dir_all(&database).map_err(failed("create the directory of the database"))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let own = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&database, own).map_err(failed("protect the directory of the database"))?;
        }
        Ok(())
    }

    /// Returns the lock, which must be kept until the database is closed.
    pub(crate) fn into_lock(self) -> File {
        self.lock
    }

    /// Creates the file FORMAT; other files in the directory, such as a node's configuration, do not matter. Refuses a
    /// directory with a database but no format: a part of it is missing, or it belongs to another program.
    fn create(&self) -> Result<(), Error> {
        // `CURRENT` is a file of RocksDB: a foreign database lies directly in this path.
        if self.database().exists() || self.path.join("CURRENT").exists() {
            return Err(foreign(&self.path, "there is a database but no file FORMAT"));
        }
        // Written aside, synced and renamed: a crash leaves either no file or a whole one, and a torn one would be
        // refused.
        let staged = self.path.join("FORMAT.new");
        let mut file = File::create(&staged).map_err(failed("create file FORMAT"))?;
        file.write_all(render(FORMAT).as_bytes())
            .map_err(failed("write file FORMAT"))?;
        file.sync_all().map_err(failed("sync file FORMAT"))?;
        fs::rename(&staged, self.path.join("FORMAT")).map_err(failed("rename file FORMAT"))?;
        // The rename itself is durable only after the directory is synced.
        let directory = File::open(&self.path).map_err(failed("open the data directory"))?;
        directory.sync_all().map_err(failed("sync the data directory"))
    }
}

/// Returns the directory of the database in a data directory.
pub(crate) fn database(path: &Path) -> PathBuf {
    path.join("db")
}

/// Checks the format without locking, for inspection beside a running process.
pub(crate) fn read_format(path: &Path) -> Result<(), Error> {
    let text = fs::read_to_string(path.join("FORMAT")).map_err(failed("read file FORMAT"))?;
    check(path, &text)
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join("LOCK"))
        .map_err(failed("open file LOCK"))?;
    // An advisory lock instead of a pid file: the system releases it when the process dies, however it dies.
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed("lock the data directory")(error)),
    }
}

fn render(format: u32) -> String {
    format!("{HEADING}\nformat {format}\n")
}

fn check(path: &Path, text: &str) -> Result<(), Error> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADING) {
        return Err(foreign(path, "file FORMAT is not of this program"));
    }
    let number = lines
        .next()
        .and_then(|line| line.strip_prefix("format "))
        .and_then(|number| number.parse().ok());
    match number {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(Error::Newer {
            found,
            supported: FORMAT,
        }),
        _ => Err(foreign(path, "file FORMAT is damaged")),
    }
}

fn foreign(path: &Path, why: &str) -> Error {
    Error::Foreign {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Io {
        what,
        why: error.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_text_of_the_format() {
        assert_eq!(render(FORMAT), "rookery-storage\nformat 1\n");
    }

    #[test]
    fn other_texts_are_refused_by_what_they_are() {
        let path = Path::new("/data");
        assert!(check(path, &render(FORMAT)).is_ok());
        assert!(matches!(
            check(path, &render(2)),
            Err(Error::Newer {
                found: 2,
                supported: 1
            })
        ));
        for text in [
            "",
            "rookery-storage\n",
            "rookery-storage\nformat x\n",
            "rookery-storage\nformat 0\n",
            "other\nformat 1",
        ] {
            assert!(
                matches!(check(path, text), Err(Error::Foreign { .. })),
                "{text:?}"
            );
        }
    }
}
