//! Query client for one shard: follows the shard owner and repeats the query, which changes nothing, until it is
//! answered.

use std::sync::Arc;
use std::time::Duration;

use cluster::{CallError, NodeId, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::conversation::command_error::CommandError;
use crate::conversation::shared::ServiceShared;
use crate::rpc::{self, RpcError};

/// Sends a query until there is a response, a final refusal, or the budget is used up.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    shared: &Arc<ServiceShared>,
    shard: ShardId,
    method: u16,
    question: &Q,
) -> Result<A, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let body = rpc::encode(question);
    let give_up = Instant::now() + shared.settings.ask_budget;
    let mut routes = cluster.routes();
    let mut refusal = CommandError::unavailable();
    for attempt in 0u32.. {
        // Marked before the route is read: a change in between would otherwise go unnoticed.
        routes.mark_unchanged();
        let route = cluster.route(shard);
        // Jitter: callers that lost the same owner must not retry in step.
        let wait = Duration::from_millis(rand::random_range(10..=(20u64 << attempt.min(5)).clamp(20, 400)));
        let mut pause = Instant::now() + wait;
        if let Some(owner) = route.owner {
            let call = cluster.call(owner, method, body.clone(), shared.settings.call_deadline);
            // A paused owner never refuses, so a newer epoch abandons the call at once.
            let answer = tokio::select! {
                answer = call => answer,
                () = newer(&mut routes, || cluster.route(shard).epoch > route.epoch) => continue,
                () = sleep_until(give_up) => return Err(refusal),
            };
            match answer {
                Ok(body) => match rpc::decode(&body) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => refusal = CommandError::of_question(RpcError::Failed(error.to_string())),
                },
                Err(CallError::Refused(body)) => match rpc::decode(&body) {
                    Ok(RpcError::NotOwner { owner, epoch }) => {
                        if let Some(owner) = owner {
                            cluster.hint(shard, NodeId(owner), epoch);
                        }
                        // Bounded: outdated hints may lead in circles without a pause.
                        if cluster.route(shard).epoch > route.epoch && attempt < 5 {
                            pause = Instant::now();
                        }
                    }
                    Ok(refused @ (RpcError::NotMember | RpcError::Forbidden(_) | RpcError::Bad(_))) => {
                        return Err(CommandError::of_question(refused));
                    }
                    Ok(refused) => refusal = CommandError::of_question(refused),
                    Err(error) => refusal = CommandError::of_question(RpcError::Failed(error.to_string())),
                },
                // The query may have been served; repeating it is harmless.
                Err(CallError::Unreachable | CallError::Lost | CallError::Busy) => {}
            }
        }
        if pause >= give_up {
            return Err(refusal);
        }
        // A newer owner in the routing table ends the pause early.
        let _ = timeout_at(
            pause,
            newer(&mut routes, || cluster.route(shard).epoch > route.epoch),
        )
        .await;
    }
    Err(refusal)
}

/// Resolves once the routing table has changed and `holds` returns true.
async fn newer(routes: &mut tokio::sync::watch::Receiver<u64>, holds: impl Fn() -> bool) {
    loop {
        if routes.changed().await.is_err() {
            // The node stops, so there will be no newer route; the caller's own timer ends the wait.
            std::future::pending::<()>().await;
        }
        if holds() {
            return;
        }
    }
}
