//! `/v1/admin/overview` and `/v1/admin/nodes/{id}`: state of all nodes, and drains.

use actix_web::web::Path;
use actix_web::{HttpResponse, get, post, web};
use cluster::NodeId;
use protocol::ErrorCode;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::admin::{DrainError, DrainOrder, NodeAdmin, Overview, StopVerdict};
use crate::gateway::operator::{Operator, Reader};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, OperatorQueryErrors, Operators};
use crate::gateway::rest::response;

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type NodePath = Path<u64>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(overview)
        .service(can_stop)
        .service(drain_node)
        .service(resume_node);
}

/// Shows all nodes and shards. The answering node asks every node and waits for half a second; a node that does not answer
/// is marked as silent.
#[utoipa::path(tag = ApiTag::OPERATION, responses(
    (status = 200, description = "The state of the cluster.", body = Overview), Operators
))]
#[get("/v1/admin/overview")]
async fn overview(_reader: Reader, admin: web::Data<NodeAdmin>) -> HttpResponse {
    response::json(&admin.overview().await)
}

/// Tells whether a node can stop without a shard losing the majority of its replicas, by the cluster map and the
/// connections of the answering node. A node of which nothing is known, and one that drains, count as down.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node.")), responses(
    (status = 200, description = "The effect of a stop.", body = StopVerdict), OperatorQueryErrors
))]
#[get("/v1/admin/nodes/{id}/can-stop")]
async fn can_stop(
    _reader: Reader,
    node: NodePath,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    let verdict = admin.can_stop(NodeId(*node));
    Ok(response::json(&verdict.ok_or_else(unknown)?))
}

/// Begins to drain a node: it hands its shards over, then closes its sessions, whose clients reconnect to other nodes. The
/// overview shows the progress. A drained node remains a replica, and may be stopped or resumed.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node.")), responses(
    (status = 202, description = "The node drains."), ChangeErrors
))]
#[post("/v1/admin/nodes/{id}/drain")]
async fn drain_node(
    operator: Operator,
    node: NodePath,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    order(&operator, "nodes.drain", *node, &admin, DrainOrder::Drain).await
}

/// Ends the drain of a node, or its leaving: it accepts sessions, shards and replicas again. A node that does neither is
/// left as it is.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node.")), responses(
    (status = 202, description = "The node serves again."), ChangeErrors
))]
#[post("/v1/admin/nodes/{id}/resume")]
async fn resume_node(
    operator: Operator,
    node: NodePath,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    order(&operator, "nodes.resume", *node, &admin, DrainOrder::Resume).await
}

async fn order(
    operator: &Operator,
    act: &'static str,
    node: u64,
    admin: &NodeAdmin,
    order: DrainOrder,
) -> Result<HttpResponse, Problem> {
    let sending = async {
        let followed = admin.order(NodeId(node), order).await;
        followed.map_err(|error| match error {
            DrainError::Unknown => unknown(),
            DrainError::Silent => Problem::new(ErrorCode::TimeoutUnknown, error.to_string()),
            DrainError::Refused(reason) => Problem::new(ErrorCode::Conflict, reason),
        })
    };
    operator.change(act, &node.to_string(), sending).await?;
    Ok(HttpResponse::Accepted().finish())
}

fn unknown() -> Problem {
    Problem::new(ErrorCode::NotFound, "the cluster has no such node")
}
