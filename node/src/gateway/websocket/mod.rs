//! WebSocket, the native transport: the only folder that names `actix-web-actors`.
//!
//! Of that crate only the handshake is used. Its `WebsocketContext` is polled as the response body, so a client that
//! stops reading would freeze the session with its timers; here the [writer] is the body, the [reader] a task, and the
//! session an actor beside them.

pub mod frame;
pub mod frame_guard;
mod meter;
pub mod reader;
mod upgrade;
pub mod writer;

pub(super) use upgrade::routes;
