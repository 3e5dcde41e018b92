//! Snapshots: the applied state of a shard as a stream of chunks, exported by one node and imported by another.
//!
//! ```text
//!  chunk:  magic "RKS1" | crc32c of the rest, u32 | stream u32 | number u32 | last u8 | row ... row
//!  row:    table u8 | key length u32 | value length u32 | key | value          all numbers big-endian
//! ```
//!
//! An export reads one RocksDB snapshot chunk by chunk. It copies no database and blocks no writer. `stream` is derived
//! from the applied position, so chunks of two different exports cannot be mixed. `number` counts from 0. The last
//! chunk is marked, and an import cannot finish without it.
//!
//! An import writes beside the current state, under the next generation. It then moves the generation and the applied
//! position in one synced write: before it the old state is current, after it the new one. The rows of the other
//! generation are swept immediately or at the next open.
//!
//! Archives, such as backups, consist of chunks of the same encoding without stream and number: see `archive`.

mod chunk;
mod export;
mod import;

mod archive;

pub use archive::{ARCHIVE_CHUNK_BYTES, ArchiveChunk, RowSummary};
pub use export::SnapshotExport;
pub use import::SnapshotImport;
