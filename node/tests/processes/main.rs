//! What a client may rely on when nodes die: three real processes on one machine, killed and stopped from outside.
//!
//! The same promises are tried node by node in the tests beside this one, within one process and faster; here nothing
//! is shared but the network and the disk. One cluster runs at a time (`.config/nextest.toml`).
#![expect(clippy::unwrap_used, reason = "tests")]

mod activity;
mod backup;
#[cfg(feature = "clock-file")]
mod clocks;
mod device_cursors;
mod drain;
mod erasure;
mod failovers;
mod gateway_cost;
mod gateways;
mod growth;
mod isolation;
mod membership;
mod mixed_room;
mod overview;
mod people;
mod repair;
mod resume;
mod retention;
mod room;
mod server_api;
mod state;
mod terminal_client;
mod tls;
