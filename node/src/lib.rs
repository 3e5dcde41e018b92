//! Chat server of a Rookery node: gateways, sessions, conversations and users.
//!
//! The modules stand leaf first: a module imports only from modules above it (`scripts/check-layers.sh`).
//!
//! A message passes `gateway` (sockets), the crate `protocol`, `session`, `commands`, `shard_client` (routing to the
//! shard owner), `shard` (actors, batches), the crate `cluster` (replication), `state_machine` (rules), `shard` again
//! (responses, fan-out), `subscription` (deliveries to this node), `session` and `gateway`. ARCHITECTURE.md has the
//! steps.
//!
//! The crate exports the commands of the binary and the test kit. Inside it, `pub` is the interface of a component:
//! submodules are private, and the `mod.rs` of a component exports the items that others use.

#![expect(
    unreachable_pub,
    reason = "`pub` items of a private module are the interface of its component"
)]

mod config;

mod telemetry;

mod tls;

mod webhook;

mod state_machine;

mod backup;

mod rpc;

mod shard_client;

mod registration;

mod subscription;

mod presence;

mod auth;

mod shard;

mod commands;

mod session;

mod forwarding;

mod admin;

mod gateway;

mod service;

mod lifecycle;

pub mod cli;

#[cfg(feature = "testkit")]
#[expect(clippy::unwrap_used, reason = "part of the tests")]
pub mod testkit;
