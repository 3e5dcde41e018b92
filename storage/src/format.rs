//! The data directory: who may open it, and which format it has.
//!
//! ```text
//!  <path>/LOCK      locked while a process has the directory open
//!  <path>/FORMAT    "rookery-storage\nformat 1\n"
//!  <path>/WITNESS   number of the last synced round, see `witness`
//!  <path>/db/       RocksDB; for its owner only
//! ```
//!
//! The format is checked before RocksDB opens anything: a newer version may have column families or options
//! this build does not know, and must find its files untouched. A new format gets a new number here, and the
//! change from the old one is made at open, in one place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// The format this build writes. Older ones would be migrated at open; newer ones are refused.
pub(crate) const FORMAT: u32 = 1;

const HEADING: &str = "rookery-storage";

/// A directory that is ours: locked, and of a format this build reads.
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

// === impl Directory ===

impl Directory {
    /// Creates the directory at need, locks it and checks its format.
    pub(crate) fn open(path: &Path) -> Result<Directory, Error> {
        fs::create_dir_all(path).map_err(failed("create the data directory"))?;
        let lock = lock(path)?;
        let directory = Directory {
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

    /// Makes the directory of the database one that only its owner can look into: it holds what users write, and keys.
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

    /// Returns the lock, to be kept until the database is closed.
    pub(crate) fn into_lock(self) -> File {
        self.lock
    }

    /// Claims a directory; other files in it (a node's configuration, say) do not matter. Refuses one that holds a
    /// database without a format: part of it is missing, or it is another program's.
    fn create(&self) -> Result<(), Error> {
        if self.database().exists() || self.path.join("CURRENT").exists() {
            return Err(foreign(&self.path, "there is a database but no file FORMAT"));
        }
        let staged = self.path.join("FORMAT.new");
        let mut file = File::create(&staged).map_err(failed("create file FORMAT"))?;
        file.write_all(render(FORMAT).as_bytes())
            .map_err(failed("write file FORMAT"))?;
        file.sync_all().map_err(failed("sync file FORMAT"))?;
        fs::rename(&staged, self.path.join("FORMAT")).map_err(failed("rename file FORMAT"))?;
        let directory = File::open(&self.path).map_err(failed("open the data directory"))?;
        directory.sync_all().map_err(failed("sync the data directory"))
    }
}

/// Returns the directory of the database in a data directory.
pub(crate) fn database(path: &Path) -> PathBuf {
    path.join("db")
}

/// Checks the format without locking anything; for a look beside a running process.
pub(crate) fn peek(path: &Path) -> Result<(), Error> {
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
