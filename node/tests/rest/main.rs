//! REST on a real one-node server, in this process, beside its WebSocket.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../gateway/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the gateway, which need all of it"
)]
mod support;

mod http;

mod conversations;
mod envelope;
mod idempotency;
mod members;
mod messages;
mod presence;
mod refusals;
