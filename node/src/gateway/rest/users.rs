//! `/v1/users/{u}`: what concerns one other user; and `/v1/blocks`.

use actix_web::web::Path;
use actix_web::{HttpResponse, delete, get, post, put, web};
use protocol::answer::Ack;
use protocol::command::{Block, List, Users};
use protocol::event::Presence;
use protocol::list::Blocks;
use protocol::{Command, UserId};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::conversations::Page;
use super::describe::{Asked, Changed, IdempotencyKey, OfUser, Tag};
use super::input::Input;
use super::messages::NewMessage;
use super::{Problem, answer};
use crate::commands::questions;
use crate::user::desk;

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(send_to_user)
        .service(get_presence)
        .service(put_block)
        .service(delete_block)
        .service(list_blocks);
}

/// Sends a message to a user: into the direct conversation of the two, which is made at need.
#[utoipa::path(tag = Tag::USERS, params(OfUser, IdempotencyKey), request_body = NewMessage, responses(
    (status = 201, description = "It is on a majority's disks.", body = Ack),
    (status = 200, description = "It had been sent with this key before.", body = Ack),
    Changed
))]
#[post("/v1/users/{u}/messages")]
async fn send_to_user(
    caller: Caller,
    u: Path<UserId>,
    input: Input<NewMessage>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let send = input.fields.send(None, Some(u.into_inner()), cid.clone());
    Ok(answer::created(cid, caller.change(Command::Send(send)).await?))
}

/// Whether a user is there, and when the user was seen last. One who was never there is offline.
#[utoipa::path(tag = Tag::USERS, params(OfUser), responses(
    (status = 200, description = "How the user stands.", body = Presence), Asked
))]
#[get("/v1/users/{u}/presence")]
async fn get_presence(caller: Caller, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let user = u.into_inner();
    let users = vec![user.clone()];
    caller.may(&Command::Watch(Users { users }))?;
    let shown = caller.conversations().presence(&caller.user, &user).await;
    let shown = shown.map_err(|refusal| caller.refused(refusal))?;
    Ok(answer::json(&desk::event(&user, shown)))
}

/// Refuses direct messages of a user. Groups that both are in are not concerned.
#[utoipa::path(tag = Tag::USERS, params(OfUser), responses(
    (status = 204, description = "The user is blocked."), Changed
))]
#[put("/v1/users/{u}/block")]
async fn put_block(caller: Caller, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let block = Block { who: u.into_inner() };
    caller.change(Command::Block(block)).await?;
    Ok(answer::nothing())
}

/// Accepts direct messages of a user again.
#[utoipa::path(tag = Tag::USERS, params(OfUser), responses(
    (status = 204, description = "The user is not blocked."), Changed
))]
#[delete("/v1/users/{u}/block")]
async fn delete_block(caller: Caller, u: Path<UserId>) -> Result<HttpResponse, Problem> {
    let block = Block { who: u.into_inner() };
    caller.change(Command::Unblock(block)).await?;
    Ok(answer::nothing())
}

/// Lists whom the caller blocks, in the order of their ids.
#[utoipa::path(tag = Tag::USERS, params(Page), responses(
    (status = 200, description = "A page of users. It may lag a change by a moment.", body = Blocks), Asked
))]
#[get("/v1/blocks")]
async fn list_blocks(caller: Caller, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    let Page { cursor, limit } = page.into_inner();
    let list = List { cursor, limit };
    caller.may(&Command::List(list.clone()))?;
    let page = questions::blocks(caller.conversations(), &caller.user, list, caller.limits()).await;
    Ok(answer::json(&page.map_err(|refusal| caller.refused(refusal))?))
}
