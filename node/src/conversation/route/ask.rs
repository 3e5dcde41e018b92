//! Asks a shard's owner a question, wherever it is by now. Questions change nothing, so they are simply asked again.

use std::sync::Arc;
use std::time::Duration;

use cluster::{CallError, NodeId, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::conversation::answer::Refusal;
use crate::conversation::shared::Shared;
use crate::rpc::{self, Refused};

/// Asks until there is an answer, a final refusal, or the budget is used up.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    shared: &Arc<Shared>,
    shard: ShardId,
    method: u16,
    question: &Q,
) -> Result<A, Refusal> {
    let cluster = shared.cluster().ok_or_else(Refusal::unavailable)?;
    let body = rpc::encode(question);
    let give_up = Instant::now() + shared.settings.ask_budget;
    let mut routes = cluster.routes();
    let mut refusal = Refusal::unavailable();
    for attempt in 0u32.. {
        routes.mark_unchanged();
        let route = cluster.route(shard);
        let wait = Duration::from_millis(rand::random_range(10..=(20u64 << attempt.min(5)).clamp(20, 400)));
        let mut pause = Instant::now() + wait;
        if let Some(owner) = route.owner {
            let call = cluster.call(owner, method, body.clone(), shared.settings.call_deadline);
            let answer = tokio::select! {
                answer = call => answer,
                () = newer(&mut routes, || cluster.route(shard).epoch > route.epoch) => continue,
                () = sleep_until(give_up) => return Err(refusal),
            };
            match answer {
                Ok(body) => match rpc::decode(&body) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => refusal = Refusal::of_question(Refused::Failed(error.to_string())),
                },
                Err(CallError::Refused(body)) => match rpc::decode(&body) {
                    Ok(Refused::NotOwner { owner, epoch }) => {
                        if let Some(owner) = owner {
                            cluster.hint(shard, NodeId(owner), epoch);
                        }
                        if cluster.route(shard).epoch > route.epoch && attempt < 5 {
                            pause = Instant::now();
                        }
                    }
                    Ok(refused @ (Refused::NotMember | Refused::Forbidden(_) | Refused::Bad(_))) => {
                        return Err(Refusal::of_question(refused));
                    }
                    Ok(refused) => refusal = Refusal::of_question(refused),
                    Err(error) => refusal = Refusal::of_question(Refused::Failed(error.to_string())),
                },
                Err(CallError::Unreachable | CallError::Lost | CallError::Busy) => {}
            }
        }
        if pause >= give_up {
            return Err(refusal);
        }
        // The news of another owner ends the pause.
        let _ = timeout_at(
            pause,
            newer(&mut routes, || cluster.route(shard).epoch > route.epoch),
        )
        .await;
    }
    Err(refusal)
}

/// Resolves when the routing table has changed and `holds`.
async fn newer(routes: &mut tokio::sync::watch::Receiver<u64>, holds: impl Fn() -> bool) {
    loop {
        if routes.changed().await.is_err() {
            // The node stops: nothing newer will come.
            std::future::pending::<()>().await;
        }
        if holds() {
            return;
        }
    }
}
