//! `/v1/server/users/{u}`: sessions, tokens and access of a user.

use actix_web::web::Path;
use actix_web::{HttpResponse, post};
use protocol::UserId;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, USERS, of_a_person};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, OfUser};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;

/// The tokens of a user that are to be refused.
#[derive(Deserialize, ToSchema)]
pub(in crate::gateway::rest) struct TokenRevocation {
    /// The time in seconds since the epoch: tokens with an earlier `iat`, or without one, are refused from now on.
    before: u64,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
pub(super) type UserPath = Path<UserId>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(disconnect_user)
        .service(revoke_tokens)
        .service(deactivate_user)
        .service(reactivate_user);
}

/// Closes the sessions of a user on all nodes (4403). The user may begin new ones. Scope: `users`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfUser), responses(
    (status = 204, description = "The sessions are being closed."), ChangeErrors
))]
#[post("/v1/server/users/{u}/disconnect")]
async fn disconnect_user(caller: BackEnd<USERS>, u: UserPath) -> Result<HttpResponse, Problem> {
    change(&caller, "users.disconnect", u, None, None).await
}

/// Refuses the tokens of a user that were issued before a time, on every node, ends the logins that were begun before it,
/// and closes the sessions (4403). Scope: `users`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfUser), request_body = TokenRevocation, responses(
    (status = 204, description = "The tokens are refused. An earlier time than before changes nothing."), ChangeErrors
))]
#[post("/v1/server/users/{u}/revoke")]
async fn revoke_tokens(
    caller: BackEnd<USERS>,
    u: UserPath,
    input: Input<TokenRevocation>,
) -> Result<HttpResponse, Problem> {
    let before_s = input.fields.until(caller.conversations().clock().now_ms())?;
    change(&caller, "users.revoke", u, None, Some(before_s)).await
}

/// Deactivates a user: no login, no session and no message, on every node. History and memberships stay. Scope: `users`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfUser), responses(
    (status = 204, description = "The user is deactivated, and the sessions are being closed."), ChangeErrors
))]
#[post("/v1/server/users/{u}/deactivate")]
async fn deactivate_user(caller: BackEnd<USERS>, u: UserPath) -> Result<HttpResponse, Problem> {
    change(&caller, "users.deactivate", u, Some(true), None).await
}

/// Activates a user again. Scope: `users`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), params(OfUser), responses(
    (status = 204, description = "The user is active."), ChangeErrors
))]
#[post("/v1/server/users/{u}/reactivate")]
async fn reactivate_user(caller: BackEnd<USERS>, u: UserPath) -> Result<HttpResponse, Problem> {
    change(&caller, "users.reactivate", u, Some(false), None).await
}

async fn change(
    caller: &BackEnd<USERS>,
    act: &'static str,
    u: UserPath,
    deactivated: Option<bool>,
    before_s: Option<u64>,
) -> Result<HttpResponse, Problem> {
    let user = u.into_inner();
    of_a_person(&user)?;
    caller.pay(1)?;
    caller.record(act, user.as_str(), 1).await?;
    let changed = caller
        .conversations()
        .put_access(user, deactivated, before_s)
        .await;
    changed.map_err(|refusal| caller.refused(refusal))?;
    Ok(response::nothing())
}

// === impl TokenRevocation ===

impl TokenRevocation {
    /// Returns the time in seconds since the epoch, unless it lies in the future.
    pub(in crate::gateway::rest) fn until(&self, now_ms: u64) -> Result<u64, Problem> {
        // A time in the future would refuse tokens that are yet to be issued.
        match self.before > now_ms.div_ceil(1_000) {
            true => Err(Problem::bad("before lies in the future")),
            false => Ok(self.before),
        }
    }
}
