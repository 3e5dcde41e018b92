//! `/v1/server/presence`: presence of many users.

use actix_web::{HttpResponse, post};
use protocol::event::PresenceEvent;
use protocol::{UserId, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::back_end::{BackEnd, READ};
use crate::gateway::problem::Problem;
use crate::gateway::rest::describe::{ApiTag, ChangeErrors};
use crate::gateway::rest::input::Input;
use crate::gateway::rest::response;
use crate::presence::local_presence;

/// Users per item of the key's rate.
const USERS_PER_ITEM: usize = 25;

/// Users whose presence is read.
#[derive(Deserialize, ToSchema)]
struct PresenceRequest {
    /// The users whose presence is read.
    #[schema(max_items = 500)]
    users: Vec<UserId>,
}

/// The presence of users, in the order of the request.
#[derive(Serialize, ToSchema)]
struct PresenceList {
    /// The presence of each user. A user whose shard cannot be reached at the moment is left out.
    items: Vec<PresenceEvent>,
}

pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(server_presence);
}

/// Shows the presence of at most 500 users, without regard to blocks. An unknown user is offline. Scope: `read`.
#[utoipa::path(tag = ApiTag::SERVER, security(("api_key" = [])), request_body = PresenceRequest, responses(
    (status = 200, description = "The presence of the users.", body = PresenceList), ChangeErrors
))]
#[post("/v1/server/presence")]
async fn server_presence(
    caller: BackEnd<READ>,
    input: Input<PresenceRequest>,
) -> Result<HttpResponse, Problem> {
    let users = input.fields.users;
    if users.len() > limits::WATCH_USERS {
        let detail = format!("users has more than {} entries", limits::WATCH_USERS);
        return Err(Problem::bad(detail));
    }
    caller.pay(users.len().div_ceil(USERS_PER_ITEM))?;
    let found = caller.conversations().presence_of_all(&users).await;
    let known = users.iter().zip(found);
    let items = known.filter_map(|(user, visible)| Some(local_presence::event(user, visible?)));
    Ok(response::json(&PresenceList {
        items: items.collect(),
    }))
}
