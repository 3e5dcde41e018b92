//! The pure rules of a conversation: state, command and time in; rows and an outcome out.
//!
//! [`ChatMachine`] is the replicated state machine of every shard. It runs on each replica, so whatever it decides may
//! depend on nothing but the rows, the command and the batch's time: no clock, no randomness, no order of a hash map,
//! no setting. Authorisation, numbering, timestamps and idempotency are decided here, in log order, and nowhere else;
//! what an actor checks before is a courtesy.
//!
//! In the order a command takes: [`Command`] (what is proposed) → [`machine`] (one batch) → `apply` (one file per sort
//! of command, over the `work` set of rows) → [`Outcome`] (what the proposing owner acts on). [`read`] answers
//! questions of members over the same rows. `rules` says who may do what.

pub mod command;

pub mod consent;

pub mod login;

pub mod machine;

mod apply;

mod dedup;
mod deleted;
mod door;
mod fold;
mod keys;
mod rows;
mod rules;
mod succession;
mod work;

pub mod outcome;

pub mod read;

pub use command::{Activity, Command, Op};
pub use door::Rows;
pub use login::Login;
pub use machine::ChatMachine;
pub use outcome::{Applied, Effect, Moved, OutboxId, Outcome, Published};

#[cfg(test)]
mod tests;
