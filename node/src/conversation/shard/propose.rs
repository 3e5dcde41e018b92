//! Proposal task: one per shard, moves checked commands from the actors into the log.
//!
//! Spine: step 6 of 13. Previous: `node: conversation/precheck`. Next: `cluster: shard/proposer`.
//!
//! It runs after all actors with pending work, so one batch holds what arrived together. Commands that the log's queue
//! has no room for stay in the shard, within the bound of `ShardContext::has_room`.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::context::ShardContext;
use super::messages::AppliedBatch;

/// Pause before a batch is proposed again when the log's queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Proposes batches until the shard's actors end.
pub(super) async fn run(core: Rc<ShardContext>) {
    loop {
        core.ready_wake.notified().await;
        loop {
            // Reserved before the batch is taken: the completion callback cannot wait for a free slot.
            let Ok(permit) = core.rounds.clone().reserve_owned().await else {
                return;
            };
            let mut round = core.take_round();
            if round.is_empty() {
                break;
            }
            let commands = round.iter().map(|pending| pending.bytes.clone()).collect();
            // Marked before the submission: a command lost from here on may have been applied.
            for pending in &mut round {
                pending.proposed = true;
            }
            core.shared.metrics.rounds.inc();
            core.shared.metrics.proposed.inc_by(round.len() as u64);
            // Shared with the callback: a full queue drops the callback, and the batch must survive that.
            let round = Arc::new(Mutex::new(round));
            let held = round.clone();
            let submitted = core.proposer.submit(
                commands,
                Box::new(move |result| {
                    let commands = std::mem::take(&mut *held.lock());
                    permit.send(AppliedBatch { commands, result });
                }),
            );
            if submitted.is_err() {
                let mut round = std::mem::take(&mut *round.lock());
                // Certainly not in the log, so a loss from here on has a known outcome.
                for pending in &mut round {
                    pending.proposed = false;
                }
                core.put_back(round);
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}
