//! Endpoints for operators and probes: `/livez`, `/readyz`, `/metrics` and `/v1/cluster*`.

use std::rc::Rc;

use actix_web::{HttpResponse, delete, get, web};
use cluster::{Cluster, NodeId};
use protocol::{ConversationId, ErrorCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::operator::{Operator, Reader};
use super::problem::Problem;
use super::rest::describe::{ApiTag, ChangeErrors, HeadErrors, Operators};
use crate::admin::NodeAdmin;
use crate::session::WorkerContext;
use crate::telemetry::metrics::MetricsRegistry;

/// Query of the owner endpoint.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The id of the conversation to locate.
    conversation: ConversationId,
}

/// Health of the node.
#[derive(Serialize, ToSchema)]
struct State {
    /// The health in one word: `ok`, `ready` or `not ready`.
    status: &'static str,
    /// Reason for not being ready; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Location of a conversation in the cluster.
#[derive(Serialize, ToSchema)]
struct OwnerLocation {
    /// The id of the requested conversation.
    conversation: ConversationId,
    /// The shard that holds the conversation.
    shard: u16,
    /// The node that owns the shard, or null if no owner is known.
    #[schema(required)]
    owner: Option<u64>,
    /// The epoch of the owner: the log index of its takeover.
    epoch: u64,
    /// The version of the cluster map that this answer is based on.
    map_version: u64,
    /// The nodes that hold replicas of the shard.
    replicas: Vec<u64>,
    /// The node that answered.
    node: u64,
}

/// Registers the probes, which every listener has.
pub(super) fn probes(config: &mut ServiceConfig) {
    config.service(livez).service(readyz);
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(metrics)
        .service(cluster_status)
        .service(conversation_owner)
        .service(remove_node);
}

/// Reports that the process runs.
#[utoipa::path(tag = ApiTag::OPERATION, security(()), responses(
    (status = 200, description = "The process runs.", body = State), HeadErrors
))]
#[get("/livez")]
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(State {
        status: "ok",
        reason: None,
    })
}

/// Reports whether the node accepts clients.
#[utoipa::path(tag = ApiTag::OPERATION, security(()), responses(
    (status = 200, description = "The node accepts clients.", body = State),
    (status = 503, description = "The node does not accept clients; see `reason`.", body = State), HeadErrors
))]
#[get("/readyz")]
async fn readyz(admin: web::Data<NodeAdmin>) -> HttpResponse {
    match admin.readiness() {
        Ok(()) => HttpResponse::Ok().json(State {
            status: "ready",
            reason: None,
        }),
        Err(reason) => HttpResponse::ServiceUnavailable().json(State {
            status: "not ready",
            reason: Some(reason),
        }),
    }
}

/// Returns the node's metrics for Prometheus.
#[utoipa::path(tag = ApiTag::OPERATION, responses(
    (status = 200, description = "The metrics in the OpenMetrics text format.", body = String, content_type = "application/openmetrics-text"), Operators
))]
#[get("/metrics")]
async fn metrics(
    _reader: Reader,
    figures: web::Data<MetricsRegistry>,
    admin: web::Data<NodeAdmin>,
    worker: web::Data<Rc<WorkerContext>>,
) -> HttpResponse {
    // It follows from the state of many parts, so it is determined by the scrape and not by each change.
    let ready = admin.readiness().is_ok();
    worker.metrics.ready.set(i64::from(ready));
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(figures.render())
}

/// Shows the members, shards, shard owners and replication lag.
///
/// `local` of a shard describes this node's replica: its role, its log position, and a digest over the results of all
/// applied entries. Replicas with the same `applied` have the same `digest`.
#[utoipa::path(tag = ApiTag::OPERATION, responses((status = 200, description = "The state of the cluster as this node has it.", body = Object), Operators))]
#[get("/v1/cluster")]
async fn cluster_status(_reader: Reader, cluster: web::Data<Cluster>) -> HttpResponse {
    HttpResponse::Ok().json(cluster.status())
}

/// Shows the shard of a conversation and the node that owns it.
#[utoipa::path(tag = ApiTag::OPERATION, params(Which), responses(
    (status = 200, description = "The shard of the conversation and the node that owns it.", body = OwnerLocation), Operators
))]
#[get("/v1/cluster/owner")]
async fn conversation_owner(
    _reader: Reader,
    which: web::Query<Which>,
    cluster: web::Data<Cluster>,
) -> HttpResponse {
    let conversation = which.into_inner().conversation;
    let shard = cluster.shard_of(&conversation);
    let route = cluster.route(shard);
    HttpResponse::Ok().json(OwnerLocation {
        conversation,
        shard: shard.0,
        owner: route.owner.map(|node| node.0),
        epoch: route.epoch,
        map_version: route.map_version,
        replicas: route.replicas.iter().map(|node| node.0).collect(),
        node: cluster.node_id().0,
    })
}

/// Removes a node from the cluster for good; the other nodes take over its shards.
#[utoipa::path(tag = ApiTag::OPERATION, params(("id" = u64, Path, description = "The id of the node.")), responses(
    (status = 204, description = "The node is removed from the cluster map."),
    ChangeErrors
))]
#[delete("/v1/cluster/nodes/{id}")]
async fn remove_node(
    operator: Operator,
    node: web::Path<u64>,
    cluster: web::Data<Cluster>,
) -> Result<HttpResponse, Problem> {
    let node = NodeId(*node);
    let removal = async {
        let removed = cluster.remove_node(node).await;
        removed.map_err(|reason| Problem::new(ErrorCode::Conflict, reason))
    };
    operator
        .change("nodes.remove", &node.to_string(), removal)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
