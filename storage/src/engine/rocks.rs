//! RocksDB engine.
//!
//! The write path is `write` without sync into the log's buffer, then `flush_wal(true)` once per commit group. A synced
//! write would make the state writes of all other shards wait behind the fsync in RocksDB's write queue (measured: 1.5
//! to 2.7 times slower). With `manual_wal_flush` a killed process loses unsynced writes too, not only a power cut.
//! Nothing relies on an unsynced write, since the log replays it.
//!
//! Recovery is point-in-time: replay stops at the first hole or damage of the write-ahead log, which yields the prefix
//! that the crate guarantees. It would also stop silently at a flipped bit between synced records;
//! [`crate::sync_marker`] detects that. Recycled log files are compatible with this mode. They are overwritten in
//! place, which makes an fsync cheaper than growing a file, but they rule out writes without the write-ahead log.
//!
//! Overwritten and deleted values remain in older files: in a table until a compaction merges it, in the write-ahead
//! log until its file is recycled and overwritten. [`Engine::compact`] forces both. It flushes the memory tables,
//! merges every table into its last level, and then uses up as many log files as are kept for recycling.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    DBRecoveryMode, ErrorKind, FlushOptions, LogLevel, Options, ReadOptions, Snapshot,
    WriteBatch as RocksBatch, WriteOptions,
};

use super::{BatchOp, Engine, EngineRead, ScanOrder, Visit, WriteBatch};
use crate::columns::Column;
use crate::{Config, Error, TableCatalog, keys};

/// Name of the row that is written only to start another write-ahead log file.
const ROLL: &str = "roll";
/// Number of write-ahead log files kept for recycling.
const RECYCLED: usize = 4;

/// An open database. Holds the directory's lock until the last snapshot of it is dropped.
pub(crate) struct RocksEngine {
    shared: Arc<RocksShared>,
}

struct RocksShared {
    db: DB,
    path: PathBuf,
    tables: TableCatalog,
    /// Declared after `db`, so dropped after it: the directory is unlocked only when the database is closed.
    _lock: Option<File>,
}

self_cell::self_cell!(
    struct SnapshotCell {
        owner: Arc<RocksShared>,
        #[not_covariant]
        dependent: Snapshot,
    }
);

// === impl RocksEngine ===

impl RocksEngine {
    /// Opens or creates the database in `path`.
    pub(crate) fn open(
        path: &Path,
        tables: TableCatalog,
        config: &Config,
        lock: File,
    ) -> Result<RocksEngine, Error> {
        let options = database_options(config);
        let db = DB::open_cf_descriptors(&options, path, families(tables, config))
            .map_err(|error| opening(path, &error))?;
        Ok(RocksEngine {
            shared: Arc::new(RocksShared {
                db,
                path: path.to_owned(),
                tables,
                _lock: Some(lock),
            }),
        })
    }

    /// Opens the files on disk without changing them; also works beside a running process.
    pub(crate) fn open_read_only(
        path: &Path,
        tables: TableCatalog,
        config: &Config,
    ) -> Result<RocksEngine, Error> {
        // A look at a wrong path must not leave a new database there.
        let mut options = database_options(config);
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        // The last argument permits an existing write-ahead log: a running node always has one.
        let db = DB::open_cf_descriptors_read_only(&options, path, families(tables, config), false)
            .map_err(|error| opening(path, &error))?;
        Ok(RocksEngine {
            shared: Arc::new(RocksShared {
                db,
                path: path.to_owned(),
                tables,
                _lock: None,
            }),
        })
    }

    /// Returns RocksDB's estimate of rows and of live bytes in a family.
    pub(crate) fn estimate(&self, column: Column) -> Result<(u64, u64), Error> {
        let family = self.shared.family(column)?;
        let number = |name: &str| {
            self.shared
                .db
                .property_int_value_cf(family, name)
                .map(Option::unwrap_or_default)
                .map_err(failed("property"))
        };
        let rows = number("rocksdb.estimate-num-keys")?;
        // The first estimate covers table files only; rows not flushed yet are in the memory tables.
        let bytes = number("rocksdb.estimate-live-data-size")? + number("rocksdb.cur-size-all-mem-tables")?;
        Ok((rows, bytes))
    }
}

