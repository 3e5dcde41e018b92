//! Conversations: command routing, actors, state machine and event fan-out of one node.
//!
//! Path of a message: `shard_client` (step 4) → `shard` and `actor` with `precheck` (step 5) → replicated log →
//! `state_machine` (step 9) → `apply_results` (step 10) → `fanout` (step 11) → the `SubscriptionManager` of each node.
//! Queries pass through `queries` and never enter the log.
//!
//! A [`ChatService`] holds all of it on one node. Sessions hold its [`ShardClient`] and a `SubscriptionHub`.

pub mod actor;
pub mod apply_results;
pub mod command_error;
pub(crate) mod dispatch;
pub(crate) mod ephemeral;
pub mod fanout;
pub(crate) mod interest_table;
pub(crate) mod metrics;
pub mod precheck;
pub mod queries;
pub(crate) mod recent;
pub(crate) mod retention;
mod service;
pub mod settings;
pub mod shard;
pub mod shard_client;
pub(crate) mod shared;
pub mod state_machine;

pub use command_error::{CommandAck, CommandError, ConvView, HistoryResult, ListPage, SyncItem};
pub use service::ChatService;
pub use settings::Settings;
pub use shard_client::ShardClient;
