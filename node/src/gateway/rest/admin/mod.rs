//! Resources of operators under `/v1/admin`. They are on the listener for operators, which shares the port for clients
//! only on development nodes.
//!
//! Every request needs the token of an operator: [`Reader`](crate::gateway::operator::Reader) for one that changes
//! nothing, [`Operator`](crate::gateway::operator::Operator) for a change, which goes into the audit log.

mod backups;
mod conversations;
mod erasure;
mod events;
mod failovers;
mod keys;
mod membership;
mod nodes;
mod sessions;
mod shards;
mod stream;
mod support;
mod users;

use utoipa_actix_web::service_config::ServiceConfig;

pub(super) fn routes(config: &mut ServiceConfig) {
    nodes::routes(config);
    membership::routes(config);
    sessions::routes(config);
    users::routes(config);
    erasure::routes(config);
    conversations::routes(config);
    keys::routes(config);
    events::routes(config);
    stream::routes(config);
    support::routes(config);
    failovers::routes(config);
    backups::routes(config);
    shards::routes(config);
}
