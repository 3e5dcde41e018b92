//! Query about rows of many shards: one request per shard owner, repeated where a shard has moved.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::NodeId;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::owner_client::decode;
use crate::rpc::{self, NumberedQuery, RpcError};
use crate::shard_client::ClientContext;
use crate::state_machine::query::ScatterQuery;

/// Sends a query about rows of many shards, one request per shard owner. The result is in the order of the items; an
/// entry is `None` if no owner responded within the budget.
pub(crate) async fn scatter<Q: ScatterQuery + NumberedQuery>(
    shared: &Arc<ClientContext>,
    question: &Q,
) -> Vec<Option<Result<Q::Page, RpcError>>> {
    scatter_within(shared, question, shared.settings.query_timeout).await
}

/// Sends a query as [`scatter`] does, with a budget of its own.
pub(crate) async fn scatter_within<Q: ScatterQuery + NumberedQuery>(
    shared: &Arc<ClientContext>,
    question: &Q,
    budget: Duration,
) -> Vec<Option<Result<Q::Page, RpcError>>> {
    let keys = question.items();
    let mut answers: Vec<Option<Result<Q::Page, RpcError>>> = keys.iter().map(|_| None).collect();
    let Some(owners) = shared.owners() else {
        return answers;
    };
    let shard_of = |key: &Q::Item| owners.cluster().shard_of(Q::routing_key(key));
    let deadline = Instant::now() + budget;
    let mut backoff = Backoff::default();
    while answers.iter().any(Option::is_none) {
        // Grouped again in each attempt: hints of the last one may have moved some shards.
        let mut groups: HashMap<NodeId, Vec<usize>> = HashMap::new();
        for (at, key) in keys.iter().enumerate().filter(|(at, _)| answers[*at].is_none()) {
            // Shards without a known owner are left for the next attempt.
            if let Some(owner) = owners.route(shard_of(key)).owner {
                groups.entry(owner).or_default().push(at);
            }
        }
        let calls = groups.into_iter().map(|(owner, at)| {
            let part = question.part(at.iter().map(|at| keys[*at].clone()).collect());
            let body = rpc::encode(&part);
            async move { (at, owners.attempt_until(owner, Q::METHOD, body, deadline).await) }
        });
        let calls: Vec<_> = calls.collect();
        for (at, answer) in join_all(calls).await {
            // A lost or unreadable response concerns its group only; the other groups keep theirs.
            let Ok(group) = answer.and_then(|body| decode::<Vec<Result<Q::Page, RpcError>>>(&body)) else {
                continue;
            };
            for (at, answer) in at.into_iter().zip(group) {
                match answer {
                    // Stays unanswered for the next attempt. Any other refusal is final here.
                    Err(refused @ RpcError::NotOwner { .. }) => owners.follow(shard_of(&keys[at]), &refused),
                    answer => answers[at] = Some(answer),
                }
            }
        }
        let pause = backoff.next();
        if answers.iter().all(Option::is_some) || Instant::now() + pause >= deadline {
            break;
        }
        sleep(pause).await;
    }
    answers
}
