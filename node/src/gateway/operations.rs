//! Endpoints for operators and probes: `/livez`, `/readyz`, `/metrics` and `/v1/cluster*`.

use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, delete, get, web};
use cluster::{Cluster, NodeId};
use protocol::{ConversationId, ErrorCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::admission;
use super::problem::{Problem, problem};
use super::rest::describe::{ApiTag, HeadErrors, Operators};
use crate::session::{NodeState, WorkerContext};
use crate::telemetry::metrics::MetricsRegistry;

/// Refusal of a request without the admin token.
const NO_OPERATOR: &str = "this request needs the admin token";

/// Request with the admin token.
pub(super) struct Operator;

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

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(livez)
        .service(readyz)
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
async fn readyz(cluster: web::Data<Cluster>, worker: web::Data<Rc<WorkerContext>>) -> HttpResponse {
    match readiness(worker.order(), &cluster) {
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
    request: HttpRequest,
    figures: web::Data<MetricsRegistry>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<WorkerContext>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return unauthorized();
    }
    // They follow from the state of many parts, so they are determined by the scrape and not by each change.
    let ready = readiness(worker.order(), &cluster).is_ok();
    worker.metrics.ready.set(i64::from(ready));
    let failed = i64::try_from(cluster.failed_replicas()).unwrap_or(i64::MAX);
    worker.metrics.replicas_failed.set(failed);
    let unowned = i64::try_from(cluster.shards_without_owner()).unwrap_or(i64::MAX);
    worker.metrics.shards_without_owner.set(unowned);
    let unspared = i64::try_from(cluster.shards_without_spare()).unwrap_or(i64::MAX);
    worker.metrics.shards_without_spare.set(unspared);
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(figures.render())
}

/// Returns the reason for which the node accepts no clients.
fn readiness(state: NodeState, cluster: &Cluster) -> Result<(), String> {
    match state {
        // Not ready before the sessions close, so that load balancers send clients elsewhere in time.
        NodeState::HandOver | NodeState::Drain => Err("draining".to_owned()),
        // The cluster's reason is the more specific one, for example that an operator removed this node.
        NodeState::Isolated => {
            let reason = cluster.ready().err();
            Err(reason.unwrap_or_else(|| "isolated: quorum lost".to_owned()))
        }
        NodeState::Serve => cluster.ready(),
    }
}

/// Shows the members, shards, shard owners and replication lag.
///
/// `local` of a shard describes this node's replica: its role, its log position, and a digest over the results of all
/// applied entries. Replicas with the same `applied` have the same `digest`.
#[utoipa::path(tag = ApiTag::OPERATION, responses((status = 200, description = "The state of the cluster as this node has it.", body = Object), Operators))]
#[get("/v1/cluster")]
async fn cluster_status(
    request: HttpRequest,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<WorkerContext>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return unauthorized();
    }
    HttpResponse::Ok().json(cluster.status())
}

/// Shows the shard of a conversation and the node that owns it.
#[utoipa::path(tag = ApiTag::OPERATION, params(Which), responses(
    (status = 200, description = "The shard of the conversation and the node that owns it.", body = OwnerLocation), Operators
))]
#[get("/v1/cluster/owner")]
async fn conversation_owner(
    request: HttpRequest,
    which: web::Query<Which>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<WorkerContext>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return unauthorized();
    }
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
    (status = 409, description = "The node cannot be removed; see `detail`.", body = Problem, content_type = "application/problem+json"),
    Operators
))]
#[delete("/v1/cluster/nodes/{id}")]
async fn remove_node(
    request: HttpRequest,
    node: web::Path<u64>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<WorkerContext>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return unauthorized();
    }
    match cluster.remove_node(NodeId(*node)).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(reason) => problem(ErrorCode::Conflict, &reason),
    }
}

fn operator(request: &HttpRequest, worker: &WorkerContext) -> bool {
    let config = &worker.config;
    admission::operator(
        request.headers(),
        &config.server.admin_token,
        config.auth.dev_tokens,
    )
}

fn unauthorized() -> HttpResponse {
    problem(ErrorCode::Unauthenticated, NO_OPERATOR)
}

// === impl Operator ===

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Operator, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let worker = request.app_data::<web::Data<Rc<WorkerContext>>>();
        ready(match worker {
            Some(worker) if operator(request, worker) => Ok(Operator),
            Some(_) => Err(Problem::new(ErrorCode::Unauthenticated, NO_OPERATOR)),
            None => Err(Problem::new(
                ErrorCode::Internal,
                "the request has no gateway context",
            )),
        })
    }
}
