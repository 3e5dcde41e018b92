//! `/v1/conversations/{c}/read`, `/delivered` and `/typing`.

use actix_web::{HttpResponse, post, put};
use protocol::Command;
use protocol::command::{Cursor, Typing};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Changed, InConversation, Tag};
use super::input::Input;
use super::{Conv, Problem, answer};

/// A position in a log.
#[derive(Deserialize, ToSchema)]
struct Position {
    /// Up to and including this event; beyond the last it is clamped.
    s: u64,
}

/// Whether the caller types.
#[derive(Deserialize, ToSchema)]
struct Types {
    /// Whether the caller types, or has stopped.
    on: bool,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(set_read).service(set_delivered).service(type_in);
}

/// Moves the caller's read cursor, and with it the delivered one; never back.
#[utoipa::path(tag = Tag::CURSORS, params(InConversation), request_body = Position, responses(
    (status = 204, description = "It stands there or further."), Changed
))]
#[put("/v1/conversations/{c}/read")]
async fn set_read(caller: Caller, c: Conv, input: Input<Position>) -> Result<HttpResponse, Problem> {
    let (c, s) = (c.into_inner(), input.fields.s);
    caller.change(Command::Read(Cursor { c, s })).await?;
    Ok(answer::nothing())
}

/// Moves the caller's delivered cursor, never back.
#[utoipa::path(tag = Tag::CURSORS, params(InConversation), request_body = Position, responses(
    (status = 204, description = "It stands there or further."), Changed
))]
#[put("/v1/conversations/{c}/delivered")]
async fn set_delivered(caller: Caller, c: Conv, input: Input<Position>) -> Result<HttpResponse, Problem> {
    let (c, s) = (c.into_inner(), input.fields.s);
    caller.change(Command::Recv(Cursor { c, s })).await?;
    Ok(answer::nothing())
}

/// Shows the members that the caller types, or has stopped. What comes too often, or from one who may not write there, is
/// dropped in silence.
#[utoipa::path(tag = Tag::CURSORS, params(InConversation), request_body = Types, responses(
    (status = 204, description = "Taken, or dropped."), Changed
))]
#[post("/v1/conversations/{c}/typing")]
async fn type_in(caller: Caller, c: Conv, input: Input<Types>) -> Result<HttpResponse, Problem> {
    let (c, on) = (c.into_inner(), input.fields.on);
    caller.typing(&Typing { c, on });
    Ok(answer::nothing())
}
