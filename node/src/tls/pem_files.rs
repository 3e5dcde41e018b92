//! Files that belong together, read again after a change.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

/// Files that are read together.
pub struct PemFiles {
    paths: Vec<PathBuf>,
    /// Stamps at the last read; `None` for a file that could not be examined.
    stamps: Vec<Option<FileStamp>>,
}

/// Facts that differ after a file was written or replaced. A replacement may have the time of its source, hence the inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct FileStamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

// === impl PemFiles ===

impl PemFiles {
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> PemFiles {
        PemFiles {
            paths,
            stamps: Vec::new(),
        }
    }

    /// Returns `true` if a file has changed since the last read.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.examine() != self.stamps
    }

    /// Reads all files, in their order.
    ///
    /// # Errors
    /// A file that cannot be read, with its path.
    pub fn read(&mut self) -> Result<Vec<Vec<u8>>, String> {
        // Before the contents: a file that is written meanwhile counts as changed.
        self.stamps = self.examine();
        let read = self.paths.iter().map(|path| {
            std::fs::read(path).map_err(|error: io::Error| format!("{}: {error}", path.display()))
        });
        read.collect()
    }

    fn examine(&self) -> Vec<Option<FileStamp>> {
        let stamp = |path: &PathBuf| {
            // Follows links, which is how secrets of Kubernetes are replaced.
            let metadata = std::fs::metadata(path).ok()?;
            Some(FileStamp {
                modified: metadata.modified().ok(),
                length: metadata.len(),
                inode: metadata.ino(),
            })
        };
        self.paths.iter().map(stamp).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_written_replaced_or_removed_is_changed() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        std::fs::write(&one, "1").unwrap();
        std::fs::write(&two, "2").unwrap();
        let mut files = PemFiles::new(vec![one.clone(), two.clone()]);
        assert!(files.is_changed(), "never read");
        assert_eq!(files.read().unwrap(), [b"1".to_vec(), b"2".to_vec()]);
        assert!(!files.is_changed());

        std::fs::write(&two, "22").unwrap();
        assert!(files.is_changed(), "written");
        files.read().unwrap();

        // With the length and the time of the file that it replaces.
        let modified = std::fs::metadata(&two).unwrap().modified().unwrap();
        let new = dir.path().join("new");
        std::fs::write(&new, "33").unwrap();
        std::fs::File::options()
            .write(true)
            .open(&new)
            .unwrap()
            .set_modified(modified)
            .unwrap();
        std::fs::rename(&new, &two).unwrap();
        assert!(files.is_changed(), "replaced");
        assert_eq!(files.read().unwrap()[1], b"33");

        std::fs::remove_file(&one).unwrap();
        assert!(files.is_changed(), "removed");
        assert!(files.read().unwrap_err().contains("one: "));
    }
}
