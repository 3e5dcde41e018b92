//! Interface of the replicated state machine.

use bytes::Bytes;
use storage::{ShardId, Transaction};

use crate::ids::FeatureLevel;

/// Applies committed commands. Every replica runs it on the same commands in the same order and must produce identical
/// rows, byte for byte: no clock, no randomness, no reads outside the transaction.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one batch inside `tx`, which the caller commits together with the applied position. Returns one outcome
    /// per command. A command that the rules do not allow results in an outcome.
    ///
    /// # Errors
    /// The replica stops before the entry: the storage failed, or a command cannot be decoded. Another build may apply
    /// that command, so skipping it would make the replicas differ.
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError>;
}

/// Error that stops a replica.
#[derive(Debug, thiserror::Error)]
pub enum StateMachineError {
    #[error("storage: {0}")]
    Storage(#[from] storage::Error),
    #[error(transparent)]
    Undecodable(#[from] UndecodableCommand),
}

/// Command that this build cannot apply: of a newer build, or damaged. Restart the node with a build that knows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("command of kind {} and version {version} cannot be applied: {reason}", kind_name(*.kind))]
pub struct UndecodableCommand {
    /// Number of the command's kind; `None` if even that cannot be decoded.
    pub kind: Option<u8>,
    /// Version of the command's encoding.
    pub version: u8,
    pub reason: String,
}

/// Committed batch of commands of one shard.
#[derive(Clone, Copy, Debug)]
pub struct CommittedBatch<'a> {
    pub shard: ShardId,
    /// Index of the log entry: greater than that of any earlier batch.
    pub index: u64,
    /// Epoch of the owner that proposed the batch; already checked.
    pub epoch: u64,
    /// Feature level by which the rules are selected: supported by every member, and never below that of an earlier
    /// batch of the shard.
    pub level: FeatureLevel,
    /// Time of the batch in milliseconds since the Unix epoch; already checked to be at most
    /// [`BOUND`](crate::clock::BOUND) ahead of `reached_ms`. May decrease from batch to batch.
    pub now_ms: u64,
    /// Time that a majority's clocks had reached, as known to the proposer. Everything that expires is compared with
    /// it. May decrease, too.
    pub reached_ms: u64,
    pub commands: &'a [Bytes],
}

fn kind_name(kind: Option<u8>) -> String {
    kind.map_or_else(|| "unknown".to_owned(), |kind| kind.to_string())
}
