//! WebSocket. No other module uses `actix-web-actors`.
//!
//! Only the handshake of that crate is used. Its `WebsocketContext` is polled as the response body, so a client that
//! stops reading would stall the session with its timers. Here the [writer] is the body, the [reader] a task, and the
//! session a separate actor.
//!
//! The frame layer is common to all protocols: `upgrade` → [reader] with [`frame_guard`] and [`frame_reader`], and
//! [writer] with [`frame_writer`]. A protocol implements `MessageHandler` for its messages from the client and
//! [`MessageFraming`] for those to the client. The native one is `native`, with the
//! endpoint `/v1/ws`, and `json_commands`.

#[cfg(feature = "conformance")]
mod echo;
pub(super) mod frame_guard;
pub(super) mod frame_reader;
pub(super) mod frame_writer;
mod handler;
mod json_commands;
mod meter;
mod native;
pub(super) mod reader;
mod upgrade;
pub(super) mod writer;

#[cfg(feature = "conformance")]
pub(super) use echo::{close_echo, routes as conformance_routes};
pub(super) use frame_guard::MessageKinds;
#[cfg(test)]
pub(crate) use frame_writer::{JsonMessages, WebSocketFraming};
pub(super) use frame_writer::{MessageFraming, MessageWriter};
pub(super) use handler::{MessageHandler, ReadProgress, SessionOver, WebSocketMessage};
pub(super) use meter::Meter;
pub(super) use native::routes;
pub(super) use upgrade::{Subprotocols, WebSocketUpgrade, check as check_upgrade, route_at};
