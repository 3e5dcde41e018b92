//! Client side of queries: one function for those of one shard, see [`scatter`](super::scatter_gather) for the others.

use std::sync::Arc;

use cluster::ShardId;
use protocol::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::client_context::ClientContext;
use super::command_error::CommandError;
use crate::rpc::NumberedQuery;
use crate::state_machine::query::ShardQuery;

/// Sends a query to the owner of its shard, within the budget of queries.
///
/// # Errors
/// The owner's refusal, or an unreachable shard.
pub(crate) async fn query<Q: ShardQuery + NumberedQuery>(
    shared: &Arc<ClientContext>,
    question: &Q,
) -> Result<Q::Page, CommandError> {
    let cluster = shared.cluster().ok_or_else(CommandError::unavailable)?;
    let shard = cluster.shard_of(&question.routing_key());
    ask(shared, shard, Q::METHOD, question).await
}

/// Sends a request to the owner of a shard, within the budget of queries.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    shared: &Arc<ClientContext>,
    shard: ShardId,
    method: u16,
    question: &Q,
) -> Result<A, CommandError> {
    let owners = shared.owners().ok_or_else(CommandError::unavailable)?;
    let deadline = Instant::now() + shared.settings.query_timeout;
    owners.call(shard, method, question, deadline).await
}

/// Refusal because of a page that cannot be converted to the protocol's form.
pub(crate) fn malformed(why: String) -> CommandError {
    CommandError {
        code: ErrorCode::Internal,
        msg: format!("a stored event cannot be read: {why}"),
        retry_ms: Some(1_000),
    }
}
