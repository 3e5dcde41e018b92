//! Disks of local nodes: small ones that can be filled, and copies of directories.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Mount options of a small disk.
const SMALL: &std::ffi::CStr = c"size=320m,mode=0755";
/// Free-space reserve of nodes on small disks, in bytes: below it new messages are refused.
pub(crate) const RESERVE: u64 = 32 << 20;
/// Free bytes of a full disk: less than half of the reserve, below which appends are refused as well.
const LEFT: u64 = RESERVE / 4;

/// Small disk of one node. Dropping it unmounts it and discards its content.
#[derive(Debug)]
pub(crate) struct SizedDisk(PathBuf);

/// File that fills a disk until it is dropped.
#[derive(Debug)]
pub(crate) struct FillFile(PathBuf);

// === impl SizedDisk ===

impl SizedDisk {
    /// Mounts a small disk at `at`; needs root.
    pub(crate) fn mount(at: &Path) -> std::io::Result<SizedDisk> {
        std::fs::create_dir_all(at)?;
        mount("rookery-loadtest", at, "tmpfs", MountFlags::empty(), SMALL)?;
        Ok(SizedDisk(at.to_owned()))
    }
}

impl Drop for SizedDisk {
    fn drop(&mut self) {
        // Detached: a process that is still ending may have files open, which would make the unmount fail.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

// === impl FillFile ===

impl FillFile {
    /// Fills the disk that holds `folder`.
    pub(crate) fn fill(folder: &Path) -> std::io::Result<FillFile> {
        let free = free(folder)?;
        // Created before the file, so that an error in between removes it as well.
        let ballast = FillFile(folder.join("ballast"));
        let file = File::create(&ballast.0)?;
        let size = free.saturating_sub(LEFT).max(1);
        // Allocated, not written: writing would load the disk for a long time.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size)?;
        Ok(ballast)
    }

    /// Returns the free bytes of the disk.
    pub(crate) fn left(&self) -> u64 {
        free(self.0.parent().unwrap_or(&self.0)).unwrap_or(u64::MAX)
    }
}

impl Drop for FillFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn free(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

/// Copies a directory that no process writes to.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_folder_has_everything() {
        let folder = std::env::temp_dir().join(format!("rookery-copy-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::write(folder.join("a/b/c"), "d").unwrap();
        copy(&folder.join("a"), &folder.join("e")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("e/b/c")).unwrap(), "d");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
