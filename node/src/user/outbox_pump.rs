//! Tells memberships to the users' shards: one task per owned shard that empties its outbox.
//!
//! A change of membership writes an outbox entry in the same batch, so no crash can separate the two. The pump proposes
//! each entry to the shard of its user and then removes it by a command of its own; whatever breaks off in between is
//! told again, and the version in the entry makes the repeat harmless.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tracing::debug;

use crate::conversation::Conversations;
use crate::conversation::shard::core::Core;
use crate::conversation::timeline::read::{self, Pending};
use crate::conversation::timeline::{Command, OutboxId};
use crate::rpc::Refused;

/// Entries told at once.
const PAGE: usize = 256;
/// Without a reason, the outbox is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Empties the outbox until the shard's actors end.
pub(crate) async fn run(core: Rc<Core>) {
    let conversations = Conversations::new(core.shared.clone());
    let mut waiting: HashMap<OutboxId, Instant> = HashMap::new();
    loop {
        match round(&core, &conversations, &mut waiting).await {
            // There may be more.
            Ok(true) => continue,
            Ok(false) => {}
            Err(why) => {
                debug!(shard = core.shard.0, why, "outbox entries not told, trying again");
                lag(&core, &waiting);
                tokio::time::sleep(core.shared.settings.outbox_retry).await;
                continue;
            }
        }
        lag(&core, &waiting);
        let _ = tokio::time::timeout(LOOK_EVERY, core.outbox_wake.notified()).await;
    }
}

/// Tells one page of entries and removes them. `true`: look again at once.
async fn round(
    core: &Rc<Core>,
    conversations: &Conversations,
    waiting: &mut HashMap<OutboxId, Instant>,
) -> Result<bool, &'static str> {
    let state = core
        .shared
        .cluster()
        .ok_or("the cluster member doesn't run yet")?
        .state(core.shard);
    let found = core
        .shared
        .reads
        .run(move || read::outbox(&state, None, PAGE).map_err(|error| error.to_string()));
    let entries: Vec<Pending> = match found.await {
        Ok(Ok(entries)) => entries,
        Ok(Err(_)) => return Err("the outbox can't be read"),
        Err(Refused::Busy) => return Err("too many reads wait"),
        Err(_) => return Err("the read broke off"),
    };
    waiting.retain(|id, _| entries.iter().any(|entry| entry.id == *id));
    for entry in &entries {
        waiting.entry(entry.id).or_insert_with(Instant::now);
    }
    lag(core, waiting);
    if entries.is_empty() {
        return Ok(false);
    }
    let full = entries.len() == PAGE;
    let told = join_all(entries.into_iter().map(|entry| {
        let told = conversations.submit(entry.command);
        async move { told.await.is_ok().then_some(entry.id) }
    }));
    let told: Vec<Option<OutboxId>> = told.await;
    let missed = told.iter().any(Option::is_none);
    let ids: Vec<OutboxId> = told.into_iter().flatten().collect();
    if !ids.is_empty() {
        let done = conversations.submit_to(Some(core.shard), Command::outbox_done(ids.clone()));
        done.await.map_err(|_| "the entries were told and not removed")?;
        for id in ids {
            waiting.remove(&id);
        }
    }
    if missed {
        Err("a user's shard can't be reached")
    } else {
        Ok(full)
    }
}

/// Publishes the age of the oldest entry.
fn lag(core: &Core, waiting: &HashMap<OutboxId, Instant>) {
    let oldest = waiting
        .values()
        .min()
        .map_or(0, |since| since.elapsed().as_millis() as i64);
    core.shared.outbox_lag(core.shard, oldest);
}
