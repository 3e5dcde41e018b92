//! Step 9: a committed batch becomes rows and outcomes, the same on every replica.
//!
//! The step before is the replicated log, which has checked the owner's epoch; the step after is the owner, which
//! answers and fans out. Everything is decided here, in log order: who may, which `s`, which time, whether it is a
//! repetition.

use bytes::Bytes;
use cluster::{Batch, Machine};
use storage::{Error, Transaction};

use super::apply;
use super::command::Command;
use super::door::RowsMut;
use super::outcome::Outcome;
use super::work::{Time, Work};

/// The replicated state machine of every shard. Stateless: all state is rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatMachine;

// === impl ChatMachine ===

impl Machine for ChatMachine {
    fn apply(&self, tx: &mut Transaction, batch: &Batch<'_>) -> Result<Vec<Bytes>, Error> {
        let time = Time {
            now_ms: batch.now_ms,
            reached_ms: batch.reached_ms,
        };
        let outcomes = apply_batch(tx, batch.index, time, batch.commands)?;
        Ok(outcomes.iter().map(Outcome::encode).collect())
    }
}

/// Applies one batch to any rows.
pub(super) fn apply_batch(
    rows: &mut impl RowsMut,
    index: u64,
    time: impl Into<Time>,
    commands: &[Bytes],
) -> Result<Vec<Outcome>, Error> {
    let mut work = Work::new(rows, index, time.into());
    let mut outcomes = Vec::with_capacity(commands.len());
    for bytes in commands {
        outcomes.push(match Command::decode(bytes) {
            Ok(command) => apply::command(&mut work, &command)?,
            Err(why) => Outcome::Bad(why),
        });
    }
    work.finish();
    Ok(outcomes)
}
