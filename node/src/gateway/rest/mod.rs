//! REST under `/v1`: the same commands and the same questions as on the WebSocket, one file per resource.
//!
//! A request passes `caller` (who asks, and how fast), `input` (what it says), and becomes a [`protocol::Command`],
//! which [`crate::commands`] knows the meaning of; `answer` shapes what comes back. There are no rules here.

mod answer;
mod caller;
pub(super) mod describe;
mod input;
mod rates;

mod bans;
mod conversations;
mod cursors;
mod export;
mod hooks;
mod login;
mod me;
mod members;
mod messages;
mod reactions;
mod sync;
mod users;

use actix_web::web::{Path, PathConfig, QueryConfig};
use protocol::{ConvId, UserId};
use utoipa_actix_web::service_config::ServiceConfig;

pub(super) use caller::Caller;
pub(super) use rates::LoginRates;

use super::problem::Problem;

/// A conversation in the path.
type Conv = Path<ConvId>;
/// A conversation and a user.
type Seat = Path<(ConvId, UserId)>;
/// A conversation and a place in its log.
type Place = Path<(ConvId, u64)>;

/// Adds every resource.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .app_data(PathConfig::default().error_handler(|error, _| Problem::bad(error.to_string()).into()))
        .app_data(QueryConfig::default().error_handler(|error, _| Problem::bad(error.to_string()).into()));
    conversations::routes(config);
    messages::routes(config);
    reactions::routes(config);
    cursors::routes(config);
    export::routes(config);
    hooks::routes(config);
    members::routes(config);
    bans::routes(config);
    users::routes(config);
    me::routes(config);
    sync::routes(config);
    login::routes(config);
}
