//! WebSocket, the native transport. No other module uses `actix-web-actors`.
//!
//! Only the handshake of that crate is used. Its `WebsocketContext` is polled as the response body, so a client that
//! stops reading would stall the session with its timers. Here the [writer] is the body, the [reader] a task, and the
//! session a separate actor.

pub mod frame;
pub mod frame_guard;
mod meter;
pub mod reader;
mod upgrade;
pub mod writer;

pub(super) use upgrade::routes;
