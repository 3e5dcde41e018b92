//! Sessions that go from one node of a cluster to another: whole nodes, in this process, seen from raw sockets.
#![expect(clippy::unwrap_used, reason = "tests")]

mod cable;
mod device;
mod device_cursors;
mod drain;
mod listen;
mod many;
mod moments;
mod mqtt;
mod removed;
mod resume;
mod socketio;
