//! Chunks of an archive, such as a backup: the rows of an export, cut by their own keys.
//!
//! A snapshot chunk belongs to one transfer. A chunk of an archive has neither stream nor number, so its bytes depend on
//! its rows alone. A chunk ends behind a row whose hash is low enough, and not after a number of rows: a row more or less
//! changes the chunk around it and moves no other boundary. Two archives of a shard therefore share the chunks of all
//! rows that did not change in between.

use std::ops::ControlFlow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::chunk::{Builder, Chunk};
use super::export::SnapshotExport;
use super::import::SnapshotImport;
use crate::{Error, ScanOrder, TableCatalog, TableId, digest, row_scan};

/// Bytes below which a chunk does not end, except for the last one.
const MIN_BYTES: usize = 64 << 10;
/// Mean bytes between two rows with a low hash.
const MEAN_BYTES: u64 = 512 << 10;
/// Bytes from which a chunk ends behind any row.
const MAX_BYTES: usize = 2 << 20;

/// Maximum bytes of a chunk of an archive; a single row may exceed the usual maximum of 2 MiB.
pub const ARCHIVE_CHUNK_BYTES: u64 = 16 << 20;

/// Number of rows, and the sum of their digests. Equal sets of rows have equal summaries, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSummary {
    /// Number of rows in the set.
    pub rows: u64,
    /// Sum of the rows' digests, modulo 2¹²⁸.
    pub digest: u128,
}

/// One chunk of an archive.
#[derive(Debug)]
pub struct ArchiveChunk {
    /// Encoded chunk, for [`SnapshotImport::add_archived`].
    pub bytes: Vec<u8>,
    /// Summary of its rows.
    pub summary: RowSummary,
}

// === impl SnapshotExport ===

impl SnapshotExport {
    /// Returns the summary of all rows of the copy, and checks every record. Reads all of them, wherever the next chunk
    /// begins.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a damaged record.
    pub fn summary(&self) -> Result<RowSummary, Error> {
        self.inner.health.check()?;
        let mut summary = RowSummary::default();
        for &table in self.inner.tables.tables() {
            let mut each = |key: &[u8], value: &[u8]| {
                summary.add(table, key, value);
                Ok(ControlFlow::Continue(()))
            };
            let (shard, generation) = (self.shard, self.generation);
            row_scan::visit(
                &*self.rows,
                shard,
                generation,
                table,
                &[]..&[],
                ScanOrder::Ascending,
                &mut each,
            )?;
        }
        Ok(summary)
    }
}

// === impl RowSummary ===

impl RowSummary {
    /// Returns the summary of both sets of rows, which must be disjoint.
    #[must_use]
    pub fn and(self, other: RowSummary) -> RowSummary {
        RowSummary {
            rows: self.rows.saturating_add(other.rows),
            digest: self.digest.wrapping_add(other.digest),
        }
    }

    pub(crate) fn add(&mut self, table: TableId, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(digest::row(table, key, Some(value)));
    }
}

// === impl ArchiveChunk ===

impl ArchiveChunk {
    /// Decodes a chunk with rows of these tables and returns their summary.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the bytes are damaged, are no chunk of an archive, or hold a table that this build does not
    /// know.
    pub fn read(tables: TableCatalog, bytes: &[u8]) -> Result<RowSummary, Error> {
        let mut summary = RowSummary::default();
        visit(tables, bytes, |table, key, value| summary.add(table, key, value))?;
        Ok(summary)
    }

    /// Returns the chunk with these bytes in the place of its rows, for tests of the decoder behind the checksum.
    #[must_use]
    pub fn seal(rows: &[u8]) -> Vec<u8> {
        let mut builder = Builder::new(rows.len());
        builder.push_bytes(rows);
        builder.finish(0, 0, false)
    }
}

