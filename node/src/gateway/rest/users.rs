//! `/v1/users` and `/v1/blocks`: profiles, direct messages, presence and blocking of users.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, post, put, web};
use protocol::command::{BlockUser, GetUsers, ListConversations, WatchUsers};
use protocol::event::PresenceEvent;
use protocol::response::{Ack, UserProfile, UsersResponse};
use protocol::rest::BlockList;
use protocol::{ClientCommand, UserId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::conversations::PageQuery;
use super::describe::{ApiTag, ChangeErrors, IdempotencyKey, OfUser, QueryErrors};
use super::input::Input;
use super::messages::NewMessage;
use super::{Problem, response};
use crate::commands::queries::ListBlocks;
use crate::presence::local_presence;

/// Users by their ids.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserIds {
    /// The ids of at most 100 users, separated by commas.
    #[param(min_length = 1, max_length = 6500)]
    ids: String,
}

impl UserIds {
    fn users(&self) -> Result<GetUsers, Problem> {
        let ids = self.ids.split(',').map(UserId::parse);
        let ids: Result<_, _> = ids.collect();
        let ids = ids.map_err(|error| Problem::bad(format!("ids: {error}")))?;
        Ok(GetUsers { ids })
    }
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(get_users)
        .service(get_user)
        .service(send_to_user)
        .service(get_presence)
        .service(put_block)
        .service(delete_block)
        .service(list_blocks);
}

/// Lists the profiles of users by their ids. There is no list of all users.
#[utoipa::path(tag = ApiTag::USERS, params(UserIds), responses(
    (status = 200, description = "The profiles in the order of the ids. A user whose shard did not respond is left out.", body = UsersResponse), QueryErrors
))]
#[get("/v1/users")]
async fn get_users(caller: AuthenticatedUser, query: web::Query<UserIds>) -> Result<HttpResponse, Problem> {
    Ok(response::json(&caller.ask(query.into_inner().users()?).await?))
}

/// Shows the profile of a user. A user without a profile, or without an account, has the version 0 and nothing else.
#[utoipa::path(tag = ApiTag::USERS, params(OfUser), responses(
    (status = 200, description = "The profile of the user.", body = UserProfile), QueryErrors
))]
#[get("/v1/users/{u}")]
async fn get_user(caller: AuthenticatedUser, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let user = u.into_inner();
    let ids = vec![user.clone()];
    caller.may(&ClientCommand::Users(GetUsers { ids }))?;
    let profile = caller.conversations().profile(&user).await;
    Ok(response::json(
        &profile.map_err(|refusal| caller.refused(refusal))?,
    ))
}

/// Sends a message to a user. The direct conversation of the two is created if it does not exist.
#[utoipa::path(tag = ApiTag::USERS, params(OfUser, IdempotencyKey), request_body = NewMessage, responses(
    (status = 201, description = "The message is committed: a majority of the replicas has it on disk.", body = Ack),
    (status = 200, description = "The message had been sent with this idempotency key before.", body = Ack),
    ChangeErrors
))]
#[post("/v1/users/{u}/messages")]
async fn send_to_user(
    caller: AuthenticatedUser,
    u: Path<UserId>,
    input: Input<NewMessage>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let send = input.fields.send(None, Some(u.into_inner()), cid.clone());
    Ok(response::created(
        cid,
        caller.change(ClientCommand::Send(send)).await?,
    ))
}

/// Shows the presence of a user and the time when the user was last seen. An unknown user is offline.
#[utoipa::path(tag = ApiTag::USERS, params(OfUser), responses(
    (status = 200, description = "The presence of the user.", body = PresenceEvent), QueryErrors
))]
#[get("/v1/users/{u}/presence")]
async fn get_presence(caller: AuthenticatedUser, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let user = u.into_inner();
    // Charged like a `watch` of one user.
    let users = vec![user.clone()];
    caller.may(&ClientCommand::Watch(WatchUsers { users }))?;
    let presence = caller.conversations().presence(&caller.user, &user).await;
    let presence = presence.map_err(|refusal| caller.refused(refusal))?;
    Ok(response::json(&local_presence::event(&user, presence)))
}

/// Blocks direct messages from a user. Shared groups are not affected.
#[utoipa::path(tag = ApiTag::USERS, params(OfUser), responses(
    (status = 204, description = "The user is blocked."), ChangeErrors
))]
#[put("/v1/users/{u}/block")]
async fn put_block(caller: AuthenticatedUser, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let block = BlockUser { user: u.into_inner() };
    caller.change(ClientCommand::Block(block)).await?;
    Ok(response::nothing())
}

/// Accepts direct messages from a user again.
#[utoipa::path(tag = ApiTag::USERS, params(OfUser), responses(
    (status = 204, description = "The user is not blocked any more."), ChangeErrors
))]
#[delete("/v1/users/{u}/block")]
async fn delete_block(caller: AuthenticatedUser, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let block = BlockUser { user: u.into_inner() };
    caller.change(ClientCommand::Unblock(block)).await?;
    Ok(response::nothing())
}

/// Lists the users that the caller blocks, in the order of their ids.
#[utoipa::path(tag = ApiTag::USERS, params(PageQuery), responses(
    (status = 200, description = "A page of the blocked users. A recent change may be missing.", body = BlockList), QueryErrors
))]
#[get("/v1/blocks")]
async fn list_blocks(
    caller: AuthenticatedUser,
    page: web::Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let PageQuery { cursor, limit } = page.into_inner();
    let list = ListConversations {
        cursor,
        limit,
        data_kind: None,
    };
    Ok(response::json(&caller.ask(ListBlocks(list)).await?))
}
