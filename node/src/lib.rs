//! Chat: gateways, sessions, conversations and users.
pub mod conversation;
pub mod rpc;
pub mod user;
