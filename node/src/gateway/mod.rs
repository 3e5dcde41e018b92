//! The way in: HTTP and WebSocket on one port.
//!
//! Modules in the order a connection takes: `server` (listener, threads, routes) → [`connection`] (socket options) and
//! [`seats`] (how many there may be) and `unserved` (which one gives way) →
//! [`admission`], [`greetings`] and [`auth`] (who may) → [`websocket`] (the native transport), `sse` or `poll` (for those who
//! only listen), or `rest`. Beside them `envelope` (what
//! every HTTP request goes through), `etag` (what a client need not be sent again), `api` and `asyncapi` (the description of
//! it all), `operations` (probes, figures, the cluster's
//! state) and [`problem`] (refusals over HTTP).

pub mod admission;
mod api;
mod asyncapi;
pub mod auth;
pub mod connection;
mod envelope;
mod etag;
pub mod greetings;
mod operations;
mod poll;
pub mod problem;
mod rest;
pub mod seats;
pub mod server;
mod sse;
mod unserved;
pub mod websocket;
