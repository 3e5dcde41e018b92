//! `/v1/conversations/{c}/messages` and `/v1/conversations/{c}/events`.

use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use protocol::answer::{Ack, Hist as Events};
use protocol::command::{Del, Edit, Hist, Send};
use protocol::message::Messages;
use protocol::{Body, Cid, Command, ConvId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::answer;
use super::caller::Caller;
use super::describe::{Asked, Changed, IdempotencyKey, InConversation, Known, OfMessage, Tag};
use super::input::{Input, Nothing, Optional};
use super::{Conv, Place, Problem};
use crate::commands::questions;
use crate::conversation::Refusal;

/// A window of the log: at most one of `before` and `after` is there, without either the newest is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Below this `s`, the newest of them.
    pub(super) before: Option<u64>,
    /// Above this `s`, the oldest of them.
    pub(super) after: Option<u64>,
    /// How many; 50 unless given, and clamped to 1-100.
    pub(super) limit: Option<u64>,
}

/// A message to be sent.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewMessage {
    /// The message.
    b: Body,
    /// The `s` of the message that this one answers.
    reply_to: Option<u64>,
    /// Users to alert.
    #[serde(default)]
    #[schema(max_items = 50)]
    mentions: Vec<UserId>,
}

/// A message in the place of another.
#[derive(Deserialize, ToSchema)]
struct NewBody {
    /// The message.
    b: Body,
    /// Users to alert from now on; without it those whom the message mentioned before.
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

// === impl Window, NewMessage ===

impl Window {
    /// The question, if the caller may ask it.
    fn asked(self, c: Conv, caller: &Caller) -> Result<Hist, Problem> {
        let Window { before, after, limit } = self;
        let hist = Hist {
            c: c.into_inner(),
            before,
            after,
            limit,
        };
        caller.may(&Command::Hist(hist.clone()))?;
        Ok(hist)
    }
}

impl NewMessage {
    /// The command, to a conversation or to a user.
    pub(super) fn send(self, c: Option<ConvId>, to: Option<UserId>, cid: Cid) -> Send {
        Send {
            c,
            to,
            cid,
            b: self.b,
            reply_to: self.reply_to,
            mentions: self.mentions,
            echo: true,
        }
    }
}

/// Sends a message. The same key gives the same message.
#[utoipa::path(tag = Tag::MESSAGES, params(InConversation, IdempotencyKey), request_body = NewMessage, responses(
    (status = 201, description = "It is on a majority's disks.", body = Ack),
    (status = 200, description = "It had been sent with this key before.", body = Ack),
    Changed
))]
#[post("/v1/conversations/{c}/messages")]
async fn send_message(caller: Caller, c: Conv, input: Input<NewMessage>) -> Result<HttpResponse, Problem> {
    let cid = input.cid()?;
    let send = input.fields.send(Some(c.into_inner()), None, cid.clone());
    Ok(answer::created(cid, caller.change(Command::Send(send)).await?))
}

/// Reads messages as they are now: the current body, reactions counted, in ascending order.
#[utoipa::path(tag = Tag::MESSAGES, params(InConversation, Window, Known), responses(
    (status = 200, description = "A page of messages.", body = Messages,
        headers(("ETag" = String, description = "Of exactly this answer."))),
    (status = 304, description = "The client has it: If-None-Match names its entity tag."),
    Asked
))]
#[get("/v1/conversations/{c}/messages")]
async fn list_messages(
    caller: Caller,
    request: HttpRequest,
    c: Conv,
    window: web::Query<Window>,
) -> Result<HttpResponse, Problem> {
    let hist = window.into_inner().asked(c, &caller)?;
    let page = questions::messages(caller.conversations(), &caller.user, hist, caller.limits()).await;
    shown(&caller, &request, page)
}

/// Changes the body of a message.
#[utoipa::path(tag = Tag::MESSAGES, params(OfMessage, IdempotencyKey), request_body = NewBody, responses(
    (status = 200, description = "The event that says so is on a majority's disks.", body = Ack), Changed
))]
#[put("/v1/conversations/{c}/messages/{s}")]
async fn edit_message(caller: Caller, place: Place, input: Input<NewBody>) -> Result<HttpResponse, Problem> {
    let ((c, of), cid) = (place.into_inner(), input.cid()?);
    let NewBody { b, mentions } = input.fields;
    let edit = Edit {
        c,
        of,
        cid: cid.clone(),
        b,
        mentions,
    };
    Ok(answer::changed(cid, caller.change(Command::Edit(edit)).await?))
}

/// Deletes a message: its words are served to nobody any more, its place stays.
#[utoipa::path(tag = Tag::MESSAGES, params(OfMessage, IdempotencyKey), responses(
    (status = 200, description = "The event that says so is on a majority's disks.", body = Ack), Changed
))]
#[delete("/v1/conversations/{c}/messages/{s}")]
async fn delete_message(
    caller: Caller,
    place: Place,
    input: Optional<Nothing>,
) -> Result<HttpResponse, Problem> {
    let ((c, of), cid) = (place.into_inner(), input.cid);
    let del = Del {
        c,
        of,
        cid: cid.clone(),
    };
    Ok(answer::changed(cid, caller.change(Command::Del(del)).await?))
}

/// Reads the log as it was written, in ascending order.
#[utoipa::path(tag = Tag::MESSAGES, params(InConversation, Window, Known), responses(
    (status = 200, description = "A page of the log.", body = Events,
        headers(("ETag" = String, description = "Of exactly this answer."))),
    (status = 304, description = "The client has it: If-None-Match names its entity tag."),
    Asked
))]
#[get("/v1/conversations/{c}/events")]
async fn list_events(
    caller: Caller,
    request: HttpRequest,
    c: Conv,
    window: web::Query<Window>,
) -> Result<HttpResponse, Problem> {
    let hist = window.into_inner().asked(c, &caller)?;
    let page = questions::history(caller.conversations(), &caller.user, hist, caller.limits()).await;
    shown(&caller, &request, page)
}

/// A page, unless the client has it already.
fn shown<P: Serialize>(
    caller: &Caller,
    request: &HttpRequest,
    page: Result<P, Refusal>,
) -> Result<HttpResponse, Problem> {
    let page = page.map_err(|refusal| caller.refused(refusal))?;
    Ok(answer::tagged(request, &page))
}
