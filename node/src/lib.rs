//! Chat: gateways, sessions, conversations and users.
//!
//! The life of a message, one module per step: [`gateway`] (1, 13: sockets) → `protocol` (2) → [`session`] (3, 12) →
//! [`commands`] (what they mean, on every transport) → [`conversation`] (4, 5, 10, 11: the way to the owner, the actor, its answers and its fan-out) → the `cluster` crate
//! (6-8: agreement) → [`conversation::timeline`] (9: the rules) → [`relay`] (events on their way to the sessions of
//! this node). Beside them: [`user`] (what belongs to a user and not to a conversation) and [`rpc`] (what nodes say to
//! each other about chat) and [`webhook`] (what other services are told).
//!
//! Around it: [`cli`], [`config`], [`run`] (start and stop), [`shutdown`], [`telemetry`], and [`chat`], a terminal
//! client.

pub mod gateway;

pub mod session;

pub mod commands;

pub mod conversation;

pub mod relay;
pub mod rpc;
pub mod user;
pub mod webhook;

pub mod chat;
pub mod cli;
pub mod config;
pub mod run;
pub mod shutdown;
pub mod telemetry;
