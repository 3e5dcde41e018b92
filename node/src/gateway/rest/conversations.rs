//! `/v1/conversations`, and one of them.

use actix_web::{HttpRequest, HttpResponse, get, patch, post, web};
use protocol::answer::{Ack, Conv as ConvView, Inbox};
use protocol::command::{Create, List, Open, Set};
use protocol::{Command, History, Kind, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::answer;
use super::caller::Caller;
use super::describe::{Asked, Changed, IdempotencyKey, InConversation, Known, Tag};
use super::input::Input;
use super::{Conv, Problem};
use crate::commands::{changes, questions};

/// A page of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Page {
    /// The `next` of the page before.
    #[param(max_length = 256)]
    pub(super) cursor: Option<String>,
    /// How many; 50 unless given, and clamped to 1-100.
    pub(super) limit: Option<u64>,
}

/// What the client has.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Have {
    /// The last `s` that the client has: the answer brings the events above it.
    have: Option<u64>,
}

/// A conversation to be made.
#[derive(Deserialize, ToSchema)]
struct NewConversation {
    /// The kind.
    kind: Kind,
    /// The other initial members; for a direct conversation exactly one.
    #[serde(default)]
    #[schema(max_items = 256)]
    members: Vec<UserId>,
    /// The title; direct conversations have none.
    #[schema(max_length = 256)]
    title: Option<String>,
}

/// What is to change; at least one is there.
#[derive(Deserialize, ToSchema)]
#[schema(min_properties = 1)]
struct Settings {
    /// The title, for everybody; an empty one removes it.
    #[schema(max_length = 256)]
    title: Option<String>,
    /// How far back a new member may read, for everybody.
    history: Option<History>,
    /// Whether the caller wants no alerts.
    muted: Option<bool>,
    /// Whether the caller keeps the conversation on top.
    pinned: Option<bool>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(list_conversations)
        .service(create_conversation)
        .service(open_conversation)
        .service(change_conversation);
}

/// Lists the caller's conversations, the latest activity first.
#[utoipa::path(tag = Tag::CONVERSATIONS, params(Page), responses(
    (status = 200, description = "A page of the inbox.", body = Inbox), Asked
))]
#[get("/v1/conversations")]
async fn list_conversations(caller: Caller, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    let Page { cursor, limit } = page.into_inner();
    let list = List { cursor, limit };
    caller.may(&Command::List(list.clone()))?;
    let page = questions::list(caller.conversations(), &caller.user, list, caller.limits()).await;
    Ok(answer::json(&page.map_err(|refusal| caller.refused(refusal))?))
}

/// Makes a conversation. The same key gives the same conversation.
#[utoipa::path(tag = Tag::CONVERSATIONS, params(IdempotencyKey), request_body = NewConversation, responses(
    (status = 201, description = "It was made.", body = ConvView,
        headers(("Location" = String, description = "The path of the conversation."))),
    (status = 200, description = "It had been made by this key before, or both had a direct conversation.", body = ConvView,
        headers(("Location" = String, description = "The path of the conversation."))),
    Changed
))]
#[post("/v1/conversations")]
async fn create_conversation(caller: Caller, input: Input<NewConversation>) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let NewConversation { kind, members, title } = input.fields;
    let create = Create {
        kind,
        cid,
        members,
        title,
    };
    caller.may(&Command::Create(create.clone()))?;
    let made = changes::create(caller.conversations(), caller.user.clone(), create).await;
    let done = made.map_err(|refusal| caller.refused(refusal))?;
    let view = caller.conversations().open(&caller.user, &done.conv, None).await;
    let view = view.map_err(|refusal| caller.refused(refusal))?;
    Ok(answer::made(&view, done.dup))
}

/// Shows a conversation as the caller, a member, sees it.
#[utoipa::path(tag = Tag::CONVERSATIONS, params(InConversation, Have, Known), responses(
    (status = 200, description = "The conversation.", body = ConvView,
        headers(("ETag" = String, description = "Of exactly this answer."))),
    (status = 304, description = "The client has it: If-None-Match names its entity tag."),
    Asked
))]
#[get("/v1/conversations/{c}")]
async fn open_conversation(
    caller: Caller,
    request: HttpRequest,
    c: Conv,
    have: web::Query<Have>,
) -> Result<HttpResponse, Problem> {
    let (c, have) = (c.into_inner(), have.have);
    caller.may(&Command::Open(Open { c: c.clone(), have }))?;
    let view = caller.conversations().open(&caller.user, &c, have).await;
    let view = view.map_err(|refusal| caller.refused(refusal))?;
    Ok(answer::tagged(&request, &view))
}

/// Changes the title and settings, or what is the caller's own: mute and pin.
#[utoipa::path(tag = Tag::CONVERSATIONS, params(InConversation, IdempotencyKey), request_body = Settings, responses(
    (status = 200, description = "It is so. There is an `s` if the others are told.", body = Ack), Changed
))]
#[patch("/v1/conversations/{c}")]
async fn change_conversation(
    caller: Caller,
    c: Conv,
    input: Input<Settings>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let Settings {
        title,
        history,
        muted,
        pinned,
    } = input.fields;
    let set = Set {
        c: c.into_inner(),
        cid: cid.clone(),
        title,
        history,
        muted,
        pinned,
    };
    Ok(answer::changed(cid, caller.change(Command::Set(set)).await?))
}
