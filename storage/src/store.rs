//! The handle of the store.

use bytes::Bytes;

use crate::{Config, Error, Log, MemoryDisk, MemoryOptions, Metrics, State};

/// Names a shard of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// Everything a node keeps on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    metrics: Metrics,
}

// === impl ShardId ===

impl ShardId {
    /// The meta group.
    pub const META: ShardId = ShardId(u16::MAX);
}

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == ShardId::META { f.write_str("meta") } else { write!(f, "{}", self.0) }
    }
}

// === impl Store ===

impl Store {
    /// Opens the data directory, creating it at need.
    pub fn open(config: &Config) -> Result<Store, Error> {
        let _ = config;
        Err(Error::Closed)
    }

    /// Opens a simulated disk. Spawns the writer on the current tokio runtime.
    pub fn memory(disk: &MemoryDisk, options: MemoryOptions) -> Store {
        let _ = (disk, options);
        Store { metrics: Metrics::default() }
    }

    /// Returns the Raft log of a shard.
    pub fn log(&self, shard: ShardId) -> Log {
        Log { shard }
    }

    /// Returns the applied state of a shard.
    pub fn state(&self, shard: ShardId) -> State {
        State { shard }
    }

    /// Returns why the store is poisoned, if it is.
    pub fn poisoned(&self) -> Option<String> {
        None
    }

    /// Calls `f` once when the store becomes poisoned, at once if it already is.
    pub fn on_poison(&self, f: impl Fn(&Error) + Send + Sync + 'static) {
        let _ = f;
    }

    /// Refuses with `Error::Full` when new work should not be admitted for want of disk space. Cheap.
    pub fn room(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Returns how long the running round has been at the disk; `None` when the writer is idle.
    pub fn stalled(&self) -> Option<std::time::Duration> {
        None
    }

    /// Returns the counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Stops the writer after draining its queue; later calls answer `Error::Closed`.
    pub fn close(&self) {}

    /// Returns the shards that have a log or hard state, ascending.
    pub fn shards(&self) -> Result<Vec<ShardId>, Error> {
        Err(Error::Closed)
    }

    /// Returns a node-wide fact.
    pub fn get_node(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let _ = key;
        Err(Error::Closed)
    }

    /// Writes a node-wide fact and syncs it.
    pub fn put_node(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let _ = (key, value);
        Err(Error::Closed)
    }
}
