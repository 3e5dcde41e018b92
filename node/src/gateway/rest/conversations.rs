//! REST routes `/v1/conversations` and `/v1/conversations/{c}`.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use protocol::command::{CreateConversation, ListConversations, OpenConversation, UpdateConversation};
use protocol::response::{Ack, ConversationList, ConversationSnapshot as ConvView};
use protocol::{ClientCommand, ConversationKind, CustomData, FieldPatch, HistoryVisibility, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, EntityTag, IdempotencyKey, InConversation, QueryErrors};
use super::input::Input;
use super::{ConversationPath, Problem, response};
use crate::commands::{changes, users_of_conversation};

/// Page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// The `next` of the previous page; without it, the first page.
    #[param(max_length = 256)]
    pub(super) cursor: Option<String>,
    /// The number of rows; default 50, clamped to 1-100.
    pub(super) limit: Option<u64>,
}

/// Page of the conversation list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The `next` of the previous page; without it, the first page.
    #[param(max_length = 256)]
    cursor: Option<String>,
    /// The number of rows; default 50, clamped to 1-100.
    limit: Option<u64>,
    /// Only conversations whose custom data has this text as its `kind`, and those whose owner did not respond.
    #[param(max_length = 64)]
    data_kind: Option<String>,
}

/// Position of the client in a conversation.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListHaveQuery {
    /// The last `s` that the client has. The answer includes the events after it.
    have: Option<u64>,
}

/// A conversation to create.
#[derive(Deserialize, ToSchema)]
struct NewConversation {
    /// The kind of the conversation: direct, group or channel.
    kind: ConversationKind,
    /// The other initial members; exactly one for a direct conversation.
    #[serde(default)]
    #[schema(max_items = 256)]
    members: Vec<UserId>,
    /// The title; not permitted for direct conversations.
    #[schema(max_length = 256)]
    title: Option<String>,
    /// Custom data of the application, a JSON object of at most 4 KiB; not permitted for direct conversations.
    data: Option<CustomData>,
}

/// Settings to change; at least one field is required.
#[derive(Deserialize, ToSchema)]
#[schema(min_properties = 1)]
struct Settings {
    /// The title, shared by all members; an empty one removes it.
    #[schema(max_length = 256)]
    title: Option<String>,
    /// The part of the history that new members may read; shared by all members.
    history: Option<HistoryVisibility>,
    /// Custom data of the application, a JSON object of at most 4 KiB, shared by all members; null removes it.
    #[serde(default)]
    #[schema(value_type = Option<CustomData>)]
    data: FieldPatch<CustomData>,
    /// True to mute the conversation for the caller only.
    muted: Option<bool>,
    /// True to pin the conversation to the top of the caller's list.
    pinned: Option<bool>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(list_conversations)
        .service(create_conversation)
        .service(open_conversation)
        .service(change_conversation);
}

/// Lists the caller's conversations, most recent activity first.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, params(ListQuery), responses(
    (status = 200, description = "A page of the caller's conversations.", body = ConversationList), QueryErrors
))]
#[get("/v1/conversations")]
async fn list_conversations(
    caller: AuthenticatedUser,
    page: web::Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let ListQuery {
        cursor,
        limit,
        data_kind,
    } = page.into_inner();
    let list = ListConversations {
        cursor,
        limit,
        data_kind,
    };
    Ok(response::json(&caller.ask(list).await?))
}

/// Creates a conversation. A repeat with the same idempotency key returns the same conversation.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, params(IdempotencyKey), request_body = NewConversation, responses(
    (status = 201, description = "The conversation was created.", body = ConvView,
        headers(("Location" = String, description = "The path of the conversation."))),
    (status = 200, description = "The conversation existed: created with this idempotency key before, or the direct conversation of the two users.", body = ConvView,
        headers(("Location" = String, description = "The path of the conversation."))),
    ChangeErrors
))]
#[post("/v1/conversations")]
async fn create_conversation(
    caller: AuthenticatedUser,
    input: Input<NewConversation>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let NewConversation {
        kind,
        members,
        title,
        data,
    } = input.fields;
    let create = CreateConversation {
        kind,
        client_message_id: cid,
        members,
        title,
        data,
    };
    caller.may(&ClientCommand::Create(create.clone()))?;
    let made = changes::create(caller.conversations(), caller.user.clone(), create).await;
    let done = made.map_err(|refusal| caller.refused(refusal))?;
    // Read for a repeat as well, whose create command changes nothing.
    let view = caller.conversations().open(&caller.user, &done.conv, None).await;
    let mut view = view.map_err(|refusal| caller.refused(refusal))?;
    view.users = caller.conversations().cards(users_of_conversation(&view)).await;
    Ok(response::made(&view, done.dup))
}

/// Shows a conversation to the caller, who must be a member.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, params(InConversation, ListHaveQuery, EntityTag), responses(
    (status = 200, description = "The conversation.", body = ConvView,
        headers(("ETag" = String, description = "The entity tag of this response."))),
    (status = 304, description = "The response did not change: If-None-Match contains its entity tag."),
    QueryErrors
))]
#[get("/v1/conversations/{c}")]
async fn open_conversation(
    caller: AuthenticatedUser,
    request: HttpRequest,
    c: ConversationPath,
    have: web::Query<ListHaveQuery>,
) -> Result<HttpResponse, Problem> {
    let (c, have) = (c.into_inner(), have.have);
    let view = caller
        .ask(OpenConversation {
            conversation: c,
            have,
        })
        .await?;
    Ok(response::tagged(&request, &view))
}

/// Changes the shared settings of a conversation, or the caller's own: `muted` and `pinned`.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, params(InConversation, IdempotencyKey), request_body = Settings, responses(
    (status = 200, description = "The setting has this value. `s` is present if the change is an event of the conversation.", body = Ack), ChangeErrors
))]
#[patch("/v1/conversations/{c}")]
async fn change_conversation(
    caller: AuthenticatedUser,
    c: ConversationPath,
    input: Input<Settings>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let Settings {
        title,
        history,
        data,
        muted,
        pinned,
    } = input.fields;
    let set = UpdateConversation {
        conversation: c.into_inner(),
        client_message_id: cid.clone(),
        title,
        history,
        data,
        muted,
        pinned,
    };
    Ok(response::changed(
        cid,
        caller.change(ClientCommand::Set(set)).await?,
    ))
}
