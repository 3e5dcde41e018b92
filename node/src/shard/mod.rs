//! Actors of the shards that this node owns.

pub mod actor;
pub mod apply_results;
pub(crate) mod background;
pub(crate) mod batch;
pub(crate) mod batch_streams;
pub(crate) mod context;
pub mod conversation_actor;
pub(crate) mod ephemeral;
pub mod fanout;
pub(crate) mod inbound_batch;
pub(crate) mod interest_table;
pub(crate) mod messages;
pub(crate) mod pending_header;
pub mod precheck;
pub(crate) mod queries;
pub(crate) mod recent;
pub(crate) mod register;
pub mod settings;
pub(crate) mod shard_deps;
#[cfg(test)]
mod tests;

pub(crate) use actor::ShardActor;
pub(crate) use background::webhook_dispatcher::CONCURRENT;
pub use background::webhook_dispatcher::WebhookTarget;
pub(crate) use inbound_batch::BatchReply;
pub(crate) use messages::{RegisterNode, SubmitBatch, UnregisterNode};
pub(crate) use queries::blocking_pool::BlockingPool;
pub(crate) use queries::rows::REGISTERED_INDEX;
pub(crate) use recent::TYPING_LASTS;
pub use settings::Settings;
pub(crate) use shard_deps::{ActiveShard, ShardDeps};
