//! Socket.IO 5 over Engine.IO 4, at `socketio.path`.
//!
//! Path of a packet over a WebSocket: `endpoint` → `handler` → `engine_reader` → `commands` → the session. Path of an
//! event: the session's outbound queue → `engine_packets` → `connection` → `server_packet`.
//!
//! A connection that polls is a `polled_connection`: its requests arrive on any thread of any node and find it in the
//! `engine_table`. Its session is attached as if it had a permanent connection. An `upgrade` replaces the requests by a
//! WebSocket.
//!
//! The codecs are pure: `engine_packet` and `socket_packet`, joined by `packet_assembler`. The session authenticates the
//! client by its CONNECT, pings it, and ends a silent connection. `engine_settings` derives its policy. An endpoint serves
//! one `engine_app`: the chat, or an echo for the conformance suites.

mod client_request;
#[cfg(feature = "testkit")]
pub(crate) mod codec_properties;
mod commands;
mod connection;
#[cfg(feature = "conformance")]
mod echo;
mod endpoint;
mod engine_app;
mod engine_entry;
mod engine_id;
mod engine_packet;
mod engine_packets;
mod engine_query;
mod engine_reader;
mod engine_settings;
mod engine_table;
mod handler;
mod packet_assembler;
mod ping_queue;
mod polled_connection;
mod polled_input;
mod polled_output;
mod server_packet;
mod socket_packet;
mod upgrade;

pub(super) use engine_table::EngineTable;

use actix_web::web::ServiceConfig;

use engine_app::ChatApp;
use engine_query::EngineQuery;

use crate::config::Config;

#[cfg(feature = "conformance")]
const ECHO_PATHS: [&str; 2] = ["/v1/echo/engine.io", "/v1/echo/socket.io"];

/// Registers the endpoint of the chat at its path; with an empty one there is none.
pub(super) fn routes(path: &str) -> impl FnOnce(&mut ServiceConfig) + use<> {
    endpoint::routes::<ChatApp>(path)
}

/// Registers the endpoints of the conformance suites.
#[cfg(feature = "conformance")]
pub(super) fn conformance_routes(config: &mut ServiceConfig) {
    let [engine, socket] = ECHO_PATHS;
    endpoint::routes::<echo::EchoApp<echo::EngineEcho>>(engine)(config);
    endpoint::routes::<echo::EchoApp<echo::SocketEcho>>(socket)(config);
}

/// Returns true if a request names an open connection of an engine, whose id is as good as a token.
pub(super) fn names_connection(path: &str, query: &str, config: &Config) -> bool {
    let path = path.trim_end_matches('/');
    let is_engine = !path.is_empty() && path == config.socketio.path.trim_end_matches('/');
    #[cfg(feature = "conformance")]
    let is_engine = is_engine || ECHO_PATHS.contains(&path);
    is_engine && EngineQuery::parse(query).is_ok_and(|query| query.sid.is_some())
}
