//! Client sessions: the rules of the protocol on the server side, independent of the transport.
//!
//! Path of a command: reader → [`messages`] → [`actor`] → `dispatch` → `send` (step 3) or its siblings `membership`,
//! `queries`, `cursors`, `authenticate` and `admission` → the shards.
//!
//! Path of an event: subscription hub → `delivery::subscriber` → `delivery::outbound_queue` (step 12) → the writer, or
//! `polls` for clients without a permanent connection.
//!
//! The actor owns six components with private state. Their methods decide without an actor and without a clock, and
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
//!
//! `connection_handle` holds the state shared with the socket half, `worker_context` that of the sessions of one thread.
//! [`SessionRegistry`] has the sessions of a node.

mod delivery;
mod intake;
mod lifecycle;
mod limits;

pub mod actor;
mod admission;
mod authenticate;
mod auto_subscribe;
mod cursors;
mod dispatch;
mod following;
mod long_poll;
mod membership;
pub mod messages;
mod polls;
mod presence;
mod queries;
mod resume;
mod send;
mod subscribe;
mod timers;
mod transfer;

mod connection_handle;
mod pending_futures;
mod registry;
mod worker_context;

pub use actor::{ClientTransport, Session};
pub use authenticate::{AuthenticatedClient, ResumePoint, left};
pub use connection_handle::{CloseSocket, ConnectionHandle};
pub use delivery::{Framing, OutboundQueue, QueueBounds, WriteChunk};
pub use limits::{Account, RateLimits, TokenBucket, UserRates};
pub(crate) use limits::{TYPING_PER_SECOND, too_fast};
pub use registry::SessionRegistry;
pub(crate) use timers::CLOSE_TIMEOUT;
pub use worker_context::{AdmissionControl, NodeState, WorkerContext};
