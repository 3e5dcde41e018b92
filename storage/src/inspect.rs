//! A look at a data directory from outside: what `examples/inspect` prints.
//!
//! Opens the database read-only and takes no lock, so it works beside a running node; it then sees what that
//! node has written to files so far.

use std::fmt;
use std::path::Path;

use bytes::Bytes;

use crate::columns::{Column, Table};
use crate::engine::Read;
use crate::engine::rocks::Rocks;
use crate::{Config, Error, HardKey, Order, ShardId, format, keys, raft_log, recovery, witness};

/// What is in a data directory.
#[derive(Debug)]
pub struct Report {
    /// Number of the last synced round in the database.
    pub rounds: u64,
    /// Facts of the node, by name.
    pub node: Vec<(String, Bytes)>,
    /// Shards that have anything, ascending.
    pub shards: Vec<ShardReport>,
    /// Per column family: its name, RocksDB's estimate of rows, and of live bytes.
    pub families: Vec<(&'static str, u64, u64)>,
}

/// What a shard has.
#[derive(Debug)]
pub struct ShardReport {
    /// The shard.
    pub shard: ShardId,
    /// First and last index of the log.
    pub log: Option<(u64, u64)>,
    /// Hard state: key and value.
    pub hard: Vec<(HardKey, Bytes)>,
    /// The generation of the state that is read.
    pub generation: u32,
    /// The applied position.
    pub applied: Option<Bytes>,
    /// Rows and bytes of each table that has any; every record was checked.
    pub tables: Vec<(Table, u64, u64)>,
}

// === impl Report ===

impl Report {
    /// Reads a data directory, checking every record of the state.
    ///
    /// # Errors
    /// As `Store::open`; and [`Error::Corrupt`] for the first damaged record.
    pub fn read(path: &Path) -> Result<Report, Error> {
        format::peek(path)?;
        // Before the database: a running node moves both, this one last.
        let witnessed = witness::peek(path)?;
        let rows = Rocks::open_read_only(&format::database(path), &Config::small(path))?;
        let rounds = recovery::last_round(&rows)?;
        witness::check(witnessed, rounds)?;
        let mut ids = recovery::shards_of(&rows, Column::Log)?;
        ids.extend(recovery::shards_of(&rows, Column::Hard)?);
        ids.sort_unstable();
        ids.dedup();
        let shards = ids
            .into_iter()
            .map(|shard| ShardReport::read(&rows, shard))
            .collect::<Result<_, _>>()?;
        let families = Column::ALL
            .into_iter()
            .map(|column| {
                rows.estimate(column)
                    .map(|(count, bytes)| (column.name(), count, bytes))
            })
            .collect::<Result<_, _>>()?;
        Ok(Report {
            rounds,
            node: node(&rows)?,
            shards,
            families,
        })
    }
}

fn node(rows: &dyn Read) -> Result<Vec<(String, Bytes)>, Error> {
    let mut facts = Vec::new();
    rows.scan(Column::Node, &[1], &[2], Order::Ascending, &mut |key, value| {
        let value = crate::record::open_slice(Column::Node, key, value)?;
        facts.push((
            String::from_utf8_lossy(&key[1..]).into_owned(),
            Bytes::copy_from_slice(value),
        ));
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    Ok(facts)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "synced rounds  {}", self.rounds)?;
        for (name, value) in &self.node {
            writeln!(f, "node fact      {name} = {}", Hex(value))?;
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
    fn read(rows: &dyn Read, shard: ShardId) -> Result<ShardReport, Error> {
        let generation = recovery::generation(rows, shard)?;
        let mut hard = Vec::new();
        for key in HardKey::ALL {
            hard.extend(
                rows.payload(Column::Hard, &keys::hard(shard, key))?
                    .map(|value| (key, value)),
            );
        }
        let mut tables = Vec::new();
        for table in Table::ALL {
            let (mut count, mut bytes) = (0, 0);
            crate::tables::visit(
                rows,
                shard,
                generation,
                table,
                &[]..&[],
                Order::Ascending,
                &mut |key, value| {
                    count += 1;
                    bytes += (key.len() + value.len()) as u64;
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
        Ok(())
    }
}

/// Bytes as text when they are text, as hex otherwise: what they mean is known above this crate.
struct Hex<'b>(&'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => write!(f, "{text:?}"),
            _ => self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
