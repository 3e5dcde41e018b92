//! Conversations: the way to their owner, the actors there, the rules, and the way of events to the nodes.
//!
//! In the order a message takes: [`route`] (step 4) → [`shard`] and [`actor`], which [`publish`] (step 5) → the
//! replicated log → [`timeline`] (step 9) → [`committed`] (step 10) → [`fanout`] (step 11) → [`crate::relay`]. Beside
//! it: [`reads`], for what is asked and not changed.
//!
//! A [`Backbone`] is all of it on one node; sessions hold its [`Conversations`] and a [`crate::relay::LocalHub`].

pub mod actor;
pub mod answer;
mod backbone;
pub mod committed;
pub(crate) mod directory;
pub mod fanout;
pub(crate) mod interest;
pub(crate) mod metrics;
pub mod publish;
pub mod reads;
pub(crate) mod recent;
pub(crate) mod retention;
pub mod route;
pub mod settings;
pub mod shard;
pub(crate) mod shared;
pub mod timeline;
pub(crate) mod typing;

pub use answer::{ConvView, Done, HistoryPage, InboxPage, Refusal, SyncItem};
pub use backbone::Backbone;
pub use route::Conversations;
pub use settings::Settings;
