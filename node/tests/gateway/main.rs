//! The gateway and the sessions of a real one-node server, in this process, seen from raw sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod admin_stream;
mod cable;
mod cable_history;
mod cable_limits;
mod cable_presence;
mod cable_restore;
mod commands;
#[cfg(feature = "conformance")]
mod conformance;
mod conversations;
mod erasure;
mod floods;
mod framing;
mod handshake;
mod lifecycle;
mod limits;
mod liveness;
mod many;
mod metric_names;
mod mqtt;
mod mqtt_commands;
mod mqtt_limits;
mod mqtt_sessions;
mod mqtt_stock;
#[cfg(feature = "conformance")]
mod mqtt_topics;
mod mqtt_websocket;
mod operations;
mod operators;
mod poll;
mod presence;
mod rates;
mod references;
mod resume;
mod server_internals;
mod sessions;
mod slow_consumer;
mod socketio;
#[cfg(feature = "conformance")]
mod socketio_echo;
mod socketio_limits;
mod socketio_poll;
mod sse;
#[cfg(feature = "conformance")]
mod tcp;
mod tls;
mod tokens;
mod unread;
mod words;
