//! Chat server of a Rookery node: gateways, sessions, conversations and users.
//!
//! Path of a message, by step: [`gateway`] (1, 13: sockets) → `protocol` (2) → [`session`] (3, 12) → [`commands`]
//! (meaning, the same for every transport) → [`conversation`] (4, 5, 10, 11: routing to the shard owner, the
//! conversation actor, its responses and fan-out) → the `cluster` crate (6-8: replication) →
//! [`conversation::state_machine`] (9: the rules) → [`relay`] (delivery to this node's sessions).
//!
//! Beside it: [`user`] (state of users), [`rpc`] (chat messages between nodes) and [`webhook`] (notification of other
//! services).
//!
//! Around it: [`cli`], [`config`], [`run`] (start and stop), [`shutdown`] and [`telemetry`]. The terminal client is the
//! crate `chat-client`.

pub mod gateway;

pub mod session;

pub mod commands;

pub mod conversation;

pub(crate) mod registration;
pub mod relay;
pub mod rpc;
pub mod user;
pub mod webhook;

pub mod cli;
pub mod config;
pub mod run;
pub mod shutdown;
pub mod telemetry;
