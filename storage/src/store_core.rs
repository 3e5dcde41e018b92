//! Core of a store, shared by the handles of all shards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::disk_space::{DiskSpaceGuard, SharedSpace};
use crate::engine::Engine;
use crate::engine::memory::MemoryEngine;
use crate::engine::rocks::RocksEngine;
use crate::store_health::StoreHealth;
use crate::sync_marker::SyncMarker;
use crate::write_queue::WriterHandle;
use crate::writer::StorageWriter;
use crate::{Config, Error, MemoryOptions, Metrics, ShardId, TableCatalog, recovery};

/// Shared core of all handles of one store.
pub(crate) struct StoreCore {
    /// `None` after close, so that the directory is unlocked although handles remain.
    engine: RwLock<Option<Arc<dyn Engine>>>,
    pub(crate) health: Arc<StoreHealth>,
    pub(crate) space: SharedSpace,
    pub(crate) metrics: Metrics,
    pub(crate) tables: TableCatalog,
    /// Submission of operations to the writer.
    pub(crate) writes: WriterHandle,
    shards: Mutex<HashMap<ShardId, Arc<ShardEntry>>>,
}

/// In-memory state of a shard while the store is open.
#[derive(Debug)]
pub(crate) struct ShardEntry {
    pub(crate) id: ShardId,
    /// The generation of the state that readers use.
    pub(crate) generation: AtomicU32,
    /// Every entry below this index is purged; the next purge starts here.
    pub(crate) purged: AtomicU64,
    pub(crate) importing: AtomicBool,
}

/// Age up to which a measured free space is reused by `Store::room`.
const FRESH: Duration = Duration::from_millis(50);

// === impl StoreCore ===

impl StoreCore {
    /// Starts a store on RocksDB with the writer on a thread of its own.
    pub(crate) fn threaded(
        engine: RocksEngine,
        tables: TableCatalog,
        config: &Config,
        marker: SyncMarker,
        round: u64,
    ) -> Result<StoreCore, Error> {
        let metrics = Metrics::default();
        // A measurement may be 50 ms old: `room` runs before every proposal, and statvfs per message would be too
        // expensive.
        let space = DiskSpaceGuard::new(config.reserve_bytes, FRESH, metrics.clone());
        let bounds = (config.queue_bytes, config.round_bytes);
        StoreCore::start(
            Arc::new(engine),
            tables,
            metrics,
            space,
            |mut writer, health, metrics| {
                // Before the thread starts: afterwards the writer belongs to the thread and cannot be changed.
                writer.on_disk(config.fsync, marker, round);
                WriterHandle::thread(writer, health, metrics, bounds)
            },
        )
    }

    /// Starts a store on a simulated disk, with the writer on the current runtime if there is one.
    pub(crate) fn simulated(
        engine: MemoryEngine,
        tables: TableCatalog,
        options: MemoryOptions,
    ) -> Result<StoreCore, Error> {
        let metrics = Metrics::default();
        let round = recovery::last_round(&engine)?;
        // A simulated disk reports 0 or u64::MAX free bytes, so any small reserve tells the two apart.
        // Freshness zero keeps the result independent of the wall clock, which a deterministic simulation must not
        // depend on.
        let space = DiskSpaceGuard::new(2, Duration::ZERO, metrics.clone());
        StoreCore::start(
            Arc::new(engine),
            tables,
            metrics,
            space,
            |mut writer, health, metrics| {
                writer.go_on(round);
                Ok(WriterHandle::simulated(writer, health, metrics, options))
            },
        )
    }

    fn start(
        engine: Arc<dyn Engine>,
        tables: TableCatalog,
        metrics: Metrics,
        space: DiskSpaceGuard,
        drive: impl FnOnce(StorageWriter, Arc<StoreHealth>, Metrics) -> Result<WriterHandle, Error>,
    ) -> Result<StoreCore, Error> {
        let space = Arc::new(space);
        let health = Arc::new(StoreHealth::new(metrics.clone()));
        // Leftovers of unfinished imports are swept before the writer starts, so no write can race with the sweep.
        let shards = recovery::shards(&*engine, tables)?
            .into_iter()
            .map(|(id, generation)| (id, Arc::new(ShardEntry::new(id, generation))))
            .collect();
        let writer = StorageWriter::new(engine.clone(), health.clone(), space.clone(), metrics.clone());
        let writes = drive(writer, health.clone(), metrics.clone())?;
        Ok(StoreCore {
            engine: RwLock::new(Some(engine)),
            health,
            space,
            metrics,
            tables,
            writes,
            shards: Mutex::new(shards),
        })
    }

    /// Returns the engine, or the error for which no call may use it.
    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>, Error> {
        self.health.check()?;
        self.engine.read().clone().ok_or(Error::Closed)
    }

    /// Returns the in-memory state of a shard, created on first use.
    pub(crate) fn shard(&self, id: ShardId) -> Arc<ShardEntry> {
        self.shards
            .lock()
            .entry(id)
            .or_insert_with(|| Arc::new(ShardEntry::new(id, 0)))
            .clone()
    }

    /// Stops the writer after the queued operations, and drops the engine. Later calls do nothing.
    pub(crate) fn close(&self) {
        // Runs once: `Drop` closes again after an explicit close.
        if !self.health.close() {
            return;
        }
        self.writes.close();
        // Last: handles that remain would keep the database and its directory lock otherwise.
        *self.engine.write() = None;
    }
}

impl Drop for StoreCore {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for StoreCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("health", &self.health.check())
            .finish_non_exhaustive()
    }
}

// === impl ShardEntry ===

impl ShardEntry {
    pub(crate) fn new(id: ShardId, generation: u32) -> ShardEntry {
        let (generation, purged) = (AtomicU32::new(generation), AtomicU64::new(0));
        ShardEntry {
            id,
            generation,
            purged,
            importing: AtomicBool::new(false),
        }
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }
}
