//! Retention: one task per owned shard that proposes the removal of old events.
//!
//! The shard owner chooses what to remove, by its settings and by the time that a majority's clocks have reached. The
//! log (`RetentionOp::Retain`) decides on the removal and on what remains, the same on every replica. One round removes at
//! most a quarter of a conversation's events.

use std::rc::Rc;

use futures::future::join_all;
use protocol::ConversationId;
use tracing::debug;

use crate::shard::context::ShardContext;
use crate::shard_client::ShardClient;
use crate::state_machine::{RetentionOp, RetentionPage, RetentionPolicies, ShardCommand, query};

/// Conversations read in one step.
const PAGE: usize = 256;

/// Runs a round every `retention.interval`, until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let settings = &core.shared.settings;
    let conversations = ShardClient::new(core.shared.client.clone());
    loop {
        if let Err(why) = round(&core, &conversations).await {
            debug!(
                shard = core.shard.0,
                why, "retention interrupted, will continue later"
            );
        } else if settings.retention.keep_all() {
            // The present setting keeps everything, and the leftovers of an earlier one are gone.
            return;
        }
        tokio::time::sleep(settings.retention_interval).await;
    }
}

/// Checks every conversation of the shard once and proposes the due removals.
async fn round(core: &Rc<ShardContext>, conversations: &ShardClient) -> Result<(), &'static str> {
    let retention = core.shared.settings.retention;
    let (mut after, mut policies) = (None, retention);
    loop {
        let page = look(core, after.clone(), policies).await?;
        if page.items.is_empty() {
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
            policies = retention;
            continue;
        }
        // Each step is bounded. The same page is then read again without policies, which finds only rows left below the
        // floor. The next quarter of the events is due in the next round.
        policies = RetentionPolicies::default();
        let steps = page.items.into_iter().map(|(conv, below)| {
            core.shared.client.metrics.retention_steps.inc();
            let op = RetentionOp::Retain {
                conversation: conv,
                below,
            };
            // Through the command queue, so that an owner change is handled as for client commands.
            conversations.submit_to(Some(core.shard), ShardCommand::Retention(op))
        });
        // Without progress the same page would be due again at once.
        if join_all(steps).await.iter().any(Result::is_err) {
            return Err("a retention command was refused");
        }
    }
}

async fn look(
    core: &Rc<ShardContext>,
    after: Option<ConversationId>,
    policies: RetentionPolicies,
) -> Result<RetentionPage, &'static str> {
    let cluster = core.shared.client.cluster();
    let state = cluster
        .ok_or("the cluster member is not running yet")?
        .state(core.shard);
    // The time of a majority (decision 15): with the local clock, a node that is ahead would delete events too early.
    let reached_ms = core.shared.settings.clock.reached_ms();
    let reached_ms = reached_ms.ok_or("too few clock samples")?;
    let read = move || {
        query::due(&state.view(), after.as_ref(), PAGE, &policies, reached_ms)
            .map_err(|error| error.to_string())
    };
    match core.shared.reads.run(read).await {
        Ok(Ok(due)) => Ok(due),
        Ok(Err(_)) => Err("the conversations cannot be read"),
        Err(_) => Err("the query was refused"),
    }
}
