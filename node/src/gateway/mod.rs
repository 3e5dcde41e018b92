//! The way in: HTTP and WebSocket on one port.
//!
//! Modules in the order a connection takes: `server` (listener, threads, routes) → [`connection`] (socket options) →
//! [`admission`] and [`auth`] (who may) → [`websocket`] (the native transport). Beside it `operations` (probes,
//! figures, the cluster's state) and `problem` (refusals over HTTP).

pub mod admission;
pub mod auth;
pub mod connection;
mod operations;
mod problem;
pub mod server;
pub mod websocket;
