//! From the actors of a shard into its log: one task per shard that proposes whatever is ready.
//!
//! It runs when all actors that had something to do have run, so a round holds what came in together. What the log has
//! no room for waits here, within the bound of the [shard's load](super::core::Core::has_room).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use super::messages::Round;

/// How long to wait for room in the log's queue.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Proposes until the shard's actors end.
pub(super) async fn run(core: Rc<Core>) {
    loop {
        core.ready_wake.notified().await;
        loop {
            let Ok(permit) = core.rounds.clone().reserve_owned().await else {
                return;
            };
            let mut round = core.take_round();
            if round.is_empty() {
                break;
            }
            let commands = round.iter().map(|pending| pending.bytes.clone()).collect();
            for pending in &mut round {
                pending.proposed = true;
            }
            core.shared.metrics.rounds.inc();
            core.shared.metrics.proposed.inc_by(round.len() as u64);
            // Shared with the callback, which is dropped when the log has no room.
            let round = Arc::new(Mutex::new(round));
            let held = round.clone();
            let submitted = core.proposer.submit(
                commands,
                Box::new(move |result| {
                    let commands = std::mem::take(&mut *held.lock());
                    permit.send(Round { commands, result });
                }),
            );
            if submitted.is_err() {
                let mut round = std::mem::take(&mut *round.lock());
                for pending in &mut round {
                    pending.proposed = false;
                }
                core.put_back(round);
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}
