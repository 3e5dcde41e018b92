//! `/v1/users/{u}` and `/v1/blocks`: direct messages, presence and blocking of users.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, post, put, web};
use protocol::command::{BlockUser, ListConversations, WatchUsers};
use protocol::event::PresenceEvent;
use protocol::response::Ack;
use protocol::rest::BlockList;
use protocol::{ClientCommand, UserId};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::conversations::PageQuery;
use super::describe::{ApiTag, ChangeErrors, IdempotencyKey, OfUser, QueryErrors};
use super::input::Input;
use super::messages::NewMessage;
use super::{Problem, response};
use crate::commands::queries::ListBlocks;
use crate::presence::local_presence;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(send_to_user)
        .service(get_presence)
        .service(put_block)
        .service(delete_block)
        .service(list_blocks);
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
    let list = ListConversations { cursor, limit };
    Ok(response::json(&caller.ask(ListBlocks(list)).await?))
}
