//! `/v1/admin/users/{u}`: account of a user, its sessions and tokens, for operators.

use actix_web::web::Path;
use actix_web::{HttpResponse, get, post, web};
use protocol::{ErrorCode, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::gateway::operator::{Operator, Reader};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors, OfUser, OperatorQueryErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::gateway::rest::server::TokenRevocation;
use crate::session::WorkerContext;
use crate::shard_client::ShardClient;
use crate::state_machine::query::UserAccessQuery;

/// The account of a user, without anything that the user wrote to others.
#[derive(Serialize, ToSchema)]
struct UserAccount {
    /// The id of the user.
    u: UserId,
    /// Displayed name; absent if the user has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Version of the profile; 0 without a profile, whether the user exists or not.
    ver: u64,
    /// True if the user is deactivated.
    deactivated: bool,
    /// The time in seconds since the epoch before which no accepted token was issued; 0 accepts all.
    tokens_from: u64,
    /// The number of the sessions on all nodes.
    sessions: u64,
    /// True if a node did not respond in time, so that its sessions are missing; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// By a name of its own: utoipa would describe the parameter of a bare `Path` a second time.
type UserPath = Path<UserId>;
/// State of this worker thread.
type Worker = web::Data<std::rc::Rc<WorkerContext>>;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(show_user)
        .service(admin_disconnect_user)
        .service(admin_revoke_tokens);
}

/// Shows the account of a user.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfUser), responses(
    (status = 200, description = "The account.", body = UserAccount), OperatorQueryErrors
))]
#[get("/v1/admin/users/{u}")]
async fn show_user(_reader: Reader, u: UserPath, worker: Worker) -> Result<HttpResponse, Problem> {
    let user = a_person(u)?;
    let profile = worker.conversations.profile(&user).await?;
    let question = UserAccessQuery { user: user.clone() };
    let access = worker.conversations.query(&question).await?;
    let sessions = worker.sessions.of_user(&user).await;
    Ok(response::json(&UserAccount {
        u: user,
        name: profile.name,
        ver: profile.version,
        deactivated: access.deactivated,
        tokens_from: access.before_s,
        sessions: sessions.items.len() as u64,
        partial: sessions.is_partial,
    }))
}

/// Closes the sessions of a user on all nodes (4403). The user may begin new ones.
#[utoipa::path(tag = ApiTag::OPERATION, params(OfUser), responses(
    (status = 204, description = "The sessions are being closed."), ChangeErrors
))]
#[post("/v1/admin/users/{u}/disconnect")]
async fn admin_disconnect_user(
    operator: Operator,
    u: UserPath,
    worker: Worker,
) -> Result<HttpResponse, Problem> {
    change(
        &operator,
        "users.disconnect",
        a_person(u)?,
        &worker.conversations,
        None,
    )
    .await
}

/// Refuses the tokens of a user that were issued before a time, on every node, ends the logins that were begun before it,
/// and closes the sessions (4403).
#[utoipa::path(tag = ApiTag::OPERATION, params(OfUser), request_body = TokenRevocation, responses(
    (status = 204, description = "The tokens are refused. An earlier time than before changes nothing."), ChangeErrors
))]
#[post("/v1/admin/users/{u}/revoke")]
async fn admin_revoke_tokens(
    operator: Operator,
    u: UserPath,
    worker: Worker,
    input: Input<TokenRevocation>,
) -> Result<HttpResponse, Problem> {
    let clients = &worker.conversations;
    let before_s = input.fields.until(clients.clock().now_ms())?;
    change(&operator, "users.revoke", a_person(u)?, clients, Some(before_s)).await
}

async fn change(
    operator: &Operator,
    act: &'static str,
    user: UserId,
    clients: &ShardClient,
    before_s: Option<u64>,
) -> Result<HttpResponse, Problem> {
    let target = user.to_string();
    let change = async { Ok(clients.put_access(user, None, before_s).await?) };
    operator.change(act, &target, change).await?;
    Ok(response::nothing())
}

fn a_person(u: UserPath) -> Result<UserId, Problem> {
    let user = u.into_inner();
    match user.is_system() {
        true => Err(Problem::new(ErrorCode::BadRequest, "the id system is reserved")),
        false => Ok(user),
    }
}
