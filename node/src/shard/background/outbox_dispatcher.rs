//! Outbox dispatcher: one task per owned shard that propagates membership changes and blocks to the users' shards.
//!
//! A change writes its outbox entry in the same batch, so no crash separates the two. The dispatcher proposes each
//! entry to the shard of its user and then removes it by a command of its own. After an interruption it proposes the
//! entry again; the version in it makes the repetition harmless.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tracing::debug;

use crate::rpc::RpcError;
use crate::shard::context::ShardContext;
use crate::shard_client::ShardClient;
use crate::state_machine::{OutboxEntry, OutboxId, OutboxOp, ShardCommand, query};

/// Pause before an outbox entry that another shard did not accept is sent again.
pub(super) const OUTBOX_RETRY: Duration = Duration::from_millis(250);
/// Maximum number of entries per round.
const PAGE: usize = 256;
/// Interval of checks without a wake-up.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Dispatches outbox entries until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let conversations = ShardClient::new(core.shared.client.clone());
    let mut waiting: HashMap<OutboxId, Instant> = HashMap::new();
    loop {
        match round(&core, &conversations, &mut waiting).await {
            // A full page may be followed by more entries.
            Ok(true) => continue,
            Ok(false) => {}
            Err(why) => {
                debug!(shard = core.shard.0, why, "outbox delivery failed, will retry");
                lag(&core, &waiting);
                tokio::time::sleep(OUTBOX_RETRY).await;
                continue;
            }
        }
        lag(&core, &waiting);
        let _ = tokio::time::timeout(LOOK_EVERY, core.outbox_wake.notified()).await;
    }
}

/// Proposes one page of entries and removes the successful ones. Returns true if more entries may follow.
async fn round(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    waiting: &mut HashMap<OutboxId, Instant>,
) -> Result<bool, &'static str> {
    let state = core
        .shared
        .client
        .cluster()
        .ok_or("the cluster member is not running yet")?
        .state(core.shard);
    let found = core
        .shared
        .reads
        .run(move || query::outbox(&state, None, PAGE).map_err(|error| error.to_string()));
    let entries: Vec<OutboxEntry> = match found.await {
        Ok(Ok(entries)) => entries,
        Ok(Err(_)) => return Err("the outbox cannot be read"),
        Err(RpcError::Busy) => return Err("too many queries are queued"),
        Err(_) => return Err("the query failed"),
    };
    // Entries that another owner or a former round removed must not count as the oldest.
    waiting.retain(|id, _| entries.iter().any(|entry| entry.id == *id));
    for entry in &entries {
        waiting.entry(entry.id).or_insert_with(Instant::now);
    }
    lag(core, waiting);
    if entries.is_empty() {
        return Ok(false);
    }
    let full = entries.len() == PAGE;
    let sent = join_all(entries.into_iter().map(|entry| {
        let sent = conversations.submit_command(entry.command);
        async move { sent.await.is_ok().then_some(entry.id) }
    }));
    let sent: Vec<Option<OutboxId>> = sent.await;
    let missed = sent.iter().any(Option::is_none);
    let ids: Vec<OutboxId> = sent.into_iter().flatten().collect();
    // Removed even if others failed, so that one unreachable shard does not block the outbox.
    if !ids.is_empty() {
        let done = conversations.submit_to(
            Some(core.shard),
            ShardCommand::Outbox(OutboxOp::OutboxDone { ids: ids.clone() }),
        );
        done.await
            .map_err(|_| "the entries were delivered but not removed")?;
        for id in ids {
            waiting.remove(&id);
        }
    }
    if missed {
        Err("the shard of a user cannot be reached")
    } else {
        Ok(full)
    }
}

/// Publishes the age of the oldest entry in milliseconds.
fn lag(core: &ShardContext, waiting: &HashMap<OutboxId, Instant>) {
    let oldest = waiting
        .values()
        .min()
        .map_or(0, |since| since.elapsed().as_millis() as i64);
    core.shared.outbox_lag(core.shard, oldest);
}
