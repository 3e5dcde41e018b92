//! Copies of a replica's rows at one index of the log, so that the rows of several replicas can be compared.
//!
//! A replica applies many entries in one transaction. While a copy is wanted, the transaction ends at its index, and the
//! copy is taken before the next one begins.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use storage::{ShardState, SnapshotExport};
use tokio::sync::oneshot;

use crate::blocking::{blocking, run_blocking};
use crate::raft::archived::read_position;

/// Copies that a replica shall take of its rows; at most one at a time.
pub(crate) struct RowCopies {
    state: ShardState,
    /// Index at which a copy is wanted; 0: none. Read for every entry, so it is beside the lock.
    index: AtomicU64,
    wanted: Mutex<Option<WantedCopy>>,
}

struct WantedCopy {
    index: u64,
    /// Dropped when the replica is past the index.
    done: oneshot::Sender<io::Result<SnapshotExport>>,
}

// === impl RowCopies ===

impl RowCopies {
    pub(crate) fn new(state: ShardState) -> RowCopies {
        RowCopies {
            state,
            index: AtomicU64::new(0),
            wanted: Mutex::default(),
        }
    }

    /// Returns a copy of the rows at exactly this index; `None` if the replica is past it, or not there in time. A newer
    /// request replaces an older one.
    pub(crate) async fn at(&self, index: u64, patience: Duration) -> io::Result<Option<SnapshotExport>> {
        let (done, copy) = oneshot::channel();
        // Wanted before the first look: the replica cannot pass the index unseen in between.
        *self.wanted.lock() = Some(WantedCopy { index, done });
        self.index.store(index, Ordering::Release);
        let state = self.state.clone();
        let now = blocking(move || state.export())
            .await?
            .map_err(io::Error::other)?;
        let applied = match now.applied() {
            Some(applied) => read_position(&applied)?.map_or(0, |position| position.index),
            None => 0,
        };
        if applied >= index {
            self.forget(index);
            return Ok((applied == index).then_some(now));
        }
        // Its view would keep old versions of rows from compaction.
        drop(now);
        match tokio::time::timeout(patience, copy).await {
            Ok(Ok(copy)) => copy.map(Some),
            Ok(Err(_)) => Ok(None),
            Err(_) => {
                self.forget(index);
                Ok(None)
            }
        }
    }

    /// Returns true if a transaction must end with this entry.
    pub(crate) fn is_wanted_at(&self, index: u64) -> bool {
        self.index.load(Ordering::Acquire) == index
    }

    /// Takes the copy if it is wanted here. Called with the index of the last entry whose rows are committed, before the
    /// next transaction begins.
    pub(crate) fn reached(&self, index: u64) {
        let wanted = self.index.load(Ordering::Acquire);
        if wanted == 0 || wanted > index {
            return;
        }
        let Some(wanted) = self.wanted.lock().take_if(|wanted| wanted.index <= index) else {
            return;
        };
        self.index.store(0, Ordering::Release);
        if wanted.index == index {
            let copy = run_blocking(|| self.state.export());
            // The receiver is gone if the comparison was given up.
            drop(wanted.done.send(copy.map_err(io::Error::other)));
        }
    }

    fn forget(&self, index: u64) {
        let mut wanted = self.wanted.lock();
        if wanted.take_if(|wanted| wanted.index == index).is_some() {
            self.index.store(0, Ordering::Release);
        }
    }
}
