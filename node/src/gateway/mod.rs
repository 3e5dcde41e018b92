//! Gateway: HTTP and WebSocket on one port.
//!
//! Path of a connection: `server` (listener, threads, routes) → [`connection`] (socket options), [`connection_limit`]
//! (client permits) and `unserved` (eviction order) → [`admission`], [`unauthenticated`] and [`crate::auth`] (access
//! checks) → [`websocket`] (the native transport), `sse` or `long_poll` (receive only), or `rest`. Protocols with a port of their own: `tcp`.
//!
//! Gateways translate other protocols around the same sessions: `cable`. `native_command` and `event_tail` are common to
//! them.
//!
//! Beside it: `envelope` (middleware), `etag` (conditional requests), `api` and `asyncapi` (API description),
//! `operations` (probes, metrics, cluster state) and [`problem`] (HTTP error responses).

pub mod admission;
mod api;
mod asyncapi;
mod cable;
pub mod connection;
pub mod connection_limit;
mod envelope;
mod etag;
mod event_tail;
mod examples;
mod long_poll;
mod native_command;
mod operations;
pub mod problem;
mod rest;
pub mod server;
mod sse;
#[cfg_attr(
    not(feature = "conformance"),
    expect(dead_code, reason = "no such protocol in this build")
)]
mod tcp;
pub mod unauthenticated;
mod unserved;
pub mod websocket;
mod worker_thread;
