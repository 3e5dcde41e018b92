//! Actors of the shards that this node owns.

mod actor;
mod apply_results;
mod background;
mod batch;
mod batch_streams;
mod context;
mod conversation_actor;
pub(crate) mod ephemeral;
mod exports;
mod fanout;
mod inbound_batch;
mod interest_table;
mod messages;
mod pending_header;
mod precheck;
mod queries;
mod recent;
mod register;
mod settings;
mod shard_deps;
#[cfg(test)]
mod tests;

pub(crate) use actor::ShardActor;
pub(crate) use background::webhook_dispatcher::CONCURRENT;
pub use background::webhook_dispatcher::WebhookTarget;
pub(crate) use exports::ShardExports;
pub(crate) use inbound_batch::BatchReply;
#[cfg(test)]
pub(crate) use interest_table::InterestTable;
pub(crate) use messages::{RegisterNode, SubmitBatch, UnregisterNode};
pub(crate) use queries::blocking_pool::BlockingPool;
pub(crate) use queries::rows::REGISTERED_INDEX;
pub(crate) use queries::serve::{readable, serve as serve_query};
pub(crate) use recent::TYPING_LASTS;
pub use settings::Settings;
pub(crate) use shard_deps::{ActiveShard, ShardDeps};
