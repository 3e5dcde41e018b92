//! A client's session, whatever its transport: the rules of the protocol on the client's side of the cluster.
//!
//! Modules in the order a message takes: [`messages`] (from the socket half) → [`actor`] → `dispatch` → `publish` (step
//! 3) and its siblings `membership`, `queries`, `cursors`, `authenticate`, `presence` → the conversations. `timers`: what time does to it, and its end. Back: `feed` (events,
//! straight from the fan-out) → [`outbox`] (step 12) → the writer, or `fetch`, for clients that ask. [`link`] is what both
//! halves share, [`worker`] what the sessions of one thread share, [`registry`] what those of a node share. Beyond its
//! connection: `handover` (the session waits, and hands over what it has) → `resume` (another one goes on with it).
//! Across connections: [`rates`], what a user may ask. Pure: `quiet`, `rate_limit`, [`typing`], `order`, `window`, `arrivals`, [`ring`], [`sid`].

pub mod messages;

pub mod actor;
mod authenticate;
mod cursors;
mod dispatch;
mod fetch;
mod following;
mod handover;
mod introduce;
mod membership;
pub(crate) mod newcomers;
mod presence;
pub mod publish;
mod queries;
mod quiet;
mod resume;
mod subscribe;
mod timers;
pub mod typing;

pub mod feed;
pub mod link;
pub mod outbox;
pub mod registry;
mod settling;
pub mod worker;

pub mod arrivals;
mod inflight;
pub mod order;
pub mod rate_limit;
pub mod rates;
pub mod ring;
pub mod sid;
pub mod window;

pub use actor::{Session, Transport};
pub use authenticate::{Newcomer, Point, left};
pub(crate) use dispatch::too_fast;
pub use link::{Cut, Link};
pub use rates::Rates;
pub use registry::Sessions;
pub use worker::{Door, Order, Worker};
