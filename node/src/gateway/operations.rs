//! What operators and probes ask: `/livez`, `/readyz`, `/metrics` and `/v1/cluster*`.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, delete, get, web};
use cluster::{Cluster, NodeId};
use protocol::{ConvId, ErrorCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::admission;
use super::problem::{Problem, problem};
use super::rest::describe::{Operators, Tag};
use crate::session::{Order, Worker};
use crate::telemetry::metrics::Figures;

/// `?conversation=`.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The conversation.
    conversation: ConvId,
}

/// How the node is.
#[derive(Serialize, ToSchema)]
struct State {
    /// In a word.
    status: &'static str,
    /// Why it isn't ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Where a conversation lives.
#[derive(Serialize, ToSchema)]
struct Owner {
    /// The conversation.
    conversation: ConvId,
    /// Its shard.
    shard: u16,
    /// The node that owns the shard, if one is known.
    owner: Option<u64>,
    /// Since when: the number of its taking over.
    epoch: u64,
    /// The version of the map of shards.
    map_version: u64,
    /// The nodes that hold copies of the shard.
    replicas: Vec<u64>,
    /// The node that says so.
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

/// The process runs.
#[utoipa::path(tag = Tag::OPERATION, security(()), responses((status = 200, description = "It does.", body = State)))]
#[get("/livez")]
async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(State {
        status: "ok",
        reason: None,
    })
}

/// Clients are served well here.
#[utoipa::path(tag = Tag::OPERATION, security(()), responses(
    (status = 200, description = "They are.", body = State),
    (status = 503, description = "They are not.", body = State)
))]
#[get("/readyz")]
async fn readyz(cluster: web::Data<Cluster>, worker: web::Data<Rc<Worker>>) -> HttpResponse {
    let ready = match worker.order() {
        Order::HandOver | Order::Drain => Err("draining".to_owned()),
        Order::Isolated => {
            let reason = cluster.ready().err();
            Err(reason.unwrap_or_else(|| "isolated: no majority in sight".to_owned()))
        }
        Order::Serve => cluster.ready(),
    };
    match ready {
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

/// The node's figures, for Prometheus.
#[utoipa::path(tag = Tag::OPERATION, responses(
    (status = 200, description = "OpenMetrics.", body = String, content_type = "application/openmetrics-text"), Operators
))]
#[get("/metrics")]
async fn metrics(
    request: HttpRequest,
    figures: web::Data<Figures>,
    worker: web::Data<Rc<Worker>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return strangers();
    }
    HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(figures.render())
}

/// Nodes, shards, owners, lag.
///
/// `local` of a shard is this node's replica: its role, its position, and the digest of what applying the log up to that
/// very position did. Replicas with the same `applied` have the same `digest`.
#[utoipa::path(tag = Tag::OPERATION, responses((status = 200, description = "The cluster.", body = Object), Operators))]
#[get("/v1/cluster")]
async fn cluster_status(
    request: HttpRequest,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<Worker>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return strangers();
    }
    HttpResponse::Ok().json(cluster.status())
}

/// Where a conversation lives.
#[utoipa::path(tag = Tag::OPERATION, params(Which), responses(
    (status = 200, description = "Its shard and its owner.", body = Owner), Operators
))]
#[get("/v1/cluster/owner")]
async fn conversation_owner(
    request: HttpRequest,
    which: web::Query<Which>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<Worker>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return strangers();
    }
    let conversation = which.into_inner().conversation;
    let shard = cluster.shard_of(conversation.as_str().as_bytes());
    let route = cluster.route(shard);
    HttpResponse::Ok().json(Owner {
        conversation,
        shard: shard.0,
        owner: route.owner.map(|node| node.0),
        epoch: route.epoch,
        map_version: route.map_version,
        replicas: route.replicas.iter().map(|node| node.0).collect(),
        node: cluster.node_id().0,
    })
}

/// Forgets a node that won't come back; the others take its shards.
#[utoipa::path(tag = Tag::OPERATION, params(("id" = u64, Path, description = "The node.")), responses(
    (status = 204, description = "It is forgotten."),
    (status = 409, description = "It can't be.", body = Problem, content_type = "application/problem+json"),
    Operators
))]
#[delete("/v1/cluster/nodes/{id}")]
async fn remove_node(
    request: HttpRequest,
    node: web::Path<u64>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<Worker>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return strangers();
    }
    match cluster.remove_node(NodeId(*node)).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(reason) => problem(ErrorCode::Conflict, &reason),
    }
}

fn operator(request: &HttpRequest, worker: &Worker) -> bool {
    let config = &worker.config;
    admission::operator(
        request.headers(),
        &config.server.admin_token,
        config.auth.dev_tokens,
    )
}

fn strangers() -> HttpResponse {
    problem(ErrorCode::Unauthenticated, "this needs the admin token")
}