/// Decodes a chunk of an archive, and calls `each` with every row.
fn visit(
    tables: TableCatalog,
    bytes: &[u8],
    mut each: impl FnMut(TableId, &[u8], &[u8]),
) -> Result<(), Error> {
    let mut chunk = Chunk::parse(bytes)?;
    // A chunk of a transfer is only a part of its stream.
    if (chunk.stream, chunk.number, chunk.last) != (0, 0, false) {
        return Err(Error::Corrupt("a chunk of a transfer, not of an archive".into()));
    }
    while let Some((table, key, value)) = chunk.next_row(tables)? {
        each(table, key, value);
    }
    Ok(())
}

/// Returns true if a chunk may end behind this row, which has `bytes` bytes.
fn is_boundary(table: TableId, key: &[u8], bytes: usize) -> bool {
    // In proportion to the size of the row, so that the mean size of a chunk does not depend on the size of the rows.
    let share = (bytes as u64).saturating_mul(u64::MAX / MEAN_BYTES);
    xxh3_64_with_seed(key, u64::from(table.number())) < share
}

// === impl SnapshotExport, SnapshotImport: archives ===

impl SnapshotExport {
    /// Returns the next chunk of an archive, of the rows for which `keep` returns true; `None` after the last. There is
    /// no chunk without rows. Must not be mixed with [`next_chunk`](Self::next_chunk).
    pub fn next_archive_chunk(
        &mut self,
        keep: &dyn Fn(TableId, &[u8]) -> bool,
    ) -> Result<Option<ArchiveChunk>, Error> {
        self.inner.health.check()?;
        let Some((mut slot, mut from)) = self.next.take() else {
            return Ok(None);
        };
        let mut builder = Builder::new(MIN_BYTES);
        let mut summary = RowSummary::default();
        while let Some(&table) = self.inner.tables.tables().get(slot) {
            let mut rest = None;
            row_scan::visit(
                &*self.rows,
                self.shard,
                self.generation,
                table,
                &from..&[],
                ScanOrder::Ascending,
                &mut |key, value| {
                    if !keep(table, key) {
                        return Ok(ControlFlow::Continue(()));
                    }
                    let before = builder.len();
                    builder.push(table, key, value);
                    summary.add(table, key, value);
                    let bytes = builder.len();
                    let ends =
                        bytes >= MAX_BYTES || (bytes >= MIN_BYTES && is_boundary(table, key, bytes - before));
                    if ends {
                        // The smallest key behind this one.
                        rest = Some([key, &[0]].concat());
                        return Ok(ControlFlow::Break(()));
                    }
                    Ok(ControlFlow::Continue(()))
                },
            )?;
            if rest.is_some() {
                self.next = rest.map(|rest| (slot, rest));
                break;
            }
            slot += 1;
            from.clear();
        }
        let bytes = builder.finish(0, 0, false);
        Ok((summary.rows > 0).then_some(ArchiveChunk { bytes, summary }))
    }

    /// Starts again with the first row, of the same copy.
    pub fn rewind(&mut self) {
        self.next = Some((0, Vec::new()));
        self.number = 0;
    }
}

impl SnapshotImport {
    /// Adds a chunk of an archive and returns the summary of its rows. The order of the chunks does not matter.
    ///
    /// # Errors
    /// Those of [`add`](Self::add). Chunks of archives and of transfers cannot be mixed.
    pub fn add_archived(&mut self, chunk: &[u8]) -> Result<RowSummary, Error> {
        if self.stream.is_some() || self.complete {
            return Err(Error::Misuse("chunk of an archive in the import of a transfer"));
        }
        let mut rows = Vec::new();
        let mut summary = RowSummary::default();
        visit(self.inner.tables, chunk, |table, key, value| {
            summary.add(table, key, value);
            rows.push((table, key.to_vec(), value.to_vec()));
        })?;
        self.write_rows(chunk.len(), rows.iter().map(|(t, k, v)| (*t, &k[..], &v[..])))?;
        Ok(summary)
    }

    /// Marks an import of an archive as complete. The caller has compared the rows with the archive's summary.
    pub fn complete(&mut self) {
        self.complete = true;
    }
}
