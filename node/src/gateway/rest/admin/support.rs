//! `/v1/admin/nodes/{id}/support`: report of a node for the developers.

use actix_web::web::Path;
use actix_web::{HttpResponse, get, web};
use cluster::NodeId;
use protocol::ErrorCode;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::admin::{NodeAdmin, NodeSupport};
use crate::gateway::operator::Reader;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, OperatorQueryErrors};
use crate::gateway::rest::response;

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type NodePath = Path<u64>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(support_report);
}

/// Shows what a node tells about itself for a report to the developers: its settings without secrets, its metrics, and its
/// last warnings and errors, which may name users. `rookery ctl support-bundle` collects the reports of all nodes.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node.")), responses(
    (status = 200, description = "The report.", body = NodeSupport), OperatorQueryErrors
))]
#[get("/v1/admin/nodes/{id}/support")]
async fn support_report(
    _reader: Reader,
    node: NodePath,
    admin: web::Data<NodeAdmin>,
) -> Result<HttpResponse, Problem> {
    let node = NodeId(*node);
    if !admin.has_node(node) {
        return Err(Problem::new(ErrorCode::NotFound, "the cluster has no such node"));
    }
    let silent = || Problem::new(ErrorCode::Unavailable, "the node did not answer in time");
    let report = admin.support(node).await.ok_or_else(silent)?;
    Ok(response::json(&report))
}
