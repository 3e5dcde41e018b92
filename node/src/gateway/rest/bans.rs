//! `/v1/conversations/{c}/bans`: users banned from a conversation.

use actix_web::{HttpResponse, delete, get, put, web};
use protocol::ClientCommand;
use protocol::command::{ListMembers, MemberAction};
use protocol::response::Ack;
use protocol::rest::BanList;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::conversations::PageQuery;
use super::describe::{ApiTag, ChangeErrors, IdempotencyKey, InConversation, OfMember, QueryErrors};
use super::input::{Nothing, Optional};
use super::{ConversationPath, MemberPath, Problem, response};
use crate::commands::queries::ListBans;

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(list_bans).service(put_ban).service(delete_ban);
}

/// Lists the banned users in the order of their ids.
#[utoipa::path(tag = ApiTag::MEMBERS, params(InConversation, PageQuery), responses(
    (status = 200, description = "A page of the bans.", body = BanList), QueryErrors
))]
#[get("/v1/conversations/{c}/bans")]
async fn list_bans(
    caller: AuthenticatedUser,
    c: ConversationPath,
    page: web::Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let PageQuery { cursor, limit } = page.into_inner();
    let c = c.into_inner();
    let members = ListMembers {
        conversation: c,
        cursor,
        limit,
    };
    Ok(response::json(&caller.ask(ListBans(members)).await?))
}

/// Removes a user from the conversation and bars the user from joining again.
#[utoipa::path(tag = ApiTag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 201, description = "The user is banned.", body = Ack),
    (status = 200, description = "A request with this idempotency key had banned the user before.", body = Ack),
    ChangeErrors
))]
#[put("/v1/conversations/{c}/bans/{u}")]
async fn put_ban(
    caller: AuthenticatedUser,
    path: MemberPath,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let ((c, who), cid) = (path.into_inner(), input.cid);
    let ban = MemberAction {
        conversation: c,
        client_message_id: cid.clone(),
        member: who,
    };
    Ok(response::created(
        cid,
        caller.change(ClientCommand::Ban(ban)).await?,
    ))
}

/// Lifts the ban of a user, who may join or be added again.
#[utoipa::path(tag = ApiTag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 200, description = "The user is not banned any more.", body = Ack), ChangeErrors
))]
#[delete("/v1/conversations/{c}/bans/{u}")]
async fn delete_ban(
    caller: AuthenticatedUser,
    path: MemberPath,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let ((c, who), cid) = (path.into_inner(), input.cid);
    let unban = MemberAction {
        conversation: c,
        client_message_id: cid.clone(),
        member: who,
    };
    Ok(response::changed(
        cid,
        caller.change(ClientCommand::Unban(unban)).await?,
    ))
}
