//! REST on real servers, in this process, beside their WebSocket.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../gateway/support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the gateway, which need all of it"
)]
mod support;

#[path = "../receiver/mod.rs"]
mod receiver;

mod http;
mod test_user;
mod trio;

mod consent;
mod conversations;
mod devices;
mod envelope;
mod examples;
mod export;
mod hooks;
mod idempotency;
mod login;
mod matrix;
mod members;
mod messages;
mod presence;
mod rates;
mod reading;
mod refusals;
mod shapes;
