//! `/v1/admin/failovers`: takeovers of shards from an earlier owner.

use actix_web::{HttpResponse, get, web};
use cluster::{Cluster, Failover};
use protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::gateway::operator::Reader;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, QueryErrors};
use crate::gateway::rest::response;

/// Part of the history of failovers.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FailoverRange {
    /// Returns the failovers from this time on, in milliseconds since the epoch; without it, all.
    since: Option<u64>,
}

/// The failovers that are kept, the newest entry first.
#[derive(Serialize, ToSchema)]
struct FailoverList {
    items: Vec<FailoverItem>,
    /// True if the owner of the meta group did not answer, so that the newest may be missing; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// A takeover of a shard from an earlier owner, as the new owner has seen it.
#[derive(Serialize, ToSchema)]
struct FailoverItem {
    /// The number of the entry.
    seq: u64,
    /// The time of the takeover, in milliseconds since the epoch.
    ts: u64,
    /// The shard; 65535 for the meta group.
    shard: u16,
    /// The old owner, or null if it is not known.
    #[schema(required)]
    from: Option<u64>,
    /// The new owner, which made the entry.
    to: u64,
    /// The epoch of the new owner.
    epoch: u64,
    /// `drained`, `moved`, `killed`, `isolated`, `restarted`, `regained` or `clock`.
    why: &'static str,
    /// Milliseconds from the last message of the old owner, or from its order to take over, to the takeover; null if the new
    /// owner had neither.
    #[schema(required)]
    unavailable_ms: Option<u64>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(list_failovers);
}

/// Lists the takeovers of shards from an earlier owner: from which node to which, why, and for how long the shard was
/// without one. The newest 1,000 are kept. An entry is made within a second after the takeover, once the meta group has an
/// owner.
#[utoipa::path(tag = ApiTag::OPERATION, params(FailoverRange), responses(
    (status = 200, description = "The failovers.", body = FailoverList), QueryErrors
))]
#[get("/v1/admin/failovers")]
async fn list_failovers(
    _reader: Reader,
    cluster: web::Data<Cluster>,
    range: web::Query<FailoverRange>,
) -> Result<HttpResponse, Problem> {
    let history = cluster.failovers(range.since.unwrap_or(0)).await;
    let history = history.map_err(|reason| Problem::new(ErrorCode::Unavailable, reason))?;
    Ok(response::json(&FailoverList {
        items: history.items.into_iter().map(FailoverItem::from).collect(),
        partial: !history.is_current,
    }))
}

// === impl FailoverItem ===

impl From<Failover> for FailoverItem {
    fn from(Failover { seq, note }: Failover) -> FailoverItem {
        FailoverItem {
            seq,
            ts: note.at_ms,
            shard: note.shard,
            from: Some(note.from.0).filter(|node| *node != 0),
            to: note.to.0,
            epoch: note.epoch,
            why: note.cause.name(),
            unavailable_ms: note.unavailable_ms,
        }
    }
}
