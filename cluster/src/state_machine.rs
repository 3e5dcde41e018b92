//! Interface of the replicated state machine.

use bytes::Bytes;
use storage::{ShardId, Transaction};

/// Applies committed commands. Every replica runs it on the same commands in the same order and must produce identical
/// rows, byte for byte: no clock, no randomness, no reads outside the transaction.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one batch inside `tx`, which the caller commits together with the applied position. Returns one outcome
    /// per command. A command that cannot be decoded or is not allowed results in an outcome, never in an error or a
    /// panic: an error stops this replica, and a panic would stop all of them.
    ///
    /// # Errors
    /// Only when the storage fails; the replica stops then.
    fn apply(&self, tx: &mut Transaction, batch: &CommittedBatch<'_>) -> Result<Vec<Bytes>, storage::Error>;
}

/// Committed batch of commands of one shard.
#[derive(Clone, Copy, Debug)]
pub struct CommittedBatch<'a> {
    pub shard: ShardId,
    /// Index of the log entry: greater than that of any earlier batch.
    pub index: u64,
    /// Epoch of the owner that proposed the batch; already checked.
    pub epoch: u64,
    /// Time of the batch in milliseconds since the Unix epoch; already checked to be at most
    /// [`BOUND`](crate::clock::BOUND) ahead of `reached_ms`. May decrease from batch to batch.
    pub now_ms: u64,
    /// Time that a majority's clocks had reached, as known to the proposer. Everything that expires is compared with
    /// it. May decrease, too.
    pub reached_ms: u64,
    pub commands: &'a [Bytes],
}
