//! ActionCable: the client protocol of Rails and AnyCable, over a WebSocket at `cable.path`.
//!
//! Path of a frame: `upgrade` (access, subprotocol) → `handler` → `client_frame` → `translator` → the session. Path of an
//! event: the session's outbound queue → `framing` → `translator` → `server_frame`. `ping_wheel` sends the pings of all
//! connections of a thread.
//!
//! The codecs and the [`translator`] are pure. The translator owns the subscriptions of one connection, of which
//! `channel_stream` joins the history with the live events, and `presence_table` follows the members that are online.
//! `continued_subscriptions` is the state that travels with the session.

mod access;
mod channel_stream;
mod client_frame;
#[cfg(feature = "testkit")]
pub(crate) mod codec_properties;
mod connection;
mod continued_subscriptions;
mod framing;
mod handler;
mod identifier;
mod ping_wheel;
mod presence_frame;
mod presence_table;
mod refused;
mod request_table;
mod server_frame;
mod stream_effect;
mod stream_history;
mod subscription_table;
mod translator;
mod upgrade;

pub(super) use ping_wheel::PingWheel;
pub(super) use upgrade::routes;
