//! `/v1/auth`: logging in with a one-time code, staying so, and logging out. [`crate::user::login`] does it; here it is
//! read from HTTP and written to it.

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
use super::describe::{Entered, Proven, Tag};
use super::input::Input;
use super::{LoginRates, Problem, answer};
use crate::conversation::Refusal;
use crate::gateway::admission;
use crate::session::Worker;
use crate::user::login::{Login, Tokens};

/// One who is not known yet, within the rates of its address.
struct Guest {
    ip: IpAddr,
    login: web::Data<Login>,
}

/// Where a code is wanted.
#[derive(Deserialize, ToSchema)]
struct CodeWanted {
    /// A phone number with its country code, or a mail address.
    #[schema(example = "+447700900123")]
    to: String,
}

/// A code is on its way.
#[derive(Serialize, ToSchema)]
struct CodeSent {
    /// Names the code when it is entered.
    challenge: String,
    /// Seconds for which it can be.
    expires_in: u64,
    /// The code itself; with development tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    dev_code: Option<String>,
}

/// A code that was entered.
#[derive(Deserialize, ToSchema)]
struct CodeEntered {
    /// As it was answered.
    challenge: String,
    /// Six digits.
    #[schema(example = "123456")]
    code: String,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
struct Shown {
    /// As it was answered last.
    refresh_token: String,
}

/// A login that is to end.
#[derive(Deserialize, ToSchema)]
struct Leaving {
    /// As it was answered last.
    refresh_token: String,
    /// Whether all logins of the user are to end.
    #[serde(default)]
    everywhere: bool,
}

/// What a login gives.
#[derive(Serialize, ToSchema)]
struct LoggedIn {
    /// A JWT: the bearer token of every request.
    access_token: String,
    /// Gives the next tokens, once.
    refresh_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds for which the access token is valid.
    expires_in: u64,
    /// The user.
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

/// Sends a one-time code to an address. Every address is answered alike.
#[utoipa::path(tag = Tag::LOGIN, security(()), request_body = CodeWanted, responses(
    (status = 202, description = "It is on its way.", body = CodeSent), Entered
))]
#[post("/v1/auth/otp")]
async fn send_code(guest: Guest, input: Input<CodeWanted>) -> Result<HttpResponse, Problem> {
    let asked = guest.login.ask(guest.ip, &input.fields.to).await?;
    let sent = CodeSent {
        challenge: asked.challenge,
        expires_in: asked.expires_in,
        dev_code: asked.code,
    };
    Ok(HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(sent))
}

/// Gives tokens for a code. One that is wrong, used, expired or not there is answered alike.
#[utoipa::path(tag = Tag::LOGIN, security(()), request_body = CodeEntered, responses(
    (status = 200, description = "The user is logged in.", body = LoggedIn), Proven
))]
#[post("/v1/auth/otp/verify")]
async fn enter_code(guest: Guest, input: Input<CodeEntered>) -> Result<HttpResponse, Problem> {
    let CodeEntered { challenge, code } = &input.fields;
    Ok(logged_in(guest.login.verify(challenge, code).await?))
}

/// Gives the next tokens. The refresh token is replaced: shown again later, it ends the login.
#[utoipa::path(tag = Tag::LOGIN, security(()), request_body = Shown, responses(
    (status = 200, description = "The user stays logged in.", body = LoggedIn), Proven
))]
#[post("/v1/auth/refresh")]
async fn refresh(guest: Guest, input: Input<Shown>) -> Result<HttpResponse, Problem> {
    Ok(logged_in(guest.login.refresh(&input.fields.refresh_token).await?))
}

/// Ends a login: its refresh token is void at once, its access token when it runs out.
#[utoipa::path(tag = Tag::LOGIN, security(()), request_body = Leaving, responses(
    (status = 204, description = "It has ended, or there was none."), Entered
))]
#[post("/v1/auth/logout")]
async fn logout(guest: Guest, input: Input<Leaving>) -> Result<HttpResponse, Problem> {
    let Leaving {
        refresh_token,
        everywhere,
    } = &input.fields;
    guest.login.logout(refresh_token, *everywhere).await?;
    Ok(answer::nothing())
}

/// The public keys of the cluster's access tokens: of the one that signs, the one before and the next.
#[utoipa::path(tag = Tag::LOGIN, security(()), responses(
    (status = 200, description = "A JWK set (RFC 7517).", body = Object, content_type = "application/json")
))]
#[get("/.well-known/jwks.json")]
async fn jwks(login: web::Data<Login>) -> HttpResponse {
    let (keys, age_s) = login.jwks();
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, format!("public, max-age={age_s}")))
        .json(keys)
}

fn logged_in(tokens: Tokens) -> HttpResponse {
    answer::json(&LoggedIn {
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        token_type: "Bearer",
        expires_in: tokens.expires_in,
        user: tokens.user,
    })
}

// === impl Guest ===

impl FromRequest for Guest {
    type Error = Problem;
    type Future = Ready<Result<Guest, Problem>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(welcome(request))
    }
}

fn welcome(request: &HttpRequest) -> Result<Guest, Problem> {
    let missing = || Problem::new(ErrorCode::Internal, "the gateway is not set up");
    let worker = request.app_data::<web::Data<Rc<Worker>>>().ok_or_else(missing)?;
    let rates = request.app_data::<web::Data<LoginRates>>().ok_or_else(missing)?;
    let login = request.app_data::<web::Data<Login>>().ok_or_else(missing)?;
    serving(worker)?;
    let peer = request.peer_addr().map(|peer| peer.ip());
    let ip = admission::client(request.headers(), peer, &worker.config.server);
    rates.take(ip, Instant::now()).map_err(too_fast)?;
    Ok(Guest {
        ip,
        login: login.clone(),
    })
}

fn too_fast(wait: Duration) -> Problem {
    let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Problem::from(Refusal {
        code: ErrorCode::RateLimited,
        msg: "too many requests".to_owned(),
        retry_ms: Some(retry_ms),
    })
}
