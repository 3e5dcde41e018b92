//! Client sessions: the rules of the protocol on the server side, independent of the transport.
//!
//! Path of a command: reader → [`messages`] → [`actor`] → `dispatch` → `send` (step 3) or its siblings `membership`,
//! `queries`, `cursors`, `authenticate` and `presence` → the shards.
//!
//! Path of an event: subscription hub → `subscriber` → `outbound_queue` (step 12) → the writer, or `long_poll` for
//! clients without a permanent connection.
//!
//! * `timers`: deadlines of a session, and its end.
//! * `connection_handle`: state shared by the actor and the socket half. `worker_context`: state shared by the sessions
//!   of one thread. [`registry`]: the sessions of a node.
//! * `transfer` (detached sessions and their export) and `resume` (continuation under a new id): sessions beyond their
//!   connection.
//! * [`rates`]: rate limits per user, across connections.
//! * Pure modules: `echo_filter`, `rate_limit`, [`typing`], `send_order_guard`, `in_flight_limit`, `delivery_tracker`,
//!   `replay_buffer`, [`sid`].

pub mod messages;

pub mod actor;
mod authenticate;
mod auto_subscribe;
mod cursors;
mod dispatch;
mod echo_filter;
mod following;
pub(crate) mod joined_conversations;
mod long_poll;
mod membership;
mod presence;
mod queries;
mod resume;
pub mod send;
mod subscribe;
mod timers;
mod transfer;
pub mod typing;

pub mod connection_handle;
pub mod outbound_queue;
pub mod registry;
pub mod subscriber;
mod subscription_barrier;
pub mod worker_context;

pub mod delivery_tracker;
pub mod in_flight_limit;
mod pending_futures;
pub mod rate_limit;
pub mod rates;
pub mod replay_buffer;
pub mod send_order_guard;
pub mod sid;

pub use actor::{ClientTransport, Session};
pub use authenticate::{AuthenticatedClient, ResumePoint, left};
pub use connection_handle::{CloseSocket, ConnectionHandle};
pub(crate) use dispatch::too_fast;
pub use rates::UserRates;
pub use registry::SessionRegistry;
pub use worker_context::{AdmissionControl, NodeState, WorkerContext};
