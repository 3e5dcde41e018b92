//! `/v1/admin/events`: the audit log.

use actix_web::{HttpResponse, get, web};
use protocol::limits;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::ApiKeys;
use crate::gateway::operator::Reader;
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, QueryErrors};
use crate::gateway::rest::response;
use crate::state_machine::AuditEntry;

/// Page of the audit log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditRange {
    /// Returns the newest entries below this `seq`; without it, the newest of all.
    before: Option<u64>,
    /// The number of entries; default 50, clamped to 1-100.
    limit: Option<u64>,
}

/// A page of the audit log, the newest entry first.
#[derive(Serialize, ToSchema)]
struct AuditPage {
    items: Vec<AuditItem>,
}

/// A change that was requested with sufficient rights. The entry precedes the change, so the state may refuse the
/// change behind it.
#[derive(Serialize, ToSchema)]
struct AuditItem {
    /// The number of the entry.
    seq: u64,
    /// The time of the entry, in milliseconds since the epoch.
    ts: u64,
    /// The id of the API key; absent for a change by an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// The name of the operator's token; absent for a change by an API key.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    who: Box<str>,
    /// The kind of the change, such as `messages.send` or `nodes.drain`.
    #[schema(value_type = String)]
    act: Box<str>,
    /// The conversation, user, node, session or key that the change concerns.
    #[schema(value_type = String)]
    target: Box<str>,
    /// The number of items that the request named.
    count: u32,
    /// The outcome of an operator's change: `done`, `failed: <code>`, or `begun` if the node could not record another one;
    /// absent for a change by an API key.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(value_type = Option<String>)]
    outcome: Box<str>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(list_audit);
}

/// Lists the changes by API keys and by operators, without their contents. The newest 1,000 are kept.
#[utoipa::path(tag = ApiTag::OPERATION, params(AuditRange), responses(
    (status = 200, description = "A page of the audit log.", body = AuditPage), QueryErrors
))]
#[get("/v1/admin/events")]
async fn list_audit(
    _reader: Reader,
    keys: web::Data<ApiKeys>,
    range: web::Query<AuditRange>,
) -> Result<HttpResponse, Problem> {
    let AuditRange { before, limit } = range.into_inner();
    let limit = u32::try_from(limits::page(limit)).unwrap_or(1);
    let entries = keys.audit(before, limit).await?;
    Ok(response::json(&AuditPage {
        items: entries.into_iter().map(AuditItem::from).collect(),
    }))
}

// === impl AuditItem ===

impl From<AuditEntry> for AuditItem {
    fn from(entry: AuditEntry) -> AuditItem {
        AuditItem {
            seq: entry.seq,
            ts: entry.at_ms,
            key_id: entry.key.map(|key| key.to_string()),
            who: entry.who,
            act: entry.act,
            target: entry.target,
            count: entry.count,
            outcome: entry.outcome,
        }
    }
}
