//! `/v1/conversations/{c}/read`, `/delivered` and `/typing`: cursors and typing notifications.

use actix_web::{HttpResponse, post, put};
use protocol::ClientCommand;
use protocol::command::{MoveCursor, SetTyping};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors, InConversation};
use super::input::Input;
use super::{ConversationPath, Problem, response};

/// A position in the log of a conversation.
#[derive(Deserialize, ToSchema)]
struct CursorRequest {
    /// The event up to which the cursor moves, inclusive; clamped to the last event.
    s: u64,
}

/// A change of the caller's typing state.
#[derive(Deserialize, ToSchema)]
struct Types {
    /// True when the caller starts to type, false when the caller stops.
    on: bool,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(set_read).service(set_delivered).service(type_in);
}

/// Moves the caller's read cursor forward, and the delivered cursor with it. Cursors never move back.
#[utoipa::path(tag = ApiTag::CURSORS, params(InConversation), request_body = CursorRequest, responses(
    (status = 204, description = "The cursor is at this position or beyond it."), ChangeErrors
))]
#[put("/v1/conversations/{c}/read")]
async fn set_read(
    caller: AuthenticatedUser,
    c: ConversationPath,
    input: Input<CursorRequest>,
) -> Result<HttpResponse, Problem> {
    let (c, s) = (c.into_inner(), input.fields.s);
    caller
        .change(ClientCommand::Read(MoveCursor {
            conversation: c,
            seq: s,
        }))
        .await?;
    Ok(response::nothing())
}

/// Moves the caller's delivered cursor forward. Cursors never move back.
#[utoipa::path(tag = ApiTag::CURSORS, params(InConversation), request_body = CursorRequest, responses(
    (status = 204, description = "The cursor is at this position or beyond it."), ChangeErrors
))]
#[put("/v1/conversations/{c}/delivered")]
async fn set_delivered(
    caller: AuthenticatedUser,
    c: ConversationPath,
    input: Input<CursorRequest>,
) -> Result<HttpResponse, Problem> {
    let (c, s) = (c.into_inner(), input.fields.s);
    caller
        .change(ClientCommand::Recv(MoveCursor {
            conversation: c,
            seq: s,
        }))
        .await?;
    Ok(response::nothing())
}

/// Notifies the members that the caller is typing or has stopped. Notifications above the rate, or from a caller who
/// may not write there, are dropped without an error.
#[utoipa::path(tag = ApiTag::CURSORS, params(InConversation), request_body = Types, responses(
    (status = 204, description = "The notification was accepted, or dropped by its rate limit."), ChangeErrors
))]
#[post("/v1/conversations/{c}/typing")]
async fn type_in(
    caller: AuthenticatedUser,
    c: ConversationPath,
    input: Input<Types>,
) -> Result<HttpResponse, Problem> {
    let (c, on) = (c.into_inner(), input.fields.on);
    caller.typing(&SetTyping {
        conversation: c,
        active: on,
    });
    Ok(response::nothing())
}
