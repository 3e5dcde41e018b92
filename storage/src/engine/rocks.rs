//! RocksDB as the engine.
//!
//! The write path is `write` without sync into the log's buffer, then `flush_wal(true)` once a round: a synced
//! write would make the state writes of all other shards wait behind the fsync in RocksDB's write queue (1.5 to
//! 2.7 times slower, measured). `manual_wal_flush` means that a killed process loses unsynced writes, not only
//! a power cut; nothing relies on an unsynced write, since the log replays it.
//!
//! Recovery is point-in-time: replay stops at the first hole or damage of the write-ahead log, which is the
//! prefix the crate promises. It would also stop silently at a flipped bit amid synced records; that is what
//! [`crate::witness`] detects. Recycled log files are compatible with this mode (and are overwritten in place,
//! which makes an fsync cheaper than growing a file), but refuse writes without the write-ahead log.
//!
//! What was overwritten or deleted stays on the disk in older files: of a table until a compaction merges it with what
//! replaced it, of the write-ahead log until the file is recycled and written over. [`Engine::compact`] brings both
//! about: it writes the memory tables out, merges every table into its last level, and then uses up as many log files
//! as are kept for recycling.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType,
    DBRecoveryMode, ErrorKind, FlushOptions, LogLevel, Options, ReadOptions, Snapshot, WriteBatch,
    WriteOptions,
};

use super::{Batch, Engine, Op, Read, Visit};
use crate::columns::Column;
use crate::{Config, Error, Order, keys};

/// A row that is written only to begin another write-ahead log file.
const ROLL: &str = "roll";
/// Write-ahead log files that are kept to be written over.
const RECYCLED: usize = 4;

/// An open database. Keeps the directory's lock until the last snapshot of it is gone.
pub(crate) struct Rocks {
    shared: Arc<Shared>,
}

struct Shared {
    db: DB,
    path: PathBuf,
    /// Declared after `db`: the directory is free only when the database is closed.
    _lock: Option<File>,
}

self_cell::self_cell!(
    struct SnapshotCell {
        owner: Arc<Shared>,
        #[not_covariant]
        dependent: Snapshot,
    }
);

// === impl Rocks ===

impl Rocks {
    /// Opens or creates the database in `path`.
    pub(crate) fn open(path: &Path, config: &Config, lock: File) -> Result<Rocks, Error> {
        let options = database_options(config);
        let db = DB::open_cf_descriptors(&options, path, families(config))
            .map_err(|error| opening(path, &error))?;
        Ok(Rocks {
            shared: Arc::new(Shared {
                db,
                path: path.to_owned(),
                _lock: Some(lock),
            }),
        })
    }

    /// Opens what is on disk without changing it; works beside a running process.
    pub(crate) fn open_read_only(path: &Path, config: &Config) -> Result<Rocks, Error> {
        let mut options = database_options(config);
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        let db = DB::open_cf_descriptors_read_only(&options, path, families(config), false)
            .map_err(|error| opening(path, &error))?;
        Ok(Rocks {
            shared: Arc::new(Shared {
                db,
                path: path.to_owned(),
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
        let bytes = number("rocksdb.estimate-live-data-size")? + number("rocksdb.cur-size-all-mem-tables")?;
        Ok((rows, bytes))
    }
}

impl Read for Rocks {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let family = self.shared.family(column)?;
        let value = self
            .shared
            .db
            .get_pinned_cf(family, key)
            .map_err(failed("read"))?;
        Ok(value.map(|slice| Bytes::copy_from_slice(&slice)))
    }

    fn scan(
        &self,
        column: Column,
        from: &[u8],
        to: &[u8],
        order: Order,
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

impl Engine for Rocks {
    fn snapshot(&self) -> Result<Box<dyn Read>, Error> {
        Ok(Box::new(SnapshotCell::new(self.shared.clone(), |shared| {
            shared.db.snapshot()
        })))
    }

    fn write(&self, batch: Batch) -> Result<(), Error> {
        let mut native = WriteBatch::with_capacity_bytes(batch.bytes + 16 * batch.ops.len() + 16);
        for op in &batch.ops {
            match op {
                Op::Put { column, key, value } => native.put_cf(self.shared.family(*column)?, key, value),
                Op::Delete { column, key } => native.delete_cf(self.shared.family(*column)?, key),
                Op::DeleteRange { column, from, to } => {
                    native.delete_range_cf(self.shared.family(*column)?, from, to);
                }
            }
        }
        self.shared
            .db
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
        self.shared.flush_tables()?;
        let mut options = CompactOptions::default();
        // The automatic compactions go on beside it.
        options.set_exclusive_manual_compaction(false);
        for column in Column::ALL {
            let family = self.shared.family(column)?;
            self.shared
                .db
                .compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        // Each of these files is cut to what is written into it when the next one is begun.
        for round in 0..RECYCLED + 2 {
            let mut batch = Batch::default();
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

impl Read for SnapshotCell {
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
        order: Order,
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

// === impl Shared ===

impl Shared {
    /// Writes the memory tables out, so that the write-ahead log before now is needed no more.
    fn flush_tables(&self) -> Result<(), Error> {
        let families: Vec<&ColumnFamily> = Column::ALL
            .into_iter()
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
    options.set_manual_wal_flush(true);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_recycle_log_file_num(RECYCLED);
    options.set_max_total_wal_size(config.wal_bytes as u64);
    options.set_db_write_buffer_size(2 * config.log_write_buffer + 4 * config.state_write_buffer);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_background_jobs(2);
    options.set_max_open_files(i32::try_from(config.open_files).unwrap_or(i32::MAX));
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_max_manifest_file_size(16 << 20);
    options
}

fn families(config: &Config) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(config.block_cache);
    Column::ALL
        .into_iter()
        .map(|column| ColumnFamilyDescriptor::new(column.name(), family_options(config, column, &cache)))
        .collect()
}

fn family_options(config: &Config, column: Column, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(8 << 10);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    match column {
        // Short-lived rows read by range: neither compression nor a Bloom filter pays.
        Column::Log => {
            options.set_write_buffer_size(config.log_write_buffer);
            options.set_max_write_buffer_number(3);
            options.set_compression_type(DBCompressionType::None);
        }
        // A few rows that are overwritten for ever.
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

/// Both bounds always: without them an iterator walks into the next shard, or through a purged one's tombstones.
fn bounded(from: &[u8], to: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(from);
    options.set_iterate_upper_bound(to);
    options
}

fn walk(mut rows: rocksdb::DBRawIterator<'_>, order: Order, visit: Visit<'_>) -> Result<(), Error> {
    match order {
        Order::Ascending => rows.seek_to_first(),
        Order::Descending => rows.seek_to_last(),
    }
    while let Some((key, value)) = rows.item() {
        if let ControlFlow::Break(()) = visit(key, value)? {
            return Ok(());
        }
        match order {
            Order::Ascending => rows.next(),
            Order::Descending => rows.prev(),
        }
    }
    // An iterator that met a damaged block looks like one that reached the end.
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
        _ if text.contains("lock") && text.contains("LOCK") => Error::Locked {
            path: path.parent().unwrap_or(path).to_owned(),
        },
        _ => Error::Io {
            what: "open the database",
            why: text.into(),
        },
    }
}
