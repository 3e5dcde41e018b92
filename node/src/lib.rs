//! Chat server of a Rookery node: gateways, sessions, conversations and users.
//!
//! The modules stand leaf first: a module imports only from modules above it (`scripts/check-layers.sh`).
//!
//! A message passes `gateway` (sockets), the crate `protocol`, `session`, `commands`, `shard_client` (routing to the
//! shard owner), `shard` (actors, batches), the crate `cluster` (replication), `state_machine` (rules), `shard` again
//! (responses, fan-out), `subscription` (deliveries to this node), `session` and `gateway`. ARCHITECTURE.md has the
//! steps.

pub mod config;

pub mod telemetry;

pub mod webhook;

pub mod state_machine;

pub mod rpc;

pub mod shard_client;

pub mod registration;

pub mod subscription;

pub mod presence;

pub mod auth;

pub mod shard;

pub mod commands;

pub mod session;

pub mod forwarding;

pub mod gateway;

pub mod service;

pub mod lifecycle;

pub mod cli;

#[cfg(feature = "testkit")]
#[expect(clippy::unwrap_used, reason = "part of the tests")]
pub mod testkit;
