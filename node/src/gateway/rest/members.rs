//! `/v1/conversations/{c}/members`: who is in it, and as what.

use actix_web::{HttpRequest, HttpResponse, delete, get, put, web};
use protocol::answer::{Ack, Members as MembersOf};
use protocol::command::{ActOn, Join, Leave, Members, SetRole};
use protocol::{Command, Role};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::conversations::Page;
use super::describe::{Asked, Changed, IdempotencyKey, InConversation, Known, OfMember, Tag};
use super::input::{Nothing, Optional};
use super::{Conv, Problem, Seat, answer};
use crate::commands::questions;

/// What a member is to be.
#[derive(Default, Deserialize, ToSchema)]
struct Membership {
    /// The role of one who is a member already.
    role: Option<Role>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(list_members)
        .service(put_member)
        .service(delete_member);
}

/// Lists the members, in the order of their ids.
#[utoipa::path(tag = Tag::MEMBERS, params(InConversation, Page, Known), responses(
    (status = 200, description = "A page of the members.", body = MembersOf,
        headers(("ETag" = String, description = "Of exactly this answer."))),
    (status = 304, description = "The client has it: If-None-Match names its entity tag."),
    Asked
))]
#[get("/v1/conversations/{c}/members")]
async fn list_members(
    caller: Caller,
    request: HttpRequest,
    c: Conv,
    page: web::Query<Page>,
) -> Result<HttpResponse, Problem> {
    let Page { cursor, limit } = page.into_inner();
    let c = c.into_inner();
    let members = Members { c, cursor, limit };
    caller.may(&Command::Members(members.clone()))?;
    let page = questions::members(caller.conversations(), &caller.user, members, caller.limits()).await;
    let page = page.map_err(|refusal| caller.refused(refusal))?;
    Ok(answer::tagged(&request, &page))
}

/// Brings a user in, gives a member the `role` in the body, or lets the caller itself join a channel.
#[utoipa::path(tag = Tag::MEMBERS, params(OfMember, IdempotencyKey), request_body = Option<Membership>, responses(
    (status = 201, description = "The user is a member now.", body = Ack),
    (status = 200, description = "The member has the role, or it had been done with this key before.", body = Ack),
    Changed
))]
#[put("/v1/conversations/{c}/members/{u}")]
async fn put_member(
    caller: Caller,
    seat: Seat,
    input: Optional<Membership>,
) -> Result<HttpResponse, Problem> {
    let ((c, who), key) = (seat.into_inner(), input.cid);
    let cid = key.clone();
    let command = match input.fields.role {
        Some(role) => {
            let role = Command::Role(SetRole { c, cid, who, role });
            return Ok(answer::changed(key, caller.change(role).await?));
        }
        None if who == caller.user => Command::Join(Join { c, cid }),
        None => Command::Invite(ActOn { c, cid, who }),
    };
    Ok(answer::created(key, caller.change(command).await?))
}

/// Puts a member out, or lets the caller itself leave.
#[utoipa::path(tag = Tag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 200, description = "The user is no member any more.", body = Ack), Changed
))]
#[delete("/v1/conversations/{c}/members/{u}")]
async fn delete_member(
    caller: Caller,
    seat: Seat,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let ((c, who), key) = (seat.into_inner(), input.cid);
    let cid = key.clone();
    let command = if who == caller.user {
        Command::Leave(Leave { c, cid })
    } else {
        Command::Kick(ActOn { c, cid, who })
    };
    Ok(answer::changed(key, caller.change(command).await?))
}
