//! Server API under `/v1/server`, for back ends with an API key, and the keys, audit log and backups of operators under
//! `/v1/admin`.
//!
//! A request passes `back_end`, which verifies the key, its scope and its rate in one place. Every change is recorded in
//! the audit log first, and then takes the path of a user's command: as a user with that user's rights, or as the
//! system, which the rules of the state machine permit without a membership.

mod admin;
mod back_end;
mod backups;
mod conversations;
mod key_rates;
mod members;
mod messages;
mod presence;
mod profiles;
mod users;
mod verdict;

use utoipa_actix_web::service_config::ServiceConfig;

pub(in crate::gateway) use key_rates::KeyRates;

pub(super) fn routes(config: &mut ServiceConfig) {
    messages::routes(config);
    conversations::routes(config);
    members::routes(config);
    presence::routes(config);
    profiles::routes(config);
    users::routes(config);
    admin::routes(config);
    backups::routes(config);
}
