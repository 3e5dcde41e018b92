//! The handle of the store, and what all its parts share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::{info, warn};

use crate::columns::Column;
use crate::engine::Batch;
use crate::engine::memory::Memory;
use crate::engine::rocks::Rocks;
use crate::format::Directory;
use crate::inner::Inner;
use crate::queue::Kind;
use crate::witness::{self, Witness};
use crate::{Config, Error, Log, MemoryDisk, MemoryOptions, Metrics, State};
use crate::{keys, recovery};

/// Names a shard of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// Everything a node keeps on disk. Cheap to clone; the last clone that goes closes it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

// === impl ShardId ===

impl ShardId {
    /// The meta group.
    pub const META: ShardId = ShardId(u16::MAX);
}

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == ShardId::META {
            f.write_str("meta")
        } else {
            write!(f, "{}", self.0)
        }
    }
}

// === impl Store ===

impl Store {
    /// Opens the data directory, creating it at need, and starts the writer's thread.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Newer`], [`Error::Foreign`], [`Error::Io`]: nothing was changed.
    /// [`Error::Corrupt`]: the replica on this disk must not be used; see the variant.
    pub fn open(config: &Config) -> Result<Store, Error> {
        let directory = Directory::open(&config.path)?;
        let (witness, known) = Witness::open(&config.path)?;
        directory.protect()?;
        let engine = Rocks::open(&directory.database(), config, directory.into_lock())?;
        let round = recovery::last_round(&engine)?;
        witness::check(known, round)?;
        if !config.fsync {
            warn!("os mode: acknowledged writes are not synced to disk");
        }
        let inner = Inner::threaded(engine, config, witness, round)?;
        info!(path = ?config.path, rounds = round, "storage opened");
        Ok(Store {
            inner: Arc::new(inner),
        })
    }

    /// Opens a simulated disk. The writer is a task on the current tokio runtime; outside of one each call
    /// completes inside itself.
    ///
    /// # Panics
    /// When the disk holds damaged records.
    pub fn memory(disk: &MemoryDisk, options: MemoryOptions) -> Store {
        let inner = Inner::simulated(Memory::open(disk.shared()), options).expect("a simulated disk opens");
        Store {
            inner: Arc::new(inner),
        }
    }

    /// Returns the Raft log of a shard.
    pub fn log(&self, shard: ShardId) -> Log {
        Log::new(self.inner.clone(), self.inner.shard(shard))
    }

    /// Returns the applied state of a shard.
    pub fn state(&self, shard: ShardId) -> State {
        State::new(self.inner.clone(), self.inner.shard(shard))
    }

    /// Returns why the store is poisoned, if it is.
    pub fn poisoned(&self) -> Option<String> {
        self.inner.health.poisoned().map(ToString::to_string)
    }

    /// Returns how many rounds this disk has synced in all its lives: it never falls, unless an older copy was put
    /// back. `None` in os mode, where nothing is promised about the disk.
    pub fn synced_rounds(&self) -> Option<u64> {
        self.inner.health.rounds()
    }

    /// Poisons the store: somebody knows that what is on this disk must not be used.
    pub fn condemn(&self, why: String) {
        self.inner.health.fail(Error::Corrupt(why.into()));
    }

    /// Takes what was overwritten or removed before this call out of every file of the data directory: old values,
    /// purged log entries, write-ahead logs. What a view, an export or a transaction still sees is taken out by the next
    /// call. Blocks, for as long as it takes to rewrite what changed since the last call; never call it on a thread that
    /// others wait for.
    ///
    /// # Errors
    /// What could be taken out is.
    pub fn compact(&self) -> Result<(), Error> {
        self.inner.engine()?.compact()
    }

    /// Calls `f` once when the store becomes poisoned, at once if it already is. Must not block.
    pub fn on_poison(&self, f: impl Fn(&Error) + Send + Sync + 'static) {
        self.inner.health.on_poison(Box::new(f));
    }

    /// Refuses with [`Error::Full`] when new work should not be admitted for want of disk space. Cheap; ask it
    /// before proposing, since an append that is already on its way is refused only in the last resort.
    pub fn room(&self) -> Result<(), Error> {
        self.inner.space.admit(&*self.inner.engine()?)
    }

    /// Returns how long the running round has been at the disk; `None` when the writer is idle. A leader whose
    /// disk stalls should hand over.
    pub fn stalled(&self) -> Option<Duration> {
        self.inner.health.stalled()
    }

    /// Returns the counters.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Carries out what is queued, syncs, stops the writer; later calls answer [`Error::Closed`]. The directory
    /// is free when the last view, export and transaction is gone. Not to be called from a callback.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Returns the shards that have a log or hard state, ascending.
    pub fn shards(&self) -> Result<Vec<ShardId>, Error> {
        let engine = self.inner.engine()?;
        let mut all = BTreeSet::new();
        for column in [Column::Log, Column::Hard] {
            all.extend(recovery::shards_of(&*engine, column)?);
        }
        Ok(all.into_iter().collect())
    }

    /// Returns a node-wide fact.
    pub fn get_node(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.inner.engine()?.payload(Column::Node, &keys::node(key))
    }

    /// Writes a node-wide fact and syncs it. Blocks for an fsync.
    pub fn put_node(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let mut batch = Batch::default();
        batch.put(Column::Node, keys::node(key), value);
        self.inner.synced(batch, Kind::Other)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("poisoned", &self.poisoned())
            .finish_non_exhaustive()
    }
}
