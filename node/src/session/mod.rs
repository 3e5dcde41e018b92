//! Client sessions: the rules of the protocol on the server side, independent of the transport.
//!
//! Path of a command: reader → [`messages`] → [`actor`] → `actor::dispatch` → `actor::send` (step 3), `actor::queries` or
//! `actor::open` → the shards.
//!
//! Path of an event: subscription hub → `delivery::subscriber` → `delivery::outbound_queue` (step 12) → the writer, or
//! `long_poll` for clients without a permanent connection.
//!
//! The actor owns seven components with private state. Their methods decide without an actor and without a clock, and
//! return what the actor has to do:
//!
//! | component | state |
//! |---|---|
//! | `limits::CommandLimits` | rates, unanswered commands, order of sends, typing |
//! | `intake::CommandIntake` | queued commands, acknowledgement of the reader, pause |
//! | `delivery::Delivery` | subscriber, outbound queue, replay buffer, delivered cursors |
//! | `lifecycle::Lifecycle` | progress, deadlines, pending close, resume and transfer |
//! | `presence::SessionPresence` | registration, device, login, saved watches |
//! | `long_poll::LongPoll` | number of the current poll |
//! | `cursor_schedule::CursorSchedule` | writes of the durable cursors of a device |
//!
//! A transport is a [`TransportPolicy`]; [`admit_client`] and [`SessionHandle`] are the entry points of gateways. For
//! clients without retries, `retry_budget` and `retry_queue` repeat temporarily refused commands.
//!
//! `connection_handle` holds the state shared with the socket half, `gateway_link` what a gateway keeps there, `worker_context` that of the sessions of one thread.
//! [`SessionRegistry`] has the sessions of a node.

mod delivery;
mod intake;
mod lifecycle;
mod limits;

mod actor;
mod authenticated_client;
mod auto_subscribe;
mod catch_up;
mod client_admission;
mod cursor_schedule;
mod following;
mod long_poll;
pub mod messages;
mod presence;
mod ready;
mod retry_budget;
mod retry_queue;
mod session_handle;
mod transport_policy;

mod connection_handle;
mod gateway_link;
mod pending_futures;
mod registry;
mod wake_up;
mod worker_context;

pub(crate) use actor::CLOSE_TIMEOUT;
pub use actor::Session;
#[cfg(test)]
pub use authenticated_client::OpenedSession;
pub use authenticated_client::{AuthenticatedClient, ResumePoint};
pub use client_admission::{ClientCredentials, admit_client};
pub use connection_handle::{CloseSocket, ConnectionHandle};
pub use delivery::{Framing, OutboundQueue, QueueBounds, WriteChunk};
pub use gateway_link::ConversationSelection;
pub use lifecycle::left;
pub(crate) use limits::too_fast;
pub use limits::{Account, RateLimits, TokenBucket, UserRates};
pub use registry::{OwnSession, SessionRegistry};
pub use session_handle::SessionHandle;
pub use transport_policy::{DetachedPolicy, IdleLimit, PingInterval, SessionExpiry, TransportPolicy};
pub use worker_context::{AdmissionControl, NodeState, WorkerContext};
