//! Messages between the clients of the harness and a node: a borrowed reader, the commands that are sent, and the
//! protocols that carry both.

mod cable;
mod client_wire;
mod commands;
mod mqtt;
mod native;
mod socketio;
mod wire_choice;
mod wire_frame;

pub(crate) use self::client_wire::{ClientWire, EventNumbers, WireEnd, WireLogin, WireTransport};
pub(crate) use self::commands::{
    auth, create, del, edit, encode, heartbeat, hist, invite, join, kick, list, members, message_id, newest,
    open, react, read, role, send, send_to, sync, typing, user, watch,
};
pub(crate) use self::wire_choice::{Wire, wires};
pub(crate) use self::wire_frame::{WireCode, WireFrame, WireRefusal};

/// Path of the WebSocket endpoint.
pub(crate) const PATH: &str = "/v1/ws";
/// Path of the engine of Socket.IO, by long polling.
pub(crate) const POLLING_PATH: &str = "/socket.io/?EIO=4&transport=polling";
