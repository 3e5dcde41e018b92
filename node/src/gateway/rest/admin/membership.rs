//! `/v1/admin/nodes/{id}/leave`, `/v1/admin/shards/{shard}/move` and `/v1/admin/rebalance`: members and owners.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, post, web};
use cluster::NodeId;
use protocol::ErrorCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::admin::{LeaveOrder, MembershipError, NodeAdmin};
use crate::gateway::operator::Operator;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type NodePath = Path<u64>;
type ShardPath = Path<u16>;

/// Conditions of an order to leave.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LeaveQuery {
    /// Permits that the shards have fewer replicas afterwards than configured.
    #[serde(default)]
    fewer_replicas: bool,
    /// The id of the node that takes the place of one that is dead.
    replaced_by: Option<u64>,
}

/// The new owner of a shard.
#[derive(Deserialize, ToSchema)]
struct ShardMove {
    /// The id of the node, which needs a replica of the shard.
    to: u64,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(leave)
        .service(forget)
        .service(move_shard)
        .service(rebalance);
}

/// Begins to let a node leave: it hands its shards over, closes its sessions, gives its replicas to the other nodes, and is
/// removed for good once it has none. The overview shows the progress; `resume` ends it before the removal. With
/// `replaced_by` the same is done for a dead node.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node."), LeaveQuery), responses(
    (status = 202, description = "The node leaves."), ChangeErrors
))]
#[post("/v1/admin/nodes/{id}/leave")]
async fn leave(
    operator: Operator,
    node: NodePath,
    query: web::Query<LeaveQuery>,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    let order = LeaveOrder {
        permits_fewer_replicas: query.fewer_replicas,
        replaced_by: query.replaced_by.map(NodeId),
    };
    let begin = async { admin.leave(NodeId(*node), order).await.map_err(problem) };
    operator.change("nodes.leave", &node.to_string(), begin).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// Removes a node for good that does not answer any more, or is drained. The others receive its replicas from each other.
/// The node is not admitted again under its id.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node.")), responses(
    (status = 204, description = "The node is removed."), ChangeErrors
))]
#[delete("/v1/admin/nodes/{id}")]
async fn forget(
    operator: Operator,
    node: NodePath,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    let removal = async { admin.forget(NodeId(*node)).await.map_err(problem) };
    operator
        .change("nodes.remove", &node.to_string(), removal)
        .await?;
    Ok(response::nothing())
}

/// Begins to move a shard to a node with a caught-up replica of it, which owns it from then on whenever it can, until a
/// rebalance. 65535 is the meta group.
#[utoipa::path(tag = ApiTag::OPERATION, params(("shard" = u16, Path, description = "The number of the shard.")),
    request_body = ShardMove, responses((status = 202, description = "The shard moves."), ChangeErrors
))]
#[post("/v1/admin/shards/{shard}/move")]
async fn move_shard(
    operator: Operator,
    shard: ShardPath,
    input: Input<ShardMove>,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    let to = NodeId(input.fields.to);
    let moving = async { admin.move_shard(*shard, to).await.map_err(problem) };
    let target = format!("{shard} to {to}");
    operator.change("shards.move", &target, moving).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// Ends every choice of an owner by `move`: each shard returns to the node that the placement prefers, so that every node
/// owns its share.
#[utoipa::path(tag = ApiTag::OPERATION, responses(
    (status = 202, description = "The shards return to their preferred owners."), ChangeErrors
))]
#[post("/v1/admin/rebalance")]
async fn rebalance(operator: Operator, admin: web::Data<NodeAdmin>) -> Result<HttpResponse, Problem> {
    let releasing = async { admin.rebalance().await.map_err(problem) };
    operator.change("shards.rebalance", "all", releasing).await?;
    Ok(HttpResponse::Accepted().finish())
}

fn problem(error: MembershipError) -> Problem {
    let code = match error {
        MembershipError::Unknown(_) => ErrorCode::NotFound,
        MembershipError::Refused(_) => ErrorCode::Conflict,
    };
    Problem::new(code, error.to_string())
}
