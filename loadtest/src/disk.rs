//! Disks of local nodes: small ones that can be filled, and copies.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Size of a small disk.
const SMALL: &std::ffi::CStr = c"size=320m,mode=0755";
/// The nodes' reserve on small disks: below it new messages are refused.
pub(crate) const RESERVE: u64 = 32 << 20;
/// Free space that a full disk has left: less than the half of the reserve, which ends appends too.
const LEFT: u64 = RESERVE / 4;

/// A small disk of its own for one node. Gone with what is on it when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

/// A file that fills a disk until it is dropped.
#[derive(Debug)]
pub(crate) struct Ballast(PathBuf);

// === impl SmallDisk ===

impl SmallDisk {
    /// Mounts one; only root may.
    pub(crate) fn mount(at: &Path) -> std::io::Result<SmallDisk> {
        std::fs::create_dir_all(at)?;
        mount("rookery-loadtest", at, "tmpfs", MountFlags::empty(), SMALL)?;
        Ok(SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What a process that is being killed still has open goes with it.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

// === impl Ballast ===

impl Ballast {
    /// Fills the disk that holds `folder`.
    pub(crate) fn fill(folder: &Path) -> std::io::Result<Ballast> {
        let free = free(folder)?;
        let ballast = Ballast(folder.join("ballast"));
        let file = File::create(&ballast.0)?;
        let size = free.saturating_sub(LEFT).max(1);
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size)?;
        Ok(ballast)
    }

    /// What is left beside it.
    pub(crate) fn left(&self) -> u64 {
        free(self.0.parent().unwrap_or(&self.0)).unwrap_or(u64::MAX)
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn free(folder: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail * disk.f_frsize)
}

/// Copies a folder that nobody writes to.
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
