//! Lets go of what need not be kept: one task per owned shard that looks for it and proposes it.
//!
//! What goes is decided here, by the node's settings and clock; that it goes, and what is then left, is decided by the
//! log ([`Op::Retain`](super::timeline::Op::Retain)), the same on every replica.

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use protocol::ConvId;
use tracing::debug;

use super::Conversations;
use super::shard::core::Core;
use super::timeline::Command;
use super::timeline::read::{self, Due};

/// Conversations looked at in one step.
const PAGE: usize = 256;

/// Looks again and again, until the shard's actors end.
pub(crate) async fn run(core: Rc<Core>) {
    let settings = &core.shared.settings;
    let conversations = Conversations::new(core.shared.clone());
    loop {
        if let Err(why) = round(&core, &conversations).await {
            debug!(shard = core.shard.0, why, "retention broke off, going on later");
        } else if settings.retention.keep_all() {
            // What an earlier setting let go of is removed.
            return;
        }
        tokio::time::sleep(settings.retention_every).await;
    }
}

/// Looks at every conversation of the shard once.
async fn round(core: &Rc<Core>, conversations: &Conversations) -> Result<(), &'static str> {
    let mut after = None;
    loop {
        let page = look(core, after.clone()).await?;
        if page.items.is_empty() {
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
            continue;
        }
        // Each takes a bounded step; then the same page is looked at again.
        let steps = page.items.into_iter().map(|(conv, below)| {
            core.shared.metrics.retention_steps.inc();
            let command = Command::retain(conv, below);
            conversations.submit_to(Some(core.shard), command)
        });
        if join_all(steps).await.iter().any(Result::is_err) {
            return Err("a step was refused");
        }
    }
}

async fn look(core: &Rc<Core>, after: Option<ConvId>) -> Result<Due, &'static str> {
    let cluster = core.shared.cluster();
    let state = cluster
        .ok_or("the cluster member doesn't run yet")?
        .state(core.shard);
    let policies = core.shared.settings.retention;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let read = move || {
        read::due(&state.view(), after.as_ref(), PAGE, &policies, now_ms).map_err(|error| error.to_string())
    };
    match core.shared.reads.run(read).await {
        Ok(Ok(due)) => Ok(due),
        Ok(Err(_)) => Err("the conversations can't be read"),
        Err(_) => Err("the read was refused"),
    }
}
