//! What comes back: JSON, never stored by anybody between, and with an entity tag where a client asks for the same again.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION};
use actix_web::{HttpRequest, HttpResponse};
use protocol::Cid;
use protocol::answer::Conv;
use serde::Serialize;

use crate::conversation::Done;
use crate::gateway::etag;

/// 200 with a body.
pub(super) fn json<T: Serialize>(value: &T) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(value)
}

/// 200 with a body and its entity tag, or 304 if the client has it. The client may keep it, and must ask each time.
pub(super) fn tagged<T: Serialize>(request: &HttpRequest, value: &T) -> HttpResponse {
    let body = serde_json::to_vec(value).expect("a wire shape always serialises");
    let tag = etag::tag(&body);
    let known = etag::is_known(request, &tag);
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "private, no-cache"));
    if known {
        return response.finish();
    }
    response
        .insert_header((CONTENT_TYPE, "application/json"))
        .body(body)
}

/// The `ack` of something new, 201, or of something that had been done before, 200.
pub(super) fn created(cid: Cid, done: Done) -> HttpResponse {
    let mut response = if done.dup {
        HttpResponse::Ok()
    } else {
        HttpResponse::Created()
    };
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(done.ack(cid))
}

/// The `ack` of a change of what is there, or of what takes something away.
pub(super) fn changed(cid: Cid, done: Done) -> HttpResponse {
    json(&done.ack(cid))
}

/// A conversation that is new, 201, or had been made before, 200.
pub(super) fn made(conv: &Conv, dup: bool) -> HttpResponse {
    let mut response = if dup {
        HttpResponse::Ok()
    } else {
        HttpResponse::Created()
    };
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((LOCATION, format!("/v1/conversations/{}", conv.c)))
        .json(conv)
}

/// Nothing to say.
pub(super) fn nothing() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish()
}
