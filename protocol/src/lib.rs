//! Client protocol, version 1: the types, codes and encodings of every message between a client and a node.
//!
//! The crate does no I/O. The server, the load tester and the terminal client share these types, so each shape is
//! encoded and decoded in one place. `docs/protocol.md` is the specification.
//!
//! A message passes this crate twice. At step 2 a text frame becomes a [`ClientCommand`]. At step 10 an event is
//! encoded once, as a *tail* shared by all receivers, and each session prepends its own event number
//! ([`event::event_frame`]).

#![warn(missing_docs)]

// Leaf first: a module imports only from those above it (scripts/check-layers.sh). The blank lines keep rustfmt from
// sorting them.
pub mod role;

pub mod ids;

pub mod limits;

pub mod text;

pub mod patch;

pub mod payload;

pub mod error;

pub mod close;

pub mod cost;

mod check;

mod codec;

mod shape;

mod groups;

pub mod rest;

pub mod response;

pub mod command;

pub mod event;

pub mod frame;

pub mod schema;

pub use close::{CloseAdvice, CloseCode};
pub use command::{ClientCommand, DecodeError, Request};
pub use cost::{CommandCost, CommandRate};
pub use error::ErrorCode;
pub use event::Event;
pub use frame::ServerFrame;
pub use ids::{ClientMessageId, ConversationId, InvalidId, UserId};
pub use patch::FieldPatch;
pub use payload::{Body, CustomData, EncodedEvent};
pub use response::Response;
pub use rest::MessageState;
pub use role::{ConversationKind, GroupInvite, HistoryVisibility, MembershipChange, Role};

/// Version of the protocol, sent in `hello`.
pub const PROTO: u32 = 1;
/// Name of this version's WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "chat.v1.json";
