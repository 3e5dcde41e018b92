//! `/v1/conversations/{c}/read` and `/delivered`.

use actix_web::{HttpResponse, put};
use protocol::Command;
use protocol::command::Cursor;
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

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(set_read).service(set_delivered);
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
