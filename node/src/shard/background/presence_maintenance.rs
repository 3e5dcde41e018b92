//! Presence maintenance: one task per owned shard that acts on the shard's presence registry.
//!
//! It sends updates on sessions and watched users to the registered nodes, one message per node in flight. It also
//! proposes the last-seen times of users to the log.

use std::rc::Rc;
use std::time::{Duration, Instant};

use cluster::{CallError, NodeId};
use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use protocol::UserId;
use tracing::debug;

use crate::rpc;
use crate::rpc::presence::PresenceUpdates;
use crate::shard::context::ShardContext;
use crate::shard_client::ShardClient;
use crate::state_machine::{ShardCommand, UserOp};

/// Time for which changes are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(10);
/// Pause before failed updates are sent again.
const RETRY: Duration = Duration::from_millis(200);
/// Maximum number of operations in flight with proposals of last-seen times; the rest follows later.
const SAVES: usize = 256;

/// Completed operation of the maintenance task.
enum MaintenanceResult {
    Sent(NodeId, PresenceUpdates, Result<(), CallError>),
    Saved(UserId, bool),
}

/// Runs until the shard's actors end.
pub(crate) async fn run(core: Rc<ShardContext>) {
    let conversations = ShardClient::new(core.shared.client.clone());
    let users = core.users.clone();
    let metrics = core.shared.client.user_metrics.clone();
    let mut under_way: FuturesUnordered<LocalBoxFuture<'static, MaintenanceResult>> = FuturesUnordered::new();
    let mut unsaved: Vec<(UserId, u64)> = Vec::new();
    let mut displaced = 0;
    loop {
        let due = users.look(|users| users.next_due().into_iter().chain(users.updates_due()).min());
        tokio::select! {
            // The pause is intended: a user's reconnects and a crowd's arrivals then fit into one message per node.
            () = users.wake.notified() => tokio::time::sleep(GATHER).await,
            () = wait_until(due) => {}
            Some(result) = under_way.next() => {
                let now = Instant::now();
                users.look_mut(|users| match result {
                    MaintenanceResult::Sent(node, updates, Ok(())) => users.sent(node, updates.registration),
                    MaintenanceResult::Sent(node, updates, Err(error)) => {
                        debug!(%node, %error, "presence update delivery failed, will retry");
                        users.unsent(node, updates, now + RETRY);
                    }
                    // The entry counts as unsaved again, so the time is proposed once more after its interval.
                    MaintenanceResult::Saved(user, false) => users.not_saved(&user, now),
                    MaintenanceResult::Saved(_, true) => {}
                });
            }
        }
        let Some(cluster) = core.shared.client.cluster() else {
            return;
        };
        let (now, now_ms) = (Instant::now(), core.shared.settings.clock.now_ms());
        // One lock for all steps: the updates that are popped include everything that `sweep` caused.
        let updates = users.look_mut(|users| {
            users.sweep(now, now_ms);
            unsaved.append(&mut users.take_saves());
            metrics
                .displaced
                .inc_by(users.displaced - std::mem::replace(&mut displaced, users.displaced));
            users.pop_updates(core.shard.0, core.epoch, now, now_ms)
        });
        for (node, updates) in updates {
            metrics.updates.inc_by(updates.items.len() as u64);
            let call = cluster.call(
                node,
                rpc::PRESENCE_UPDATES,
                rpc::encode(&updates),
                rpc::CALL_TIMEOUT,
            );
            under_way.push(Box::pin(async move {
                let sent = call.await.map(drop);
                MaintenanceResult::Sent(node, updates, sent)
            }));
        }
        // Updates come first: last-seen times only use the room that they leave.
        let step = unsaved.len().min(SAVES.saturating_sub(under_way.len()));
        for (user, seen) in unsaved.drain(..step) {
            metrics.seen_saved.inc();
            let saved = conversations.submit_to(Some(core.shard), seen_command(&user, seen));
            under_way.push(Box::pin(async move {
                MaintenanceResult::Saved(user, saved.await.is_ok())
            }));
        }
    }
}

fn seen_command(user: &UserId, at_ms: u64) -> ShardCommand {
    ShardCommand::User {
        user: user.clone(),
        op: UserOp::Seen { at_ms },
    }
}

async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
