//! State machine of the shards: rows, command and time in; rows and an outcome out.
//!
//! [`ShardStateMachine`] runs on each replica of every shard. Its decisions depend on nothing but the rows, the command
//! and the batch's time: no clock, no randomness, no order of a hash map, no setting. Authorisation, numbering,
//! timestamps and idempotency are decided here, in log order, and nowhere else. The prechecks of an actor only save a
//! log entry.
//!
//! Path of a command: [`ShardCommand`] (the proposal) → `shard_state_machine` (one batch) → `apply` (one file per group
//! of commands, over the rows of `apply_context`) → [`ShardOutcome`] (input of the proposing owner). `query` answers
//! members from the same rows. `rules` holds the permissions.

pub mod command;

pub mod consent;

pub mod login;

pub mod shard_state_machine;

pub mod tables;

mod apply;

mod apply_context;
mod dedup;
mod deleted;
mod keys;
mod message_state;
mod owner_succession;
mod row_store;
mod rows;
mod rules;

pub mod outcome;

pub mod query;

pub use command::{ActivityNote, ShardCommand, ShardOp};
pub use login::LoginCommand;
pub use outcome::{ApplyEffect, CommandResult, EventEnvelope, MovedMember, OutboxId, ShardOutcome};
pub use row_store::RowReader;
pub use shard_state_machine::ShardStateMachine;
pub use tables::{TABLES, TableId};

#[cfg(test)]
mod tests;
