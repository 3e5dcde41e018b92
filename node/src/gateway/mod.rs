//! Gateway: HTTP and WebSocket on one port for clients, and HTTP on another one for operators.
//!
//! Path of a connection: `server` (listener, threads, routes) → [`connection`] (socket options), `client_stream` (TLS),
//! [`connection_limit`] (client permits) and `unserved` (eviction order) → [`admission`], [`unauthenticated`] and [`crate::auth`] (access
//! checks) → [`websocket`] (the native transport), `sse` or `long_poll` (receive only), or `rest`. Protocols with a port of their own: `tcp`.
//!
//! Gateways translate other protocols around the same sessions: `cable`, `socketio`, `mqtt`. `native_command`,
//! `response_head` and `event_tail` are common to them.
//!
//! # Adding a gateway
//! A gateway translates another protocol to sessions. It has three parts, all on one thread of the server:
//!
//! 1. *Admission.* [`admit_client`](crate::session::admit_client) checks the credentials; a refusal has the code for the
//!    client. `resume` of the result names the session to continue. `opened_sender` receives the
//!    `OpenedSession`, the response `ready`.
//!    [`SessionHandle::open`](crate::session::SessionHandle::open) opens the session under a
//!    [`TransportPolicy`](crate::session::TransportPolicy), usually `GATEWAY` with some fields negotiated. A session that
//!    is refused, such as one too many of its user, sends `err`, closes, and drops `opened_sender`.
//! 2. *Reader.* It decodes frames to `protocol::Request`s or decode errors, each with its size, and passes those of one
//!    read to `SessionHandle::dispatch`. It reads on once that resolves. `ConnectionHandle::on_received` is called for
//!    every read, `SessionHandle::confirm` for confirmed events, and `SessionHandle::disconnect` at the end.
//!    `ConnectionHandle::closing` ends the reader of a session that has ended.
//! 3. *Writer.* It polls `ConnectionHandle::poll_piece` with a [`Framing`](crate::session::Framing), which converts each
//!    response and each event. `takes_event` holds events back behind a full window; after a confirmation,
//!    `ConnectionHandle::wake_writer` continues.
//!
//! ```ignore
//! let mut client = admit_client(&worker, ClientCredentials { token, device, instance: None }).await?;
//! client.resume = Some(ResumePoint::parse(&offset));
//! let link = ConnectionHandle::new(OutboundQueue::new(QueueBounds::from(&*worker.config)), socket);
//! let policy = TransportPolicy { ping: PingInterval::Never, idle: IdleLimit::After(keep_alive), ..TransportPolicy::GATEWAY };
//! let session = SessionHandle::open(worker, link.clone(), policy, Some(client));
//! session.dispatch(vec![ReceivedCommand { request: Request::decode(text)?, bytes }]).await?;
//! session.confirm(n);
//! link.set_gateway_state(subscriptions)?; // after each change that the next connection must know
//! ```
//! `ConnectionHandle::gateway_state` returns the carried state from before `ready` on, so a framing may read it there.
//! A client that is admitted with `ResumePoint::Device` or `Clean` has durable cursors: if its node dies, the carried state
//! is that of a moment before, and the events that it has not confirmed come again.
//! `tests` has a complete gateway with a wire format of one line per event.
//!
//! Beside it: `envelope` (middleware), `etag` (conditional requests), `description`, `asyncapi` and `examples` (API
//! description), which `api` serves, `docs_page` and `error_catalogue` (the page that shows it), `web_pages` (the chat
//! page and the console), `front_page` (the page at `/` without it), `operations` (probes, metrics, cluster state), `operator` and `operator_listener` (tokens, roles and the port of operators) and [`problem`] (HTTP
//! error responses).

mod admission;
mod api;
mod asyncapi;
mod cable;
mod client_stream;
mod connection;
pub mod connection_limit;
mod description;
mod docs_page;
mod envelope;
mod error_catalogue;
mod etag;
mod event_tail;
mod examples;
mod front_page;
mod long_poll;
mod mqtt;
mod native_command;
mod operations;
mod operator;
mod operator_listener;
mod problem;
mod response_head;
mod rest;
pub mod server;
mod socketio;
mod sse;
mod tcp;
pub mod unauthenticated;
mod unserved;
mod web_pages;
mod websocket;
mod worker_thread;

pub use description::{asyncapi_description, openapi_description};

#[cfg(feature = "testkit")]
pub(crate) use {
    cable::codec_properties as cable_codec, mqtt::codec_properties as mqtt_codec,
    socketio::codec_properties as socketio_codec,
};

#[cfg(test)]
pub(crate) use websocket::{JsonMessages, WebSocketFraming};

#[cfg(test)]
mod tests;
