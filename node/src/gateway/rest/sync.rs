//! `/v1/sync`: missed events of many conversations.

use actix_web::{HttpResponse, post};
use protocol::ConversationId;
use protocol::command::SyncRequest;
use protocol::response::SyncResponse;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::AuthenticatedUser;
use super::describe::{ApiTag, ChangeErrors};
use super::input::Input;
use super::{Problem, response};

/// Positions of the client.
#[derive(Deserialize, ToSchema)]
struct HaveQuery {
    /// The last `s` per conversation. A conversation without one is sent from the start of the caller's membership.
    #[serde(default)]
    #[schema(max_items = 200)]
    have: Vec<(ConversationId, u64)>,
    /// The `next` of the previous page; without it, the first page.
    #[schema(max_length = 512)]
    cursor: Option<String>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(catch_up);
}

/// Fetches the events that the caller missed in many conversations.
#[utoipa::path(tag = ApiTag::CONVERSATIONS, request_body = HaveQuery, responses(
    (status = 200, description = "A page of the events that the caller missed.", body = SyncResponse), ChangeErrors
))]
#[post("/v1/sync")]
async fn catch_up(caller: AuthenticatedUser, input: Input<HaveQuery>) -> Result<HttpResponse, Problem> {
    let HaveQuery { have, cursor } = input.fields;
    Ok(response::json(&caller.ask(SyncRequest { have, cursor }).await?))
}
