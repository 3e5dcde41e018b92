//! Read-only inspection of a data directory, printed by `node/examples/inspect.rs`.
//!
//! Opens the database read-only and takes no lock, so it works beside a running node. It then reads what that node has
//! written to files so far.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::columns::Column;
use crate::engine::EngineRead;
use crate::engine::rocks::RocksEngine;
use crate::{
    Config, Error, HardKey, RowSummary, ScanOrder, ShardId, TableCatalog, TableId, data_dir, keys, raft_log,
    record, recovery, row_scan, sync_marker,
};

/// Content of a data directory.
#[derive(Debug)]
pub struct InspectReport {
    /// Number of the last synced commit group in the database.
    pub rounds: u64,
    /// Node-wide values with their names.
    pub node: Vec<(String, Bytes)>,
    /// Shards that have a log or hard state, ascending.
    pub shards: Vec<ShardReport>,
    /// Name of each column family, with RocksDB's estimates of its rows and of its live bytes.
    pub families: Vec<(&'static str, u64, u64)>,
}

/// Content of one shard.
#[derive(Debug)]
pub struct ShardReport {
    /// The id of the shard.
    pub shard: ShardId,
    /// First and last index of the log; `None` if it is empty.
    pub log: Option<(u64, u64)>,
    /// Hard-state values with their keys.
    pub hard: Vec<(HardKey, Bytes)>,
    /// The current generation of the state.
    pub generation: u32,
    /// The applied position; `None` before the first commit.
    pub applied: Option<Bytes>,
    /// Rows and bytes of each table that has rows; every record was checked.
    pub tables: Vec<(TableId, u64, u64)>,
    /// Summary of all rows: replicas at the same applied position have the same.
    pub rows: RowSummary,
}

// === impl InspectReport ===

impl InspectReport {
    /// Reads a data directory with its tables, checking every record of the state.
    ///
    /// # Errors
    /// The errors of `Store::open`, without `Locked`; [`Error::Corrupt`] for the first damaged record.
    pub fn read(tables: TableCatalog, path: &Path) -> Result<InspectReport, Error> {
        data_dir::read_format(path)?;
        // Read before the database: a running node writes the database first, and a later marker could be ahead of this
        // view.
        let witnessed = sync_marker::read_marker(path)?;
        // Small buffers: the inspection runs beside a node that needs the memory.
        let rows = RocksEngine::open_read_only(&data_dir::database(path), tables, &Config::small(path))?;
        let rounds = recovery::last_round(&rows)?;
        sync_marker::check(witnessed, rounds)?;
        // A shard may have one of the two only: a new replica votes before it has a log.
        let mut ids = recovery::shards_of(&rows, Column::Log)?;
        ids.extend(recovery::shards_of(&rows, Column::Hard)?);
        ids.sort_unstable();
        ids.dedup();
        let shards = ids
            .into_iter()
            .map(|shard| ShardReport::read(&rows, tables, shard))
            .collect::<Result<_, _>>()?;
        let families = Column::all(tables)
            .map(|column| {
                rows.estimate(column)
                    .map(|(count, bytes)| (column.name(), count, bytes))
            })
            .collect::<Result<_, _>>()?;
        Ok(InspectReport {
            rounds,
            node: node(&rows)?,
            shards,
            families,
        })
    }
}

fn node(rows: &dyn EngineRead) -> Result<Vec<(String, Bytes)>, Error> {
    let mut facts = Vec::new();
    // Names follow the byte 1; the byte 0 is the number of commit groups, reported separately.
    rows.scan(
        Column::Node,
        &[1],
        &[2],
        ScanOrder::Ascending,
        &mut |key, value| {
            let value = record::open_slice(Column::Node, key, value)?;
            facts.push((
                String::from_utf8_lossy(&key[1..]).into_owned(),
                Bytes::copy_from_slice(value),
            ));
            Ok(std::ops::ControlFlow::Continue(()))
        },
    )?;
    Ok(facts)
}

impl fmt::Display for InspectReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "commit groups  {}", self.rounds)?;
        for (name, value) in &self.node {
            writeln!(f, "node value     {name} = {}", Hex(value))?;
        }
        writeln!(f, "\ncolumn family    rows (estimate)    bytes (estimate)")?;
        for (name, rows, bytes) in &self.families {
            writeln!(f, "{name:<14} {rows:>17} {bytes:>19}")?;
        }
        for shard in &self.shards {
            write!(f, "\n{shard}")?;
        }
        Ok(())
    }
}

// === impl ShardReport ===

impl ShardReport {
    fn read(rows: &dyn EngineRead, catalog: TableCatalog, shard: ShardId) -> Result<ShardReport, Error> {
        let generation = recovery::generation(rows, shard)?;
        let mut hard = Vec::new();
        for key in HardKey::ALL {
            hard.extend(
                rows.payload(Column::Hard, &keys::hard(shard, key))?
                    .map(|value| (key, value)),
            );
        }
        let mut tables = Vec::new();
        let mut summary = RowSummary::default();
        for &table in catalog.tables() {
            let (mut count, mut bytes) = (0, 0);
            row_scan::visit(
                rows,
                shard,
                generation,
                table,
                &[]..&[],
                ScanOrder::Ascending,
                &mut |key, value| {
                    count += 1;
                    bytes += (key.len() + value.len()) as u64;
                    summary.add(table, key, value);
                    Ok(std::ops::ControlFlow::Continue(()))
                },
            )?;
            if count > 0 {
                tables.push((table, count, bytes));
            }
        }
        let log = raft_log::bounds(rows, shard)?;
        let applied = rows.payload(Column::Hard, &keys::applied(shard, generation))?;
        Ok(ShardReport {
            shard,
            log,
            hard,
            generation,
            applied,
            tables,
            rows: summary,
        })
    }
}

impl fmt::Display for ShardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}: generation {}, log ", self.shard, self.generation)?;
        match self.log {
            Some((first, last)) => writeln!(f, "{first}..={last} ({} entries)", last - first + 1)?,
            None => writeln!(f, "empty")?,
        }
        for (key, value) in &self.hard {
            writeln!(f, "  {:<12} {}", format!("{key:?}").to_lowercase(), Hex(value))?;
        }
        if let Some(applied) = &self.applied {
            writeln!(f, "  {:<12} {}", "applied", Hex(applied))?;
        }
        for (table, rows, bytes) in &self.tables {
            writeln!(f, "  {:<12} {rows} rows, {bytes} bytes", table.name())?;
        }
        writeln!(
            f,
            "  {:<12} {:032x}, the digest of all rows",
            "rows", self.rows.digest
        )?;
        Ok(())
    }
}

/// Displays bytes as text if they are printable ASCII, otherwise as hex; their meaning is defined above this crate.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => write!(f, "{text:?}"),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
