//! REST interface under `/v1`: the commands and queries of the WebSocket, one file per resource.
//!
//! A request passes `caller` (authentication and rates) and `input` (body and idempotency key), and becomes a
//! [`protocol::ClientCommand`], which [`crate::commands`] executes. `answer` builds the response. This module contains
//! no rules of its own.

mod caller;
pub(super) mod describe;
mod input;
mod rates;
mod response;

mod admin;
mod bans;
mod conversations;
mod cursors;
mod devices;
mod export;
mod hooks;
mod login;
mod me;
mod members;
mod messages;
mod reactions;
mod server;
mod sessions;
mod sync;
mod users;

use actix_web::web::{Path, PathConfig, QueryConfig};
use protocol::{ConversationId, UserId};
use utoipa_actix_web::service_config::ServiceConfig;

pub(super) use caller::AuthenticatedUser;
pub(super) use rates::LoginRates;
pub(super) use server::KeyRates;

use super::problem::Problem;

/// Conversation in the path.
type ConversationPath = Path<ConversationId>;
/// Conversation and user in the path.
type MemberPath = Path<(ConversationId, UserId)>;
/// Conversation and log position in the path.
type EventPath = Path<(ConversationId, u64)>;

/// Sets the responses for malformed paths and queries. The framework's own are plain text, but clients expect problem
/// responses.
pub(super) fn errors(config: &mut ServiceConfig) {
    config
        .app_data(PathConfig::default().error_handler(|error, _| Problem::bad(error.to_string()).into()))
        .app_data(QueryConfig::default().error_handler(|error, _| Problem::bad(error.to_string()).into()));
}

/// Registers the resources of operators.
pub(super) fn operator_routes(config: &mut ServiceConfig) {
    admin::routes(config);
}

pub(super) fn routes(config: &mut ServiceConfig) {
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
    sessions::routes(config);
    sync::routes(config);
    login::routes(config);
    devices::routes(config);
    server::routes(config);
}
