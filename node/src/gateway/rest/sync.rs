//! `/v1/sync`: what was missed.

use actix_web::{HttpResponse, post};
use protocol::answer::Delta;
use protocol::command::Sync;
use protocol::{Command, ConvId};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::caller::Caller;
use super::describe::{Changed, Tag};
use super::input::Input;
use super::{Problem, answer};
use crate::commands::questions;

/// What the client has.
#[derive(Deserialize, ToSchema)]
struct Have {
    /// The last `s` per conversation. What is absent is sent from the start of membership.
    #[serde(default)]
    #[schema(max_items = 200)]
    have: Vec<(ConvId, u64)>,
    /// The `next` of the page before.
    #[schema(max_length = 512)]
    cursor: Option<String>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(catch_up);
}

/// Fetches what was missed, for many conversations.
#[utoipa::path(tag = Tag::CONVERSATIONS, request_body = Have, responses(
    (status = 200, description = "A page of what was missed.", body = Delta), Changed
))]
#[post("/v1/sync")]
async fn catch_up(caller: Caller, input: Input<Have>) -> Result<HttpResponse, Problem> {
    let Have { have, cursor } = input.fields;
    let sync = Sync { have, cursor };
    caller.may(&Command::Sync(sync.clone()))?;
    let sessions = &caller.worker().sessions;
    let delta = questions::sync(
        caller.conversations(),
        sessions,
        &caller.user,
        sync,
        caller.limits(),
    )
    .await;
    Ok(answer::json(&delta.map_err(|refusal| caller.refused(refusal))?))
}
