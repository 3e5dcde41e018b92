//! The replicated state machine, as seen from the log.

use bytes::Bytes;
use storage::{ShardId, Transaction};

/// Applies committed commands. Every replica runs it on the same commands in the same order and must reach the
/// same rows, byte for byte: no clock, no randomness, no reads outside the transaction.
pub trait Machine: Send + Sync + 'static {
    /// Applies one batch inside `tx`, which the caller commits together with the applied position, and returns one
    /// outcome per command. A command that can't be decoded or isn't allowed is an outcome, never an error and never
    /// a panic: an error stops the replica, and a panic would stop all of them.
    ///
    /// # Errors
    /// Only when the storage fails; the replica stops then.
    fn apply(&self, tx: &mut Transaction, batch: &Batch<'_>) -> Result<Vec<Bytes>, storage::Error>;
}

/// A committed batch of commands of one shard.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The shard.
    pub shard: ShardId,
    /// Index of the log entry: grows by one or more with each batch.
    pub index: u64,
    /// The owner's epoch, checked already.
    pub epoch: u64,
    /// The time in milliseconds since the epoch, checked already: no more than [`BOUND`](crate::clock::BOUND) ahead of
    /// `reached_ms`. May go backwards from batch to batch.
    pub now_ms: u64,
    /// What the clocks of a majority had reached, as the proposer knew them: what ends by time ends by this. May go
    /// backwards, too.
    pub reached_ms: u64,
    /// The commands, in order.
    pub commands: &'a [Bytes],
}
