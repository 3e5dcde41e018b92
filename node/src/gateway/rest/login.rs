//! `/v1/auth`: HTTP interface of [`crate::auth::login_service`]: one-time codes, token refresh and logout.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{FromRequest, HttpRequest, HttpResponse, get, post, web};
use protocol::{ErrorCode, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::serving;
use super::describe::{ApiTag, Entered, Proven, PublicErrors};
use super::input::Input;
use super::{LoginRates, Problem, response};
use crate::auth::{LoginService, Tokens};
use crate::gateway::admission;
use crate::session::WorkerContext;
use crate::shard_client::CommandError;

/// Unauthenticated client within the request rate of its address.
struct UnauthenticatedCaller {
    ip: IpAddr,
    login: web::Data<LoginService>,
}

/// Request for a one-time code.
#[derive(Deserialize, ToSchema)]
struct CodeWanted {
    /// The phone number with its country code, or the mail address, that receives the code.
    #[schema(example = "+447700900123")]
    to: String,
}

/// Answer to a request for a code.
#[derive(Serialize, ToSchema)]
struct CodeSent {
    /// The challenge that identifies the code when it is entered.
    challenge: String,
    /// The lifetime of the code in seconds.
    expires_in: u64,
    /// The code itself; present with development tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_code: Option<String>,
}

/// An entered one-time code.
#[derive(Deserialize, ToSchema)]
struct CodeEntered {
    /// The challenge from the answer to the request for the code.
    challenge: String,
    /// The six digits of the code.
    #[schema(example = "123456")]
    code: String,
}

/// A refresh token to exchange for new tokens.
#[derive(Deserialize, ToSchema)]
struct RefreshRequest {
    /// The refresh token of the latest answer.
    refresh_token: String,
}

/// A login to end.
#[derive(Deserialize, ToSchema)]
struct LogoutRequest {
    /// The refresh token of the latest answer.
    refresh_token: String,
    /// True to end all logins of the user.
    #[serde(default, rename = "everywhere")]
    all_devices: bool,
}

/// Tokens of a login.
#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// The access token, a JWT: the bearer token of every request.
    access_token: String,
    /// The token that yields the next pair of tokens; it can be used once.
    refresh_token: String,
    /// The token type, always `Bearer`.
    token_type: &'static str,
    /// The lifetime of the access token in seconds.
    expires_in: u64,
    /// The id of the user who is logged in.
    user: UserId,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(send_code)
        .service(enter_code)
        .service(refresh)
        .service(logout)
        .service(jwks);
}

/// Sends a one-time code to a phone number or mail address. The answer is the same for known and unknown ones.
#[utoipa::path(tag = ApiTag::LOGIN, security(()), request_body = CodeWanted, responses(
    (status = 202, description = "The code is sent, unless the rate limit of the recipient is reached.", body = CodeSent), Entered
))]
#[post("/v1/auth/otp")]
async fn send_code(caller: UnauthenticatedCaller, input: Input<CodeWanted>) -> Result<HttpResponse, Problem> {
    let asked = caller.login.ask(caller.ip, &input.fields.to).await?;
    let sent = CodeSent {
        challenge: asked.challenge,
        expires_in: asked.expires_in,
        dev_code: asked.code,
    };
    // Never stored by caches: the answer may contain the code itself.
    Ok(HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(sent))
}

/// Exchanges a code for tokens. The refusal is the same for a wrong, used, expired or unknown code.
#[utoipa::path(tag = ApiTag::LOGIN, security(()), request_body = CodeEntered, responses(
    (status = 200, description = "The tokens of the new login.", body = LoggedIn), Proven
))]
#[post("/v1/auth/otp/verify")]
async fn enter_code(
    caller: UnauthenticatedCaller,
    input: Input<CodeEntered>,
) -> Result<HttpResponse, Problem> {
    let CodeEntered { challenge, code } = &input.fields;
    Ok(logged_in(caller.login.verify(challenge, code).await?))
}

/// Exchanges a refresh token for new tokens. The old token is replaced; a later reuse ends the login.
#[utoipa::path(tag = ApiTag::LOGIN, security(()), request_body = RefreshRequest, responses(
    (status = 200, description = "The new tokens of the login.", body = LoggedIn), Proven
))]
#[post("/v1/auth/refresh")]
async fn refresh(
    caller: UnauthenticatedCaller,
    input: Input<RefreshRequest>,
) -> Result<HttpResponse, Problem> {
    Ok(logged_in(
        caller.login.refresh(&input.fields.refresh_token).await?,
    ))
}

/// Ends a login: revokes its refresh token and its access tokens, and closes its sessions.
#[utoipa::path(tag = ApiTag::LOGIN, security(()), request_body = LogoutRequest, responses(
    (status = 204, description = "The login has ended, or the token belonged to none."), Entered
))]
#[post("/v1/auth/logout")]
async fn logout(caller: UnauthenticatedCaller, input: Input<LogoutRequest>) -> Result<HttpResponse, Problem> {
    let LogoutRequest {
        refresh_token,
        all_devices,
    } = &input.fields;
    caller.login.logout(refresh_token, *all_devices).await?;
    Ok(response::nothing())
}

/// Returns the public keys of the cluster's access tokens: the current, the previous and the next signing key.
#[utoipa::path(tag = ApiTag::LOGIN, security(()), responses(
    (status = 200, description = "The public keys as a JWK set (RFC 7517).", body = Object, content_type = "application/json"), PublicErrors
))]
#[get("/.well-known/jwks.json")]
async fn jwks(login: web::Data<LoginService>) -> HttpResponse {
    let (keys, age_s) = login.jwks();
    // Caches expire well before a new key signs, so that verifiers never lack it.
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("public, max-age={age_s}")))
        .json(keys)
}

fn logged_in(tokens: Tokens) -> HttpResponse {
    response::json(&LoggedIn {
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        token_type: "Bearer",
        expires_in: tokens.expires_in,
        user: tokens.user,
    })
}

// === impl UnauthenticatedCaller ===

impl FromRequest for UnauthenticatedCaller {
    type Error = Problem;
    type Future = Ready<Result<UnauthenticatedCaller, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(welcome(request))
    }
}

fn welcome(request: &HttpRequest) -> Result<UnauthenticatedCaller, Problem> {
    let missing = || Problem::new(ErrorCode::Internal, "the request has no gateway context");
    let worker = request
        .app_data::<web::Data<Rc<WorkerContext>>>()
        .ok_or_else(missing)?;
    let rates = request.app_data::<web::Data<LoginRates>>().ok_or_else(missing)?;
    let login = request
        .app_data::<web::Data<LoginService>>()
        .ok_or_else(missing)?;
    // Checked before the rate, so that a node that does not serve charges nothing.
    serving(worker)?;
    let peer = request.peer_addr().map(|peer| peer.ip());
    let ip = admission::client(request.headers(), peer, &worker.config.server);
    // Charged whatever the body contains: malformed attempts must not be free.
    rates.take(ip, Instant::now()).map_err(too_fast)?;
    Ok(UnauthenticatedCaller {
        ip,
        login: login.clone(),
    })
}

fn too_fast(wait: Duration) -> Problem {
    let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Problem::from(CommandError {
        code: ErrorCode::RateLimited,
        msg: "too many requests".to_owned(),
        retry_ms: Some(retry_ms),
    })
}
