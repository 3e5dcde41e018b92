//! REST on real servers, in this process, beside their WebSocket.
#![expect(clippy::unwrap_used, reason = "tests")]

mod consent;
mod conversations;
mod custom_data;
mod descriptions;
mod devices;
mod envelope;
mod erasure;
mod examples;
mod export;
mod hooks;
mod idempotency;
mod login;
mod matrix;
mod members;
mod messages;
mod presence;
mod profiles;
mod rates;
mod raw_requests;
mod reading;
mod refusals;
mod server_api;
mod sessions;
mod shapes;
