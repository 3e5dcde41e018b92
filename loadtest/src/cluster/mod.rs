//! Tested cluster: real processes on this machine with their disks, or nodes that run already.

mod cluster_view;
mod load_target;
mod local_processes;
mod sized_disk;
mod slow_disk;

pub(crate) use self::cluster_view::{cluster_view, shard_owner};
pub(crate) use self::load_target::LoadTarget;
pub(crate) use self::local_processes::{Error, LocalProcesses, ProcessSignal};
pub(crate) use self::sized_disk::{FillFile, RESERVE, copy};
pub(crate) use self::slow_disk::{Error as SlowDiskError, SlowDisk};
