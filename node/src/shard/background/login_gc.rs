//! Login garbage collection: one task per owned shard that proposes sweeps of expired rows. It checks local rows first,
//! so a shard without logins costs nothing.

use std::rc::Rc;
use std::time::Duration;

use tracing::debug;

use crate::rpc::submit::AppliedReply;
use crate::shard::context::ShardContext;
use crate::shard_client::ShardClient;
use crate::state_machine::{RetentionOp, ShardCommand, query};

/// Proposes sweeps until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let conversations = ShardClient::new(core.shared.client.clone());
    let pause = core.shared.settings.login_sweep;
    loop {
        // Randomized, so that the shards of a restarted node do not sweep all at once.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        while is_over(&core).await {
            let sweep = ShardCommand::Retention(RetentionOp::SweepLogins);
            match conversations.submit_to(Some(core.shard), sweep).await {
                // More rows may have expired; the loop condition checks.
                Ok(AppliedReply::Swept { more: true }) => {}
                Ok(_) => break,
                Err(refusal) => {
                    debug!(shard = core.shard.0, %refusal, "cleanup of expired login rows failed, will retry");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn is_over(core: &Rc<ShardContext>) -> bool {
    let Some(cluster) = core.shared.client.cluster() else {
        return false;
    };
    // Without a majority's time nothing counts as expired, as in the state machine.
    let Some(reached_ms) = core.shared.settings.clock.reached_ms() else {
        return false;
    };
    let state = cluster.state(core.shard);
    let found = core.shared.reads.run(move || query::is_over(&state, reached_ms));
    matches!(found.await, Ok(Ok(true)))
}
