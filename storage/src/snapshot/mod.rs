//! A shard's state on its way to another node, and in.
//!
//! ```text
//!  chunk:  magic "RKS1" | crc32c of the rest, u32 | stream u32 | number u32 | last u8 | row ... row
//!  row:    table u8 | key length u32 | value length u32 | key | value          all numbers big-endian
//! ```
//!
//! An export reads one snapshot, chunk by chunk; it needs no copy of the database and stops nobody. `stream`
//! comes from the applied position, so chunks of two exports that differ can not be mixed; `number` counts from
//! 0; the last chunk says so, and an import that has not seen it can not finish.
//!
//! An import writes beside the state that is being read, under the next generation, and then moves the
//! generation and the applied position in one synced write. Before it the old state is there, after it the new
//! one; what is left of the other is swept, at once or at the next open.

mod chunk;
mod export;
mod import;

pub use export::Export;
pub use import::Import;
