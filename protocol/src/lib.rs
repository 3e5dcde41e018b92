//! What is said on the wire between a client and a node, version 1.
//!
//! Types, codes and encodings, without any I/O. The server, the load tester and the terminal client use the
//! same types, so each shape is written and read here and nowhere else. `docs/protocol.md` is the prose.
//!
//! The life of a message meets this crate twice: as step 2, when a text frame becomes a [`Command`], and at
//! step 10, when an event is encoded once as a *tail*, to which each session prepends its own number
//! ([`event::event_frame`]).

pub mod ids;
pub mod role;

pub mod body;
pub mod limits;
pub mod text;

pub mod command;
pub mod cost;

pub mod answer;

pub mod event;

pub mod list;
pub mod message;

pub mod frame;

pub mod close;
pub mod error;

mod codec;
pub mod schema;

pub use answer::Answer;
pub use body::{Body, RawEvent};
pub use close::{CloseCode, Verdict};
pub use command::{Command, DecodeError, Request};
pub use cost::{Cost, Rate, cost};
pub use error::ErrorCode;
pub use event::Event;
pub use frame::Frame;
pub use ids::{Cid, ConvId, InvalidId, UserId};
pub use message::Message;
pub use role::{GroupInvite, History, Kind, Role, Why};

/// The protocol's version, said in `hello`.
pub const PROTO: u32 = 1;
/// The WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "chat.v1.json";
