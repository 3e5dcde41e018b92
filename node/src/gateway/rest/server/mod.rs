//! Server API under `/v1/server`, for back ends with an API key.
//!
//! A request passes `back_end`, which verifies the key, its scope and its rate in one place. Every change is recorded in
//! the audit log first, and then takes the path of a user's command: as a user with that user's rights, or as the
//! system, which the rules of the state machine permit without a membership.

mod back_end;
mod conversations;
mod erasure;
mod export;
mod key_rates;
mod members;
mod messages;
mod presence;
mod profiles;
mod users;
mod verdict;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) use erasure::{ErasureRequest, Job, JobCreated, OfJob, no_job};
pub(super) use export::{ExportRequester, export_of};
pub(in crate::gateway) use key_rates::KeyRates;
pub(super) use users::TokenRevocation;

pub(super) fn routes(config: &mut ServiceConfig) {
    messages::routes(config);
    conversations::routes(config);
    members::routes(config);
    presence::routes(config);
    profiles::routes(config);
    users::routes(config);
    export::routes(config);
    erasure::routes(config);
}
