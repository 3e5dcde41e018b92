//! `/v1/conversations/{c}/bans`: who is kept out.

use actix_web::{HttpResponse, delete, get, put, web};
use protocol::Command;
use protocol::answer::Ack;
use protocol::command::{ActOn, Members};
use protocol::list::Bans;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::conversations::Page;
use super::describe::{Asked, Changed, IdempotencyKey, InConversation, OfMember, Tag};
use super::input::{Nothing, Optional};
use super::{Conv, Problem, Seat, answer};
use crate::commands::questions;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(list_bans).service(put_ban).service(delete_ban);
}

/// Lists who is kept out, in the order of their ids.
#[utoipa::path(tag = Tag::MEMBERS, params(InConversation, Page), responses(
    (status = 200, description = "A page of the bans.", body = Bans), Asked
))]
#[get("/v1/conversations/{c}/bans")]
async fn list_bans(caller: Caller, c: Conv, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    let Page { cursor, limit } = page.into_inner();
    let c = c.into_inner();
    let members = Members { c, cursor, limit };
    caller.may(&Command::Members(members.clone()))?;
    let page = questions::bans(caller.conversations(), &caller.user, members, caller.limits()).await;
    Ok(answer::json(&page.map_err(|refusal| caller.refused(refusal))?))
}

/// Puts a user out and keeps it out.
#[utoipa::path(tag = Tag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 201, description = "The user is banned.", body = Ack),
    (status = 200, description = "It had been done with this key before.", body = Ack),
    Changed
))]
#[put("/v1/conversations/{c}/bans/{u}")]
async fn put_ban(caller: Caller, seat: Seat, input: Optional<Nothing>) -> Result<HttpResponse, Problem> {
    let ((c, who), cid) = (seat.into_inner(), input.cid);
    let ban = ActOn {
        c,
        cid: cid.clone(),
        who,
    };
    Ok(answer::created(cid, caller.change(Command::Ban(ban)).await?))
}

/// Permits a user to come again.
#[utoipa::path(tag = Tag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 200, description = "The user is banned no longer.", body = Ack), Changed
))]
#[delete("/v1/conversations/{c}/bans/{u}")]
async fn delete_ban(caller: Caller, seat: Seat, input: Optional<Nothing>) -> Result<HttpResponse, Problem> {
    let ((c, who), cid) = (seat.into_inner(), input.cid);
    let unban = ActOn {
        c,
        cid: cid.clone(),
        who,
    };
    Ok(answer::changed(cid, caller.change(Command::Unban(unban)).await?))
}
