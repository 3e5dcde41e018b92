//! Replicated state machine of a shard: turns a committed batch into rows and outcomes, the same on every replica.
//!
//! It calls `apply` for each command of the batch. `cluster::raft` has checked the epoch of the owner before.
//! Authorisation, positions, timestamps and deduplication are decided here, in log order.

use bytes::Bytes;
use cluster::{CommittedBatch, StateMachine};
use storage::{Error, Transaction};

use super::apply;
use super::apply_context::{ApplyContext, Time};
use super::command::ShardCommand;
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
        let outcomes = apply_batch(tx, batch.index, time, batch.commands)?;
        Ok(outcomes.iter().map(ShardOutcome::encode).collect())
    }
}

/// Applies one batch to any rows. Returns one outcome per command, in order.
pub(super) fn apply_batch(
    rows: &mut impl RowWriter,
    index: u64,
    time: impl Into<Time>,
    commands: &[Bytes],
) -> Result<Vec<ShardOutcome>, Error> {
    let mut work = ApplyContext::new(rows, index, time.into());
    let mut outcomes = Vec::with_capacity(commands.len());
    for bytes in commands {
        outcomes.push(match ShardCommand::decode(bytes) {
            Ok(command) => apply::command(&mut work, &command)?,
            // An unreadable command is an outcome, not an error: an error would stop every replica at this entry for
            // good.
            Err(why) => ShardOutcome::Bad(why),
        });
    }
    // Not reached after a storage error: the transaction is then dropped as a whole.
    work.finish();
    Ok(outcomes)
}
