//! Operation for the storage writer, and the callback with its result.

use crate::engine::WriteBatch;
use crate::{Error, ShardId};

/// Callback with the result of a queued operation. Runs once, in the order of the calls, on the writer's thread. It
/// must not block, nor call anything that blocks on the writer (`sync`, `put_node`, `close`).
pub type Completion = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// One operation for the storage writer.
pub(crate) struct WriteOp {
    pub(crate) batch: WriteBatch,
    pub(crate) kind: WriteKind,
    /// True if `done` may run only after an fsync.
    pub(crate) sync: bool,
    pub(crate) done: Option<Completion>,
}

/// Properties of an operation by which the writer admits or refuses it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WriteKind {
    /// Appends entries to a log. Refused when the disk is full, and while earlier entries are missing.
    Append {
        shard: ShardId,
        first: u64,
        entries: u64,
    },
    /// Removes the entries of a log from an index on.
    Truncate { shard: ShardId, from: u64 },
    /// Removes the entries of a log up to and including an index.
    Purge { shard: ShardId, to: u64 },
    /// Any other operation; never refused, because it is small or frees space.
    Other,
}

// === impl WriteOp ===

impl WriteOp {
    /// Returns the bytes that the operation counts in the queue. The fixed part bounds the number of empty operations
    /// too.
    pub(crate) fn bytes(&self) -> usize {
        64 + self.batch.bytes
    }
}
