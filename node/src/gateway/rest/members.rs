//! `/v1/conversations/{c}/members`: members of a conversation and their roles.

use actix_web::{HttpRequest, HttpResponse, delete, get, put, web};
use protocol::command::{JoinConversation, LeaveConversation, ListMembers, MemberAction, SetRole};
use protocol::response::{Ack, MembersResponse as MembersOf};
use protocol::{ClientCommand, CustomData, FieldPatch, Role};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::conversations::PageQuery;
use super::describe::{
    ApiTag, ChangeErrors, EntityTag, IdempotencyKey, InConversation, OfMember, QueryErrors,
};
use super::input::{Nothing, Optional};
use super::{ConversationPath, MemberPath, Problem, response};

/// The membership to set for a user.
#[derive(Default, Deserialize, ToSchema)]
struct MemberRequest {
    /// The new role of an existing member. Without it and without `data`, the user is added.
    role: Option<Role>,
    /// The new custom data of an existing member, a JSON object of at most 4 KiB; null removes it.
    #[serde(default)]
    #[schema(value_type = Option<CustomData>)]
    data: FieldPatch<CustomData>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(list_members)
        .service(put_member)
        .service(delete_member);
}

/// Lists the members in the order of their ids.
#[utoipa::path(tag = ApiTag::MEMBERS, params(InConversation, PageQuery, EntityTag), responses(
    (status = 200, description = "A page of the members.", body = MembersOf,
        headers(("ETag" = String, description = "The entity tag of this response."))),
    (status = 304, description = "The response did not change: If-None-Match contains its entity tag."),
    QueryErrors
))]
#[get("/v1/conversations/{c}/members")]
async fn list_members(
    caller: AuthenticatedUser,
    request: HttpRequest,
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
    Ok(response::tagged(&request, &caller.ask(members).await?))
}

/// Adds a user, changes the role or the custom data of a member to those in the body, or lets the caller join a channel.
#[utoipa::path(tag = ApiTag::MEMBERS, params(OfMember, IdempotencyKey), request_body = Option<MemberRequest>, responses(
    (status = 201, description = "The user was added as a member.", body = Ack),
    (status = 200, description = "The member has the role now, or a request with this idempotency key had made the change before.", body = Ack),
    ChangeErrors
))]
#[put("/v1/conversations/{c}/members/{u}")]
async fn put_member(
    caller: AuthenticatedUser,
    path: MemberPath,
    input: Optional<MemberRequest>,
) -> Result<HttpResponse, Problem> {
    let ((c, who), key) = (path.into_inner(), input.cid);
    let cid = key.clone();
    let MemberRequest { role, data } = input.fields;
    if role.is_some() || !data.is_keep() {
        let role = ClientCommand::Role(SetRole {
            conversation: c,
            client_message_id: cid,
            member: who,
            role,
            data,
        });
        return Ok(response::changed(key, caller.change(role).await?));
    }
    let command = if who == caller.user {
        ClientCommand::Join(JoinConversation {
            conversation: c,
            client_message_id: cid,
        })
    } else {
        ClientCommand::Invite(MemberAction {
            conversation: c,
            client_message_id: cid,
            member: who,
        })
    };
    Ok(response::created(key, caller.change(command).await?))
}

/// Removes a member, or lets the caller leave.
#[utoipa::path(tag = ApiTag::MEMBERS, params(OfMember, IdempotencyKey), responses(
    (status = 200, description = "The user is not a member any more.", body = Ack), ChangeErrors
))]
#[delete("/v1/conversations/{c}/members/{u}")]
async fn delete_member(
    caller: AuthenticatedUser,
    path: MemberPath,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let ((c, who), key) = (path.into_inner(), input.cid);
    let cid = key.clone();
    let command = if who == caller.user {
        ClientCommand::Leave(LeaveConversation {
            conversation: c,
            client_message_id: cid,
        })
    } else {
        ClientCommand::Kick(MemberAction {
            conversation: c,
            client_message_id: cid,
            member: who,
        })
    };
    Ok(response::changed(key, caller.change(command).await?))
}
