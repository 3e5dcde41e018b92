//! Execution of client commands, common to all transports.
//!
//! A transport decodes a [`protocol::ClientCommand`], calls this module and encodes the response; it has no rules of its own.
//! [`changes`] enter a conversation's log, [`queries`] read.

pub mod changes;
mod client_query;
mod named_users;
pub mod queries;
mod sync;

pub use changes::ConversationChange;
pub use client_query::{ClientQuery, ClientQueryContext, FollowingSessions};
pub(crate) use named_users::users_of_conversation;
