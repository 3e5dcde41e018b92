//! `/v1/admin/keys`: API keys of back ends.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, post, web};
use protocol::{limits, text};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::auth::ApiKeys;
use crate::gateway::operator::{Operator, Reader};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, QueryErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::session::WorkerContext;
use crate::state_machine::{ApiKeyEntry, ApiKeyId, KeyScope};

/// Number of scopes that exist.
const SCOPES: usize = 5;

/// API key in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct OfKey {
    /// The id of the API key: 16 letters and digits, the part behind `rook_`.
    #[param(min_length = 16, max_length = 16)]
    key_id: String,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type KeyPath = Path<String>;

/// An API key to create.
#[derive(Deserialize, ToSchema)]
struct ApiKeyRequest {
    /// The name of the key, for the list: 1 to 64 bytes.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// The parts of the server API that the key permits.
    #[schema(min_items = 1, max_items = 5)]
    scopes: Vec<KeyScope>,
    /// The time at which the key ends, in milliseconds since the epoch; without it, the key has no end.
    expires: Option<u64>,
}

/// A created API key.
#[derive(Serialize, ToSchema)]
struct ApiKeyCreated {
    /// The id of the key, by which it is listed and revoked.
    key_id: String,
    /// The key itself, the bearer token of the back end. It is shown only once.
    key: String,
}

/// The API keys of the cluster.
#[derive(Serialize, ToSchema)]
struct ApiKeyList {
    items: Vec<ListedApiKey>,
}

/// An API key, without its secret.
#[derive(Serialize, ToSchema)]
struct ListedApiKey {
    /// The id of the key.
    key_id: String,
    /// The name of the key.
    #[schema(value_type = String)]
    name: Box<str>,
    /// The parts of the server API that the key permits.
    scopes: Vec<KeyScope>,
    /// The time at which the key was created, in milliseconds since the epoch.
    created: u64,
    /// The time at which the key ends, in milliseconds since the epoch; absent if it has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(create_key).service(list_keys).service(revoke_key);
}

/// Creates an API key for a back end. Two keys of a back end are valid side by side, so a key is rotated by creating
/// another one and revoking the old one.
#[utoipa::path(tag = ApiTag::OPERATION, request_body = ApiKeyRequest, responses(
    (status = 201, description = "The key. It cannot be read again.", body = ApiKeyCreated), ChangeErrors
))]
#[post("/v1/admin/keys")]
async fn create_key(
    operator: Operator,
    keys: web::Data<ApiKeys>,
    worker: web::Data<std::rc::Rc<WorkerContext>>,
    input: Input<ApiKeyRequest>,
) -> Result<HttpResponse, Problem> {
    let ApiKeyRequest {
        name,
        scopes,
        expires,
    } = input.fields;
    if name.len() > limits::DEVICE_BYTES {
        let detail = format!("name is limited to {} bytes", limits::DEVICE_BYTES);
        return Err(Problem::bad(detail));
    }
    text::visible(&name).map_err(|why| Problem::bad(format!("name must have {why}")))?;
    if !(1..=SCOPES).contains(&scopes.len()) {
        return Err(Problem::bad(format!("scopes: a key has 1 to {SCOPES}")));
    }
    if expires.is_some_and(|expires| expires <= worker.conversations.clock().now_ms()) {
        return Err(Problem::bad("expires lies in the past"));
    }
    // Drawn before the change, so that the audit log names the key.
    let id = ApiKeyId(rand::random());
    let creation = async { Ok(keys.create(id, name.into(), &scopes, expires).await?) };
    let created = operator.change("keys.create", &id.to_string(), creation).await?;
    // Never stored by caches: the answer contains the key.
    Ok(HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(ApiKeyCreated {
            key_id: created.id.to_string(),
            key: created.text,
        }))
}

/// Lists the API keys, without their secrets. A key that has ended stays in the list until it is revoked.
#[utoipa::path(tag = ApiTag::OPERATION, responses(
    (status = 200, description = "The API keys of the cluster, at most 64.", body = ApiKeyList), QueryErrors
))]
#[get("/v1/admin/keys")]
async fn list_keys(_reader: Reader, keys: web::Data<ApiKeys>) -> Result<HttpResponse, Problem> {
    let entries = keys.list().await?;
    Ok(response::json(&ApiKeyList {
        items: entries.into_iter().map(ListedApiKey::from).collect(),
    }))
}

/// Revokes an API key on every node. Repeating the request changes nothing.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfKey), responses(
    (status = 204, description = "The key is revoked, or does not exist."), ChangeErrors
))]
#[delete("/v1/admin/keys/{key_id}")]
async fn revoke_key(
    operator: Operator,
    keys: web::Data<ApiKeys>,
    path: KeyPath,
) -> Result<HttpResponse, Problem> {
    let id = ApiKeyId::parse(&path)
        .ok_or_else(|| Problem::bad("key_id: an id of a key has 16 letters and digits"))?;
    let revocation = async { Ok(keys.revoke(id).await?) };
    operator
        .change("keys.revoke", &id.to_string(), revocation)
        .await?;
    Ok(response::nothing())
}

// === impl ListedApiKey ===

impl From<ApiKeyEntry> for ListedApiKey {
    fn from(entry: ApiKeyEntry) -> ListedApiKey {
        ListedApiKey {
            key_id: entry.id.to_string(),
            name: entry.name,
            scopes: entry.scopes.iter().collect(),
            created: entry.created_ms,
            expires: entry.expires_ms,
        }
    }
}
