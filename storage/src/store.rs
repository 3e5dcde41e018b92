//! The [`Store`] handle: opens a data directory and returns the handles of its shards.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use crate::columns::Column;
use crate::data_dir::DataDir;
use crate::engine::WriteBatch;
use crate::engine::memory::MemoryEngine;
use crate::engine::rocks::RocksEngine;
use crate::store_core::StoreCore;
use crate::sync_marker::{self, SyncMarker};
use crate::write_op::WriteKind;
use crate::{
    Config, Error, MemoryDisk, MemoryOptions, Metrics, RaftLog, ShardId, ShardState, TableCatalog, keys,
    recovery,
};

/// Handle of everything that a node keeps on disk. Cheap to clone; dropping the last clone closes the store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<StoreCore>,
}

// === impl Store ===

impl Store {
    /// Opens the data directory with its tables, creates it if it is missing, and starts the writer thread.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Newer`], [`Error::Foreign`], [`Error::Io`]: existing data was not changed.
    /// [`Error::Corrupt`]: the replica on this disk must not be used; see the variant.
    pub fn open(tables: TableCatalog, config: &Config) -> Result<Store, Error> {
        // The lock comes first: everything below would race with a second process on the same directory.
        let directory = DataDir::open(&config.path)?;
        let (marker, known) = SyncMarker::open(&config.path)?;
        // Permissions are restricted before RocksDB creates its first file.
        directory.protect()?;
        let engine = RocksEngine::open(&directory.database(), tables, config, directory.into_lock())?;
        let round = recovery::last_round(&engine)?;
        // Compared before the writer starts: its first synced group would cover up that older groups are missing.
        // See docs/decisions/0006-witness-of-synced-rounds.md.
        sync_marker::check(known, round)?;
        if !config.fsync {
            warn!("os mode: acknowledged writes are not synced to disk");
        }
        let inner = StoreCore::threaded(engine, tables, config, marker, round)?;
        info!(path = ?config.path, rounds = round, "storage opened");
        Ok(Store {
            inner: Arc::new(inner),
        })
    }

    /// Opens a simulated disk. The writer is a task on the current tokio runtime; without a runtime each call completes
    /// before it returns.
    ///
    /// # Panics
    /// If the disk holds damaged records.
    pub fn memory(tables: TableCatalog, disk: &MemoryDisk, options: MemoryOptions) -> Store {
        let engine = MemoryEngine::open(disk.shared());
        let inner = StoreCore::simulated(engine, tables, options).expect("a simulated disk opens");
        Store {
            inner: Arc::new(inner),
        }
    }

    /// Returns the Raft log of a shard.
    pub fn log(&self, shard: ShardId) -> RaftLog {
        RaftLog::new(self.inner.clone(), self.inner.shard(shard))
    }

    /// Returns the applied state of a shard.
    pub fn state(&self, shard: ShardId) -> ShardState {
        ShardState::new(self.inner.clone(), self.inner.shard(shard))
    }

    /// Returns the reason for which the store is poisoned; `None` while it is healthy.
    pub fn poisoned(&self) -> Option<String> {
        self.inner.health.poisoned().map(ToString::to_string)
    }

    /// Returns the number of commit groups that this disk has synced since it was created. The number falls only if an
    /// older copy of the disk was restored. `None` in os mode, where nothing is guaranteed about the disk.
    pub fn synced_rounds(&self) -> Option<u64> {
        self.inner.health.rounds()
    }

    /// Poisons the store from outside, because the data on this disk must not be used
    /// (docs/decisions/0009-a-disk-that-went-back.md).
    pub fn poison(&self, why: String) {
        self.inner.health.fail(Error::Corrupt(why.into()));
    }

    /// Removes the bytes of overwritten and deleted rows from every file of the data directory: old values, purged log
    /// entries, write-ahead logs. Rows that a view, an export or a transaction still reads are removed by the next
    /// call. Blocks while everything that changed since the last call is rewritten; never call it on a shared thread.
    ///
    /// # Errors
    /// The rows processed before the error are removed nevertheless.
    pub fn compact(&self) -> Result<(), Error> {
        self.inner.engine()?.compact()
    }

    /// Calls `f` once when the store becomes poisoned, or immediately if it already is. `f` must not block.
    pub fn on_poison(&self, f: impl Fn(&Error) + Send + Sync + 'static) {
        self.inner.health.on_poison(Box::new(f));
    }

    /// Returns [`Error::Full`] if free disk space is below the reserve. Cheap. Call it before proposing: an append that
    /// is already queued is refused only below half the reserve.
    pub fn room(&self) -> Result<(), Error> {
        self.inner.space.admit(&*self.inner.engine()?)
    }

    /// Returns the time since the running commit group was handed to the disk; `None` when the writer is idle. A leader
    /// whose disk stalls should transfer its leadership.
    pub fn stalled(&self) -> Option<Duration> {
        self.inner.health.stalled()
    }

    /// Returns the counters and gauges of this store.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Writes the queued operations, syncs, and stops the writer; later calls return [`Error::Closed`]. The directory
    /// is unlocked when the last view, export and transaction is dropped. Must not be called from a callback.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Returns the shards that have a log or hard state, ascending.
    pub fn shards(&self) -> Result<Vec<ShardId>, Error> {
        let engine = self.inner.engine()?;
        // Applied state needs no scan of its own: a commit also writes the applied position into `Hard`.
        let mut all = BTreeSet::new();
        for column in [Column::Log, Column::Hard] {
            all.extend(recovery::shards_of(&*engine, column)?);
        }
        Ok(all.into_iter().collect())
    }

    /// Returns a node-wide value; `None` if it was never written.
    pub fn get_node(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.inner.engine()?.payload(Column::Node, &keys::node(key))
    }

    /// Writes a node-wide value and syncs it. Blocks for an fsync.
    pub fn put_node(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        batch.put(Column::Node, keys::node(key), value);
        self.inner.writes.synced(batch, WriteKind::Other)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("poisoned", &self.poisoned())
            .finish_non_exhaustive()
    }
}
