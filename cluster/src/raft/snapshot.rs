//! A replica's state on its way to another node: a stream of chunks, each a range of rows.
//!
//! The sender holds one consistent view of its rows and sends chunk after chunk, each answered before the next, at a
//! bounded rate, on a connection of its own. The receiver writes them under a new generation, invisible until the last
//! step, which makes them the shard's rows and moves the applied position in one synced write.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Import, ShardId, State, Store};
use tokio::time::Instant;

use crate::blocking::blocking;
use crate::raft::Vote;
use crate::types::NodeId;

/// Bytes of one chunk.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;
/// An import without news for this long is given up.
const IMPORT_IDLE: Duration = Duration::from_secs(30);

/// A snapshot, as openraft hands it around: never the rows themselves.
pub(crate) enum SnapshotData {
    /// The rows of this replica, read when they are sent.
    Local(State),
    /// Rows of another replica, written under a new generation and not visible yet.
    Received { import: Box<Import>, applied: Bytes },
}

/// Asks for the transfer of one snapshot; answered per step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Starts (or starts again) an import.
    Begin,
    /// The next rows; `number` counts from 0.
    Chunk { number: u64, rows: Bytes },
    /// All rows were sent: install them as of `applied`.
    Finish { chunks: u64, applied: Bytes, vote: Vote },
}

/// Imports under way on this node, one per shard and sender.
pub(crate) struct Imports {
    store: Store,
    under_way: Mutex<HashMap<(ShardId, NodeId), SharedProgress>>,
}

type SharedProgress = Arc<Mutex<Progress>>;

struct Progress {
    import: Option<Box<Import>>,
    next: u64,
    touched: Instant,
}

/// Copies the rows of a replica in this process, up to the step that makes them visible.
pub(crate) async fn copy(from: State, to: State) -> Result<(Box<Import>, Bytes), io::Error> {
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

    /// Starts an import; one that this sender had under way is dropped, and so are those that went silent.
    pub(crate) fn begin(&self, shard: ShardId, from: NodeId) -> Result<(), io::Error> {
        let mut under_way = self.under_way.lock();
        under_way.retain(|_, progress| {
            progress
                .try_lock()
                .is_none_or(|progress| progress.touched.elapsed() < IMPORT_IDLE)
        });
        under_way.retain(|&(other, _), _| other != shard);
        let import = self.store.state(shard).import().map_err(io::Error::other)?;
        let progress = Progress {
            import: Some(Box::new(import)),
            next: 0,
            touched: Instant::now(),
        };
        under_way.insert((shard, from), Arc::new(Mutex::new(progress)));
        Ok(())
    }

    /// Writes the next rows. Blocks.
    pub(crate) fn add(
        &self,
        shard: ShardId,
        from: NodeId,
        number: u64,
        rows: &[u8],
    ) -> Result<(), io::Error> {
        let progress = self.progress(shard, from)?;
        let mut progress = progress.lock();
        if number != progress.next {
            return Err(io::Error::other(format!(
                "chunk {number} after {}",
                progress.next
            )));
        }
        let Some(import) = progress.import.as_mut() else {
            return Err(io::Error::other("import is over"));
        };
        import.add(rows).map_err(io::Error::other)?;
        progress.next += 1;
        progress.touched = Instant::now();
        Ok(())
    }

    /// Takes a complete import out.
    pub(crate) fn take(&self, shard: ShardId, from: NodeId, chunks: u64) -> Result<Box<Import>, io::Error> {
        let progress = self.progress(shard, from)?;
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
            .ok_or_else(|| io::Error::other("import is over"))
    }

    fn progress(&self, shard: ShardId, from: NodeId) -> Result<SharedProgress, io::Error> {
        let progress = self.under_way.lock().get(&(shard, from)).cloned();
        progress.ok_or_else(|| io::Error::other("no import was begun"))
    }
}