impl EngineRead for RocksEngine {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let family = self.shared.family(column)?;
        let value = self
            .shared
            .db
            .get_pinned_cf(family, key)
            .map_err(failed("read"))?;
        // Copied: a pinned block would hold cache memory for as long as the caller keeps the value.
        Ok(value.map(|slice| Bytes::copy_from_slice(&slice)))
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        let family = self.shared.family(column)?;
        walk(
            self.shared.db.raw_iterator_cf_opt(family, bounded(from, to)),
            order,
            visit,
        )
    }
}

impl Engine for RocksEngine {
    fn snapshot(&self) -> Result<Box<dyn EngineRead>, Error> {
        Ok(Box::new(SnapshotCell::new(self.shared.clone(), |shared| {
            shared.db.snapshot()
        })))
    }

    fn write(&self, batch: WriteBatch) -> Result<(), Error> {
        // Sized once, since a group of some MiB would otherwise be copied several times while the buffer grows.
        let mut native = RocksBatch::with_capacity_bytes(batch.bytes + 16 * batch.ops.len() + 16);
        for op in &batch.ops {
            match op {
                BatchOp::Put { column, key, value } => {
                    native.put_cf(self.shared.family(*column)?, key, value)
                }
                BatchOp::Delete { column, key } => native.delete_cf(self.shared.family(*column)?, key),
                BatchOp::DeleteRange { column, from, to } => {
                    native.delete_range_cf(self.shared.family(*column)?, from, to);
                }
            }
        }
        self.shared
            .db
            // Not synced here: the fsync would block the writes of other shards in RocksDB's write queue.
            .write_opt(native, &WriteOptions::default())
            .map_err(failed("write"))
    }

    fn flush(&self) -> Result<(), Error> {
        self.shared.db.flush_wal(false).map_err(failed("flush"))
    }

