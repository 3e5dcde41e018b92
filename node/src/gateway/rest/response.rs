//! REST responses: JSON that no cache stores, with an entity tag where clients repeat a read.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use actix_web::{HttpRequest, HttpResponse};
use protocol::ClientMessageId;
use protocol::response::ConversationSnapshot;
use serde::Serialize;

use crate::gateway::etag;
use crate::shard_client::CommandAck;

/// Returns 200 with a JSON body.
pub(super) fn json<T: Serialize>(value: &T) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(value)
}

/// Returns 200 with a body and its entity tag, or 304 if the client has it. The client may store it but must
/// revalidate.
pub(super) fn tagged<T: Serialize>(request: &HttpRequest, value: &T) -> HttpResponse {
    let body = serde_json::to_vec(value).expect("a wire shape always serialises");
    let tag = etag::tag(&body);
    let (mut response, known) = etag::begin(request, &tag);
    response
        // `private`: the body depends on the caller, so a shared cache must not store it.
        .insert_header((CACHE_CONTROL, "private, no-cache"));
    if known {
        return response.finish();
    }
    response
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(body)
}

/// Returns the `ack` of a command that creates something: 201, or 200 for a repeat with the same idempotency key.
pub(super) fn created(cid: ClientMessageId, done: CommandAck) -> HttpResponse {
    let mut response = if done.dup {
        HttpResponse::Ok()
    } else {
        HttpResponse::Created()
    };
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(done.ack(cid))
}

/// Returns 200 with the `ack` of a command that changes or removes something.
pub(super) fn changed(cid: ClientMessageId, done: CommandAck) -> HttpResponse {
    json(&done.ack(cid))
}

/// Returns a created conversation: 201, or 200 if it existed.
pub(super) fn made(conv: &ConversationSnapshot, dup: bool) -> HttpResponse {
    let mut response = if dup {
        HttpResponse::Ok()
    } else {
        HttpResponse::Created()
    };
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, format!("/v1/conversations/{}", conv.conversation)))
        .json(conv)
}

/// Returns 204 without a body.
pub(super) fn nothing() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}
