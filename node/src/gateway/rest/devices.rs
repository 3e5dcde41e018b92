//! `/v1/auth/devices`: tokens of the caller's devices, for clients with a fixed password
//! (`auth::device_tokens`).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, post, web};
use protocol::{ClientMessageId, CommandCost, ErrorCode, limits, text};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, QueryErrors};
use super::input::Input;
use super::{Problem, response};
use crate::auth::{DeviceTokens, NewDevice};
use crate::state_machine::{DeviceTokenEntry, TokenFamilyId};

/// Device token in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes the path")]
struct OfToken {
    /// The id of the device token.
    token_id: ClientMessageId,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type TokenPath = Path<ClientMessageId>;

/// Request for a device token.
#[derive(Deserialize, ToSchema)]
struct DeviceTokenRequest {
    /// The id of the device, such as `phone-1`. Only this device can use the token.
    #[schema(min_length = 1, max_length = 64, example = "sensor-7")]
    device: String,
    /// A name for the list of tokens, at most 64 bytes.
    #[schema(max_length = 64)]
    name: Option<String>,
}

/// A created device token.
#[derive(Serialize, ToSchema)]
struct DeviceTokenCreated {
    /// The id of the token, by which it is listed and revoked.
    token_id: ClientMessageId,
    /// The token itself, the bearer token of the device. It is shown only once.
    token: String,
    /// The time at which the token expires, in milliseconds since the epoch.
    expires: u64,
}

/// Device tokens of the caller.
#[derive(Serialize, ToSchema)]
struct DeviceTokenList {
    items: Vec<ListedDeviceToken>,
}

/// A device token of the caller, without the token itself.
#[derive(Serialize, ToSchema)]
struct ListedDeviceToken {
    /// The id of the token.
    token_id: ClientMessageId,
    /// The id of the device.
    device: Box<str>,
    /// The name of the token; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    name: Option<Box<str>>,
    /// The time at which the token was created, in milliseconds since the epoch.
    created: u64,
    /// The time at which the token expires, in milliseconds since the epoch.
    expires: u64,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(create).service(list).service(revoke);
}

/// Creates a token for one device of the caller, valid for 90 days or until the login that created it ends. A device
/// token cannot create another.
#[utoipa::path(tag = ApiTag::LOGIN, request_body = DeviceTokenRequest, responses(
    (status = 201, description = "The token of the device.", body = DeviceTokenCreated), ChangeErrors
))]
#[post("/v1/auth/devices")]
async fn create(
    caller: AuthenticatedUser,
    devices: web::Data<DeviceTokens>,
    input: Input<DeviceTokenRequest>,
) -> Result<HttpResponse, Problem> {
    let DeviceTokenRequest { device, name } = input.fields;
    check("device", &device)?;
    if let Some(name) = &name {
        check("name", name)?;
    }
    // A stolen token could otherwise replace itself for ever.
    if caller.device.is_some() {
        let detail = "a device token cannot create another one";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    caller.pay(CommandCost::CHANGE)?;
    let new = NewDevice {
        user: caller.user.clone(),
        login: caller.login.clone(),
        device: device.into(),
        name: name.map(Into::into),
    };
    let issued = devices.create(new).await;
    let issued = issued.map_err(|refusal| caller.refused(refusal))?;
    let created = DeviceTokenCreated {
        token_id: issued.id,
        token: issued.token,
        expires: issued.expires_ms,
    };
    // Never stored by caches: the answer contains the token.
    Ok(HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(created))
}

/// Lists the device tokens of the caller that have not expired, at most 64.
#[utoipa::path(tag = ApiTag::LOGIN, responses(
    (status = 200, description = "The device tokens of the caller.", body = DeviceTokenList), QueryErrors
))]
#[get("/v1/auth/devices")]
async fn list(caller: AuthenticatedUser, devices: web::Data<DeviceTokens>) -> Result<HttpResponse, Problem> {
    caller.pay(CommandCost::QUERY)?;
    let entries = devices.list(&caller.user).await;
    let entries = entries.map_err(|refusal| caller.refused(refusal))?;
    Ok(response::json(&DeviceTokenList {
        items: entries.into_iter().map(ListedDeviceToken::from).collect(),
    }))
}

/// Revokes a device token of the caller: it is refused, and its sessions are closed. An unknown id revokes nothing. A
/// device token can revoke itself only.
#[utoipa::path(tag = ApiTag::LOGIN, params(OfToken), responses(
    (status = 204, description = "The token is revoked, or the caller has no such token."), ChangeErrors
))]
#[delete("/v1/auth/devices/{token_id}")]
async fn revoke(
    caller: AuthenticatedUser,
    devices: web::Data<DeviceTokens>,
    path: TokenPath,
) -> Result<HttpResponse, Problem> {
    let id = path.into_inner();
    if caller.device.is_some() && caller.login.as_ref() != Some(&id) {
        let detail = "a device token can revoke itself only";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    caller.pay(CommandCost::CHANGE)?;
    // Any other text is the id of no token.
    if let Some(id) = TokenFamilyId::parse(id.as_str()) {
        let revoked = devices.revoke(&caller.user, id).await;
        revoked.map_err(|refusal| caller.refused(refusal))?;
    }
    Ok(response::nothing())
}

/// Refuses a device or a name that is empty, too long or cannot be displayed.
fn check(field: &str, value: &str) -> Result<(), Problem> {
    if value.len() > limits::DEVICE_BYTES {
        let detail = format!("{field} is limited to {} bytes", limits::DEVICE_BYTES);
        return Err(Problem::bad(detail));
    }
    text::visible(value).map_err(|why| Problem::bad(format!("{field}: {why}")))
}

// === impl ListedDeviceToken ===

impl From<DeviceTokenEntry> for ListedDeviceToken {
    fn from(entry: DeviceTokenEntry) -> ListedDeviceToken {
        ListedDeviceToken {
            token_id: entry.id.login(),
            device: entry.device,
            name: entry.name,
            created: entry.created_ms,
            expires: entry.expires_ms,
        }
    }
}
