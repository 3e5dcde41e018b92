//! Socket.IO 5 over Engine.IO 4, at `socketio.path`.
//!
//! Path of a packet over a WebSocket: `endpoint` → `handler` → `engine_reader` → `commands` → the session. Path of an
//! event: the session's outbound queue → `engine_packets` → `connection` → `server_packet`.
//!
//! A connection that polls is a `polled_connection`: its requests arrive on any thread and find it in the
//! `engine_table`. Its session is attached as if it had a permanent connection. An `upgrade` replaces the requests by a
//! WebSocket.
//!
//! The codecs are pure: `engine_packet` and `socket_packet`, joined by `packet_assembler`. The session authenticates the
//! client by its CONNECT, pings it, and ends a silent connection. `engine_settings` derives its policy.

mod client_request;
mod commands;
mod connection;
mod endpoint;
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
mod server_packet;
mod socket_packet;
mod upgrade;

pub(super) use endpoint::routes;
pub(super) use engine_table::EngineTable;