    fn sync(&self) -> Result<(), Error> {
        self.shared.db.flush_wal(true).map_err(failed("fsync"))
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        let stat = rustix::fs::statvfs(&self.shared.path).map_err(|error| Error::Io {
            what: "free space",
            why: error.to_string().into(),
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn compact(&self) -> Result<(), Error> {
        // Values still in memory tables would survive the compaction of the files.
        self.shared.flush_tables()?;
        let mut options = CompactOptions::default();
        // Automatic compactions continue meanwhile; exclusive mode would stop them and stall the writers.
        options.set_exclusive_manual_compaction(false);
        for column in Column::all(self.shared.tables) {
            let family = self.shared.family(column)?;
            self.shared
                .db
                .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        // RocksDB truncates a log file to the bytes written into it when the next one starts.
        // More files than are recycled, so that every older file has been overwritten at the end.
        for round in 0..RECYCLED + 2 {
            let mut batch = WriteBatch::default();
            batch.put(
                Column::Node,
                keys::node(ROLL),
                &[u8::try_from(round).unwrap_or_default()],
            );
            self.write(batch)?;
            self.shared.flush_tables()?;
        }
        Ok(())
    }
}

// === impl SnapshotCell ===

impl EngineRead for SnapshotCell {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.with_dependent(|shared, snapshot| {
            let value = snapshot
                .get_pinned_cf(shared.family(column)?, key)
                .map_err(failed("read"))?;
            Ok(value.map(|slice| Bytes::copy_from_slice(&slice)))
        })
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: ScanOrder,
        visit: Visit<'_>,
    ) -> Result<(), Error> {
        self.with_dependent(|shared, snapshot| {
            let family = shared.family(column)?;
            walk(
                snapshot.raw_iterator_cf_opt(family, bounded(from, to)),
                order,
                visit,
            )
        })
    }
}

// === impl RocksShared ===

impl RocksShared {
    /// Flushes the memory tables, so that the write-ahead log up to now is no longer needed.
    fn flush_tables(&self) -> Result<(), Error> {
        let families: Vec<&ColumnFamily> = Column::all(self.tables)
            .map(|column| self.family(column))
            .collect::<Result<_, _>>()?;
        self.db
            .flush_cfs_opt(&families, &FlushOptions::default())
            .map_err(failed("flush"))
    }

    fn family(&self, column: Column) -> Result<&ColumnFamily, Error> {
        self.db
            .cf_handle(column.name())
            .ok_or(Error::Misuse("column family was not opened"))
    }
}

// === options ===

fn database_options(config: &Config) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Without it each write, unsynced state writes included, would cost a system call of its own.
    options.set_manual_wal_flush(true);
    // Set explicitly: the guarantee that a crash leaves a prefix depends on this mode.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_recycle_log_file_num(RECYCLED);
    // A family that is rarely written keeps old log files alive: this bound flushes it, and limits the replay at start.
    options.set_max_total_wal_size(config.wal_bytes as u64);
    // Bounds the memory tables of all families together, which the limits of each family would multiply.
    options.set_db_write_buffer_size(2 * config.log_write_buffer + 4 * config.state_write_buffer);
    // Spreads the write-back of table files, so that their final sync does not delay the fsyncs of the log.
    options.set_bytes_per_sync(1 << 20);
    options.set_max_background_jobs(2);
    options.set_max_open_files(i32::try_from(config.open_files).unwrap_or(i32::MAX));
    // RocksDB's own text log would otherwise grow without bound beside the data.
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options
}

fn families(tables: TableCatalog, config: &Config) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(config.block_cache);
    Column::all(tables)
        .map(|column| ColumnFamilyDescriptor::new(column.name(), family_options(config, column, &cache)))
        .collect()
}

fn family_options(config: &Config, column: Column, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(8 << 10);
    // Index and filter blocks count in the cache: outside of it their memory would grow with the data.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    match column {
        // Short-lived rows that are read by range gain neither from compression nor from a Bloom filter.
        Column::Log => {
            options.set_write_buffer_size(config.log_write_buffer);
            // Writes continue in a third buffer while two are being flushed.
            options.set_max_write_buffer_number(3);
            options.set_compression_type(DBCompressionType::None);
        }
        // A few rows that are overwritten forever: a small buffer is enough.
        Column::Node | Column::Hard => {
            options.set_write_buffer_size(config.log_write_buffer.min(4 << 20));
            options.set_compression_type(DBCompressionType::None);
            blocks.set_bloom_filter(10.0, false);
        }
        Column::State(_) => {
            options.set_write_buffer_size(config.state_write_buffer);
            options.set_max_write_buffer_number(3);
            options.set_compression_type(DBCompressionType::Lz4);
            blocks.set_bloom_filter(10.0, false);
        }
    }
    options.set_block_based_table_factory(&blocks);
    options
}

/// Returns read options with both bounds. Without them an iterator reads into the next shard, or through the tombstones
/// of a purged one.
fn bounded(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options
}

fn walk(mut rows: rocksdb::DBRawIterator<'_>, order: ScanOrder, visit: Visit<'_>) -> Result<(), Error> {
    match order {
        ScanOrder::Ascending => rows.seek_to_first(),
        ScanOrder::Descending => rows.seek_to_last(),
    }
    while let Some((key, value)) = rows.item() {
        if let ControlFlow::Break(()) = visit(key, value)? {
            return Ok(());
        }
        match order {
            ScanOrder::Ascending => rows.next(),
            ScanOrder::Descending => rows.prev(),
        }
    }
    // An iterator that met a damaged block ends like one that reached the end; only its status differs.
    rows.status().map_err(failed("scan"))
}

// === errors ===

fn failed(what: &'static str) -> impl Fn(rocksdb::Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::Corruption => Error::Corrupt(format!("{what}: {error}").into()),
        _ => Error::Io {
            what,
            why: error.to_string().into(),
        },
    }
}

fn opening(path: &Path, error: &rocksdb::Error) -> Error {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => Error::Corrupt(format!("open: {text}").into()),
        // The path is `db` below the data directory, and the error names the directory that the user configured.
        _ if text.contains("lock") && text.contains("LOCK") => Error::Locked {
            path: path.parent().unwrap_or(path).to_owned(),
        },
        _ => Error::Io {
            what: "open the database",
            why: text.into(),
        },
    }
}
