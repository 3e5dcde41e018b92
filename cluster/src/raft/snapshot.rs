//! Snapshot transfer: a replica's rows as a stream of chunks.
//!
//! The sender reads one consistent view of its rows and sends chunk after chunk, at a bounded rate, on a connection of
//! its own. Each chunk is acknowledged before the next one is sent. The receiver writes them under a new generation,
//! invisible until the last step. That step makes them the shard's rows and moves the applied position, in one synced
//! write.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{ShardId, ShardState, SnapshotImport, Store};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::ids::NodeId;
use crate::raft::Vote;

/// Maximum bytes of one chunk.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// Idle time after which an unfinished import expires.
const IMPORT_IDLE: Duration = Duration::from_secs(30);

/// Snapshot as passed through openraft: a reference to rows, never the rows themselves.
pub(crate) enum SnapshotData {
    /// Rows of this replica, read when they are sent.
    Local(ShardState),
    /// Rows of another replica, written under a new generation and not visible yet.
    Received {
        import: Box<SnapshotImport>,
        applied: Bytes,
    },
}

/// Request of one step of a snapshot transfer; each step has a response.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ImportStep {
    /// Starts an import, or starts it again from the beginning.
    Begin,
    /// Next rows; `number` counts from 0.
    Chunk { number: u64, rows: Bytes },
    /// Installs the rows as of `applied`; all `chunks` were sent.
    Finish { chunks: u64, applied: Bytes, vote: Vote },
}

/// Imports in progress on this node, keyed by shard and sender.
pub(crate) struct Imports {
    store: Store,
    under_way: Mutex<HashMap<(ShardId, NodeId), SharedProgress>>,
}

type SharedProgress = Arc<Mutex<ImportProgress>>;

struct ImportProgress {
    import: Option<Box<SnapshotImport>>,
    next: u64,
    touched: Instant,
}

/// Copies the rows of a replica in this process, up to but without the step that makes them visible.
pub(crate) async fn copy(
    from: ShardState,
    to: ShardState,
) -> Result<(Box<SnapshotImport>, Bytes), io::Error> {
    let copied = blocking(move || {
        let mut export = from.export()?;
        let mut import = to.import()?;
        while let Some(rows) = export.next_chunk(CHUNK_BYTES)? {
            import.add(&rows)?;
        }
        Ok::<_, storage::Error>((Box::new(import), export.applied().unwrap_or_default()))
    });
    copied.await?.map_err(io::Error::other)
}

// === impl Imports ===

impl Imports {
    pub(crate) fn new(store: Store) -> Imports {
        Imports {
            store,
            under_way: Mutex::default(),
        }
    }

    /// Starts an import. Drops every earlier import of the shard, and all that have been idle for [`IMPORT_IDLE`].
    pub(crate) fn begin(&self, shard: ShardId, from: NodeId) -> Result<(), io::Error> {
        let mut under_way = self.under_way.lock();
        under_way.retain(|_, progress| {
            // A locked import is writing a chunk, so it is not idle; waiting for its disk here would block all imports.
            progress
                .try_lock()
                .is_none_or(|progress| progress.touched.elapsed() < IMPORT_IDLE)
        });
        // Rows of two senders must not mix in one generation; a new leader's snapshot also supersedes the old one's.
        under_way.retain(|&(other, _), _| other != shard);
        let import = self.store.state(shard).import().map_err(io::Error::other)?;
        let progress = ImportProgress {
            import: Some(Box::new(import)),
            next: 0,
            touched: Instant::now(),
        };
        under_way.insert((shard, from), Arc::new(Mutex::new(progress)));
        Ok(())
    }

    /// Writes the next rows to the import. Blocks on the disk.
    pub(crate) fn add(
        &self,
        shard: ShardId,
        from: NodeId,
        number: u64,
        rows: &[u8],
    ) -> Result<(), io::Error> {
        // The map's lock is already released: the write below blocks, and imports of other shards must proceed.
        let progress = self.progress(shard, from)?;
        let mut progress = progress.lock();
        // A repeated or lost chunk fails the transfer; the sender then starts again from the first row.
        if number != progress.next {
            return Err(io::Error::other(format!(
                "chunk {number} after {}",
                progress.next
            )));
        }
        let Some(import) = progress.import.as_mut() else {
            return Err(io::Error::other("the import has ended"));
        };
        import.add(rows).map_err(io::Error::other)?;
        progress.next += 1;
        progress.touched = Instant::now();
        Ok(())
    }

    /// Removes and returns an import of which all chunks have arrived.
    pub(crate) fn take(
        &self,
        shard: ShardId,
        from: NodeId,
        chunks: u64,
    ) -> Result<Box<SnapshotImport>, io::Error> {
        let progress = self.progress(shard, from)?;
        // Removed before the check: an incomplete import cannot be continued, only started again.
        self.under_way.lock().remove(&(shard, from));
        let mut progress = progress.lock();
        if chunks != progress.next {
            return Err(io::Error::other(format!(
                "{} of {chunks} chunks arrived",
                progress.next
            )));
        }
        progress
            .import
            .take()
            .ok_or_else(|| io::Error::other("the import has ended"))
    }

    fn progress(&self, shard: ShardId, from: NodeId) -> Result<SharedProgress, io::Error> {
        let progress = self.under_way.lock().get(&(shard, from)).cloned();
        progress.ok_or_else(|| io::Error::other("no import was started"))
    }
}
