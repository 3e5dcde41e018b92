//! Erasure: one task per owned shard that carries out the erasures of the shard's users.
//!
//! The state of an erasure is rows of the user's shard. Each conversation of the user goes through the steps of
//! `ErasureOp::EraseIn` in its own shard; then `UserOp::PutErased` counts it and removes it from the user's list. Without
//! conversations left, `UserOp::EraseRows` removes the other rows and ends the erasure. An owner that dies leaves the
//! conversations that are not done in the list, and the next owner continues with them.

use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use protocol::{ConversationId, UserId};
use tracing::{debug, info};

use crate::rpc::submit::AppliedReply;
use crate::shard::context::ShardContext;
use crate::shard_client::ShardClient;
use crate::state_machine::query::{self, RunningErasure};
use crate::state_machine::{ErasureOp, OutboxId, ShardCommand, UserOp};

/// Erasures read in one round.
const ERASURES: usize = 64;
/// Conversations of a user that are erased side by side.
const CONVERSATIONS: usize = 16;
/// Pause after a step that another shard did not accept.
const RETRY: Duration = Duration::from_millis(500);
/// Interval of checks without a wake-up: a user who is added to a conversation after the erasure wakes nobody.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Carries out erasures until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let conversations = ShardClient::new(core.shared.client.clone());
    loop {
        let pause = match round(&core, &conversations).await {
            // Something was done, and more may be left.
            Ok(true) => continue,
            Ok(false) => LOOK_EVERY,
            Err(why) => {
                debug!(shard = core.shard.0, why, "erasure interrupted, will continue");
                RETRY
            }
        };
        let _ = tokio::time::timeout(pause, core.erasure_wake.notified()).await;
    }
}

/// Advances every erasure that is under way. Returns false if there is none.
async fn round(core: &Rc<ShardContext>, conversations: &ShardClient) -> Result<bool, &'static str> {
    let cluster = core.shared.client.cluster();
    let state = cluster
        .ok_or("the cluster member is not running yet")?
        .state(core.shard);
    let found = core.shared.reads.run(move || {
        query::running_erasures(&state.view(), ERASURES, CONVERSATIONS).map_err(|error| error.to_string())
    });
    let running = match found.await {
        Ok(Ok(running)) => running,
        Ok(Err(_)) => return Err("the erasures cannot be read"),
        Err(_) => return Err("the query was refused"),
    };
    let (mut any, mut failed) = (false, None);
    for erasure in running {
        any = true;
        // The others continue if a shard of this one cannot be reached.
        if let Err(why) = advance(core, conversations, erasure).await {
            failed = Some(why);
        }
    }
    failed.map_or(Ok(any), Err)
}

async fn advance(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    erasure: RunningErasure,
) -> Result<(), &'static str> {
    let RunningErasure {
        id,
        job,
        conversations: listed,
    } = erasure;
    let Some(tombstone) = &job.tombstone else {
        // The user was added to a conversation after the end.
        let op = UserOp::Erase {
            id,
            tombstone: UserId::tombstone(&rand::random()),
            messages: job.messages,
        };
        return of_user(conversations, &job.user, op).await.map(drop);
    };
    if listed.is_empty() {
        let shard = core.shard.0;
        let op = UserOp::EraseRows { shard };
        if let AppliedReply::Swept { more: false } = of_user(conversations, &job.user, op).await? {
            // Without the user: the log files outlive the erasure.
            info!(shard, job = %id, "user erased");
        }
        return Ok(());
    }
    let steps = listed.into_iter().map(|(conv, version)| {
        let op = ErasureOp::EraseIn {
            conversation: conv.clone(),
            user: job.user.clone(),
            tombstone: tombstone.clone(),
            messages: job.messages,
        };
        erase_in(core, conversations, op, (conv, version), &job.user)
    });
    join_all(steps).await.into_iter().collect()
}

/// Erases a user from one conversation and records it.
async fn erase_in(
    core: &Rc<ShardContext>,
    conversations: &ShardClient,
    op: ErasureOp,
    (conversation, version): (ConversationId, OutboxId),
    user: &UserId,
) -> Result<(), &'static str> {
    let cluster = core.shared.client.cluster();
    let shard = cluster.ok_or("the cluster member is not running yet")?;
    let shard = shard.shard_of(&conversation).0;
    loop {
        let taken = conversations
            .submit_command(ShardCommand::Erasure(op.clone()))
            .await;
        match taken.map_err(|_| "the shard of a conversation did not accept a step")? {
            AppliedReply::Erased(step) if step.done => {
                let op = UserOp::PutErased {
                    conversation,
                    version,
                    shard,
                    step,
                };
                return of_user(conversations, user, op).await.map(drop);
            }
            AppliedReply::Erased(_) => {}
            _ => return Err("the shard of a conversation gave another answer"),
        }
    }
}

async fn of_user(
    conversations: &ShardClient,
    user: &UserId,
    op: UserOp,
) -> Result<AppliedReply, &'static str> {
    let user = user.clone();
    let done = conversations.submit_command(ShardCommand::User { user, op });
    done.await
        .map_err(|_| "the shard of the user did not accept a step")
}
