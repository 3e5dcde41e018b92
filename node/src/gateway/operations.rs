//! What operators and probes ask: `/livez`, `/readyz`, `/metrics` and `/v1/cluster*`.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, web};
use cluster::{Cluster, NodeId};
use protocol::{ConvId, ErrorCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admission;
use super::problem::problem;
use crate::session::{Order, Worker};
use crate::telemetry::metrics::Figures;

/// `?conversation=`.
#[derive(Deserialize)]
pub(super) struct Which {
    conversation: Option<String>,
}

#[derive(Serialize)]
struct Owner {
    conversation: ConvId,
    shard: u16,
    owner: Option<u64>,
    epoch: u64,
    map_version: u64,
    replicas: Vec<u64>,
    node: u64,
}

/// `GET /livez`: the process runs.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: clients are served well here.
pub(super) async fn readyz(cluster: web::Data<Cluster>, worker: web::Data<Rc<Worker>>) -> HttpResponse {
    let ready = match worker.order() {
        Order::HandOver | Order::Drain => Err("draining".to_owned()),
        Order::Isolated => Err("isolated: no majority in sight".to_owned()),
        Order::Serve => cluster.ready(),
    };
    match ready {
        Ok(()) => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Err(reason) => {
            HttpResponse::ServiceUnavailable().json(json!({ "status": "not ready", "reason": reason }))
        }
    }
}

/// `GET /metrics`, for Prometheus.
pub(super) async fn metrics(
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

/// `GET /v1/cluster`: nodes, shards, owners, lag.
pub(super) async fn status(
    request: HttpRequest,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<Worker>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return strangers();
    }
    HttpResponse::Ok().json(cluster.status())
}

/// `GET /v1/cluster/owner?conversation=`: where a conversation lives.
pub(super) async fn owner(
    request: HttpRequest,
    which: web::Query<Which>,
    cluster: web::Data<Cluster>,
    worker: web::Data<Rc<Worker>>,
) -> HttpResponse {
    if !operator(&request, &worker) {
        return strangers();
    }
    let Some(Ok(conversation)) = which.conversation.as_deref().map(ConvId::parse) else {
        return problem(ErrorCode::BadRequest, "?conversation= must name a conversation");
    };
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

/// `DELETE /v1/cluster/nodes/{id}`: forgets a node that won't come back; the others take its shards.
pub(super) async fn remove_node(
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

/// Everything else.
pub(super) async fn unknown() -> HttpResponse {
    problem(ErrorCode::NotFound, "there is nothing here")
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
