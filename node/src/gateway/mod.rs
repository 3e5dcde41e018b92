//! The way in: HTTP and WebSocket on one port.
//!
//! Modules in the order a connection takes: `server` (listener, threads, routes) → [`connection`] (socket options) →
//! [`admission`] and [`auth`] (who may) → [`websocket`] (the native transport) or `rest`. Beside them `envelope` (what
//! every HTTP request goes through), `api` (the description of it all), `operations` (probes, figures, the cluster's
//! state) and [`problem`] (refusals over HTTP).

pub mod admission;
mod api;
pub mod auth;
pub mod connection;
mod envelope;
mod operations;
pub mod problem;
mod rest;
pub mod server;
pub mod websocket;
