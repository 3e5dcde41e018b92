//! `/v1/admin/shards/{shard}/replicas`: comparison of a shard's replicas row by row, and the rebuild of one that differs.

use actix_web::web::Path;
use actix_web::{HttpResponse, get, post, web};
use cluster::{Cluster, NodeId, ShardId};
use protocol::ErrorCode;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::gateway::operator::{Operator, Reader};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, OperatorQueryErrors};
use crate::gateway::rest::response;

/// Shard in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct ReplicatedShard {
    /// The number of the shard, from 0; 65535 is the meta group.
    shard: u16,
}

/// Replica in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct ShardReplica {
    /// The number of the shard, from 0; 65535 is the meta group.
    shard: u16,
    /// The id of the node with the replica.
    node: u64,
}

/// By names of their own: utoipa would describe the parameters of a bare `Path` a second time.
type ShardPath = Path<u16>;
type ReplicaPath = Path<(u16, u64)>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(compare_replicas).service(rebuild_replica);
}

/// Compares the replicas of a shard at one index of its log. Every replica reads all of its rows and checks each, which
/// takes about a second per gigabyte and disk. `differs` is true for a replica that is unlike more than half of all.
#[utoipa::path(tag = ApiTag::OPERATION, params(ReplicatedShard), responses(
    (status = 200, description = "The replicas.", body = Object), OperatorQueryErrors
))]
#[get("/v1/admin/shards/{shard}/replicas")]
async fn compare_replicas(
    _reader: Reader,
    shard: ShardPath,
    cluster: web::Data<Cluster>,
) -> Result<HttpResponse, Problem> {
    let shard = known(*shard, &cluster)?;
    let compared = cluster.compare_replicas(shard).await;
    let compared = compared.map_err(|reason| Problem::new(ErrorCode::Unavailable, reason))?;
    Ok(response::json(&compared))
}

/// Deletes the replica of a node and lets it be filled again from the others. The shard's owner compares all replicas
/// first, and refuses unless more than half of them are equal and this one differs.
#[utoipa::path(tag = ApiTag::OPERATION, params(ShardReplica), responses(
    (status = 202, description = "The replica is empty and is filled again."), ChangeErrors
))]
#[post("/v1/admin/shards/{shard}/replicas/{node}/rebuild")]
async fn rebuild_replica(
    operator: Operator,
    replica: ReplicaPath,
    cluster: web::Data<Cluster>,
) -> Result<HttpResponse, Problem> {
    let (shard, node) = replica.into_inner();
    let target = format!("shard {shard} on node {node}");
    let shard = known(shard, &cluster)?;
    let rebuilding = async {
        let rebuilt = cluster.rebuild_replica(shard, NodeId(node)).await;
        rebuilt.map_err(|reason| Problem::new(ErrorCode::Conflict, reason))
    };
    operator.change("replicas.rebuild", &target, rebuilding).await?;
    Ok(HttpResponse::Accepted().finish())
}

fn known(shard: u16, cluster: &Cluster) -> Result<ShardId, Problem> {
    let shard = ShardId(shard);
    if shard.0 < cluster.shard_count() || shard == cluster.meta_group() {
        return Ok(shard);
    }
    Err(Problem::new(ErrorCode::NotFound, "the cluster has no such shard"))
}
