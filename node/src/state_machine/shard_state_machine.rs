//! Replicated state machine of a shard: turns a committed batch into rows and outcomes, the same on every replica.
//!
//! It calls `apply` for each command of the batch. `cluster::raft` has checked the epoch of the owner before.
//! Authorisation, positions, timestamps and deduplication are decided here, in log order.

use bytes::Bytes;
use cluster::{CommittedBatch, FeatureLevel, StateMachine, StateMachineError};
use storage::Transaction;

use super::apply;
use super::apply_context::{ApplyContext, Time};
use super::command::{CommandDecodeError, ShardCommand, VERSION};
use super::outcome::ShardOutcome;
use super::row_store::RowWriter;

/// Replicated state machine of every shard. It is stateless: all state is rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardStateMachine;

// === impl ShardStateMachine ===

impl StateMachine for ShardStateMachine {
    fn apply(
        &self,
        tx: &mut Transaction,
        batch: &CommittedBatch<'_>,
    ) -> Result<Vec<Bytes>, StateMachineError> {
        let time = Time {
            now_ms: batch.now_ms,
            reached_ms: batch.reached_ms,
        };
        let outcomes = apply_batch(tx, batch.index, batch.level, time, batch.commands)?;
        Ok(outcomes.iter().map(ShardOutcome::encode).collect())
    }
}

/// Applies one batch to any rows, by the rules of `level`. Returns one outcome per command, in order.
pub(super) fn apply_batch(
    rows: &mut impl RowWriter,
    index: u64,
    level: FeatureLevel,
    time: impl Into<Time>,
    commands: &[Bytes],
) -> Result<Vec<ShardOutcome>, StateMachineError> {
    let mut work = ApplyContext::new(rows, index, time.into());
    let mut outcomes = Vec::with_capacity(commands.len());
    for bytes in commands {
        // An unreadable command stops the replica: a node that can read it would apply it, so skipping it would let the
        // two differ.
        let command = decode_at(level, bytes)?;
        outcomes.push(apply::command(&mut work, &command)?);
    }
    // Not reached after an error: the transaction is then dropped as a whole.
    work.finish();
    Ok(outcomes)
}

/// Decodes a command, whose kind must belong to the rules of `level`: a build without the kind stops at the command, so
/// this one must not apply it.
fn decode_at(level: FeatureLevel, bytes: &[u8]) -> Result<ShardCommand, CommandDecodeError> {
    let command = ShardCommand::decode(bytes)?;
    let kind = command.kind();
    if kind.first_level() > level {
        return Err(CommandDecodeError {
            version: VERSION,
            kind: Some(kind as u8),
            reason: format!("the kind begins at feature level {}", kind.first_level()),
        });
    }
    Ok(command)
}
