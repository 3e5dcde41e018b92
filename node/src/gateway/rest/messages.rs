//! `/v1/conversations/{c}/messages` and `/v1/conversations/{c}/events`: messages and the log of a conversation.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use protocol::command::{DeleteMessage, EditMessage, GetHistory, SendMessage};
use protocol::response::{Ack, HistoryResponse as Events};
use protocol::rest::MessagePage;
use protocol::{Body, ClientCommand, ClientMessageId, ConversationId, UserId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{
    ApiTag, ChangeErrors, EntityTag, IdempotencyKey, InConversation, OfMessage, QueryErrors,
};
use super::input::{Input, Nothing, Optional};
use super::{ConversationPath, EventPath, Problem, response};
use crate::commands::queries::ListMessages;

/// Range of the log. At most one of `before` and `after` is allowed; without either, the newest rows are returned.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// Returns the newest rows below this `s`.
    pub(super) before: Option<u64>,
    /// Returns the oldest rows above this `s`.
    pub(super) after: Option<u64>,
    /// The number of rows; default 50, clamped to 1-100.
    pub(super) limit: Option<u64>,
}

/// A message to send.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewMessage {
    /// The content of the message.
    b: Body,
    /// The `s` of the message that this one replies to.
    reply_to: Option<u64>,
    /// The users to alert.
    #[serde(default)]
    #[schema(max_items = 50)]
    mentions: Vec<UserId>,
}

/// New content of a message.
#[derive(Deserialize, ToSchema)]
struct NewBody {
    /// The content that replaces the old one.
    b: Body,
    /// The users to alert from now on; without it, the mentions stay as they were.
    #[schema(max_items = 50)]
    mentions: Option<Vec<UserId>>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(send_message)
        .service(list_messages)
        .service(edit_message)
        .service(delete_message)
        .service(list_events);
}

// === impl HistoryQuery, NewMessage ===

impl HistoryQuery {
    fn of(self, c: ConversationPath) -> GetHistory {
        let HistoryQuery { before, after, limit } = self;
        GetHistory {
            conversation: c.into_inner(),
            before,
            after,
            limit,
        }
    }
}

impl NewMessage {
    /// Builds the command for a conversation or a user.
    pub(super) fn send(
        self,
        c: Option<ConversationId>,
        to: Option<UserId>,
        cid: ClientMessageId,
    ) -> SendMessage {
        SendMessage {
            conversation: c,
            to,
            client_message_id: cid,
            body: self.b,
            reply_to: self.reply_to,
            mentions: self.mentions,
            // All sessions of the author receive the event, since none of them sent it.
            echo: true,
        }
    }
}

/// Sends a message. A repeat with the same idempotency key returns the same message.
#[utoipa::path(tag = ApiTag::MESSAGES, params(InConversation, IdempotencyKey), request_body = NewMessage, responses(
    (status = 201, description = "The message is committed: a majority of the replicas has it on disk.", body = Ack),
    (status = 200, description = "The message had been sent with this idempotency key before.", body = Ack),
    ChangeErrors
))]
#[post("/v1/conversations/{c}/messages")]
async fn send_message(
    caller: AuthenticatedUser,
    c: ConversationPath,
    input: Input<NewMessage>,
) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let send = input.fields.send(Some(c.into_inner()), None, cid.clone());
    Ok(response::created(
        cid,
        caller.change(ClientCommand::Send(send)).await?,
    ))
}

/// Reads messages in their current state, with the latest content and reaction counts, in ascending order.
#[utoipa::path(tag = ApiTag::MESSAGES, params(InConversation, HistoryQuery, EntityTag), responses(
    (status = 200, description = "A page of messages.", body = MessagePage,
        headers(("ETag" = String, description = "The entity tag of this response."))),
    (status = 304, description = "The response did not change: If-None-Match contains its entity tag."),
    QueryErrors
))]
#[get("/v1/conversations/{c}/messages")]
async fn list_messages(
    caller: AuthenticatedUser,
    request: HttpRequest,
    c: ConversationPath,
    window: web::Query<HistoryQuery>,
) -> Result<HttpResponse, Problem> {
    let messages = ListMessages(window.into_inner().of(c));
    Ok(response::tagged(&request, &caller.ask(messages).await?))
}

/// Replaces the content of a message.
#[utoipa::path(tag = ApiTag::MESSAGES, params(OfMessage, IdempotencyKey), request_body = NewBody, responses(
    (status = 200, description = "The event of this change is committed: a majority of the replicas has it on disk.", body = Ack), ChangeErrors
))]
#[put("/v1/conversations/{c}/messages/{s}")]
async fn edit_message(
    caller: AuthenticatedUser,
    path: EventPath,
    input: Input<NewBody>,
) -> Result<HttpResponse, Problem> {
    let ((c, of), cid) = (path.into_inner(), input.cid()?);
    let NewBody { b, mentions } = input.fields;
    let edit = EditMessage {
        conversation: c,
        target_seq: of,
        client_message_id: cid.clone(),
        body: b,
        mentions,
    };
    Ok(response::changed(
        cid,
        caller.change(ClientCommand::Edit(edit)).await?,
    ))
}

/// Deletes a message. Its content is no longer served; its position in the log remains.
#[utoipa::path(tag = ApiTag::MESSAGES, params(OfMessage, IdempotencyKey), responses(
    (status = 200, description = "The event of this change is committed: a majority of the replicas has it on disk.", body = Ack), ChangeErrors
))]
#[delete("/v1/conversations/{c}/messages/{s}")]
async fn delete_message(
    caller: AuthenticatedUser,
    path: EventPath,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let ((c, of), cid) = (path.into_inner(), input.cid);
    let del = DeleteMessage {
        conversation: c,
        target_seq: of,
        client_message_id: cid.clone(),
    };
    Ok(response::changed(
        cid,
        caller.change(ClientCommand::Del(del)).await?,
    ))
}

/// Reads the log as it was written, in ascending order.
#[utoipa::path(tag = ApiTag::MESSAGES, params(InConversation, HistoryQuery, EntityTag), responses(
    (status = 200, description = "A page of the conversation's events.", body = Events,
        headers(("ETag" = String, description = "The entity tag of this response."))),
    (status = 304, description = "The response did not change: If-None-Match contains its entity tag."),
    QueryErrors
))]
#[get("/v1/conversations/{c}/events")]
async fn list_events(
    caller: AuthenticatedUser,
    request: HttpRequest,
    c: ConversationPath,
    window: web::Query<HistoryQuery>,
) -> Result<HttpResponse, Problem> {
    let events = window.into_inner().of(c);
    Ok(response::tagged(&request, &caller.ask(events).await?))
}
