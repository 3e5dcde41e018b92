//! Disks of local nodes: small ones that can be filled, slow ones, and copies.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Size of a small disk.
const SMALL: &std::ffi::CStr = c"size=320m,mode=0755";
/// The nodes' reserve on small disks: below it new messages are refused.
pub(crate) const RESERVE: u64 = 32 << 20;
/// Free space that a full disk has left: less than the half of the reserve, which ends appends too.
const LEFT: u64 = RESERVE / 4;
/// Writes a second of a slow disk. An fsync is three or four: the log's, the file system's, a flush.
const WRITES: u32 = 10;

/// A small disk of its own for one node. Gone with what is on it when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

/// A file that fills a disk until it is dropped.
#[derive(Debug)]
pub(crate) struct Ballast(PathBuf);

/// Slows the writes of one process until it is dropped.
#[derive(Debug)]
pub(crate) struct Brake(PathBuf);

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

// === impl Brake ===

impl Brake {
    /// Lets a process write only so often to the device that holds `folder`. Needs the blkio controller of control
    /// groups (version 1) and leave to make a group there; says why where it isn't so.
    pub(crate) fn pull(folder: &Path, pid: u32, node: u64) -> Result<Brake, String> {
        let device = std::fs::metadata(folder)
            .map_err(|error| error.to_string())?
            .dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        if major == 0 {
            return Err("the data is not on a device that can be slowed".to_owned());
        }
        let root = Path::new("/sys/fs/cgroup/blkio");
        if !root.join("cgroup.procs").exists() {
            return Err("there is no blkio controller under /sys/fs/cgroup".to_owned());
        }
        let group = root.join(format!("rookery-loadtest-{}-{node}", std::process::id()));
        let refused = |error: std::io::Error| format!("{}: {error}", group.display());
        std::fs::create_dir_all(&group).map_err(refused)?;
        let brake = Brake(group.clone());
        std::fs::write(
            group.join("blkio.throttle.write_iops_device"),
            format!("{major}:{minor} {WRITES}"),
        )
        .map_err(refused)?;
        std::fs::write(group.join("cgroup.procs"), pid.to_string()).map_err(refused)?;
        Ok(brake)
    }
}

impl Drop for Brake {
    fn drop(&mut self) {
        let back = self.0.with_file_name("cgroup.procs");
        let slowed = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in slowed.lines() {
            let _ = std::fs::write(&back, pid);
        }
        let _ = std::fs::remove_dir(&self.0);
    }
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
