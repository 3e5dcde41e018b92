//! Replicated state machine of a shard: turns a committed batch into rows and outcomes, the same on every replica.
//!
//! It calls `apply` for each command of the batch. `cluster::raft` has checked the epoch of the owner before.
//! Authorisation, positions, timestamps and deduplication are decided here, in log order.

use bytes::Bytes;
use cluster::{CommittedBatch, StateMachine};
use storage::{Error, Transaction};

use super::apply;
use super::apply_context::{ApplyContext, Time};
use super::command::{DecodeError, ShardCommand};
use super::outcome::ShardOutcome;
use super::row_store::RowWriter;

/// Replicated state machine of every shard. It is stateless: all state is rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStateMachine;

// === impl ShardStateMachine ===

impl StateMachine for ShardStateMachine {
    fn apply(&self, tx: &mut Transaction, batch: &CommittedBatch<'_>) -> Result<Vec<Bytes>, Error> {
        let time = Time {
            now_ms: batch.now_ms,
            reached_ms: batch.reached_ms,
        };
        let outcomes = apply_batch(tx, batch.index, time, batch.commands).map_err(stopping)?;
        Ok(outcomes.iter().map(ShardOutcome::encode).collect())
    }
}

/// Reason for which a replica cannot apply a batch. It stops before the batch, so that nothing is skipped.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyFailure {
    /// A newer node proposed the command, or the entry is damaged.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    #[error(transparent)]
    Storage(#[from] Error),
}

/// Converts the reason to the error by which the cluster member stops the replica.
fn stopping(error: ApplyFailure) -> Error {
    match error {
        ApplyFailure::Undecodable(undecodable) => Error::Corrupt(undecodable.to_string().into()),
        ApplyFailure::Storage(error) => error,
    }
}

/// Applies one batch to any rows. Returns one outcome per command, in order.
pub(super) fn apply_batch(
    rows: &mut impl RowWriter,
    index: u64,
    time: impl Into<Time>,
    commands: &[Bytes],
) -> Result<Vec<ShardOutcome>, ApplyFailure> {
    let mut work = ApplyContext::new(rows, index, time.into());
    let mut outcomes = Vec::with_capacity(commands.len());
    for bytes in commands {
        // An unreadable command stops the replica: a node that can read it would apply it, so skipping it would let the
        // two differ.
        let command = ShardCommand::decode(bytes)?;
        outcomes.push(apply::command(&mut work, &command)?);
    }
    // Not reached after an error: the transaction is then dropped as a whole.
    work.finish();
    Ok(outcomes)
}
