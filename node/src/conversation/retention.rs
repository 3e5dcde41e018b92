//! Lets go of what need not be kept: one task per owned shard that looks for it and proposes it.
//!
//! What goes is decided here, by the node's settings and by what the clocks of a majority have reached; that it goes, and
//! what is then left, is decided by the log ([`Op::Retain`](super::timeline::Op::Retain)), the same on every replica. In
//! one round a conversation loses a quarter of its events at most.

use std::rc::Rc;

use futures::future::join_all;
use protocol::ConvId;
use tracing::debug;

use super::Conversations;
use super::shard::core::Core;
use super::timeline::Command;
use super::timeline::read::{self, Due, Policies};

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
        // Each takes a bounded step. Then the same page is looked at again for rows that are left, and only for those:
        // the next share goes with the next round.
        policies = Policies::default();
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

async fn look(core: &Rc<Core>, after: Option<ConvId>, policies: Policies) -> Result<Due, &'static str> {
    let cluster = core.shared.cluster();
    let state = cluster
        .ok_or("the cluster member doesn't run yet")?
        .state(core.shard);
    let reached_ms = core.shared.settings.clock.reached_ms();
    let reached_ms = reached_ms.ok_or("too few clocks are known")?;
    let read = move || {
        read::due(&state.view(), after.as_ref(), PAGE, &policies, reached_ms)
            .map_err(|error| error.to_string())
    };
    match core.shared.reads.run(read).await {
        Ok(Ok(due)) => Ok(due),
        Ok(Err(_)) => Err("the conversations can't be read"),
        Err(_) => Err("the read was refused"),
    }
}
