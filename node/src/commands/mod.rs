//! Execution of client commands, common to all transports.
//!
//! A transport decodes a [`protocol::ClientCommand`], calls this module and encodes the response; it has no rules of its own.
//! [`changes`] enter a conversation's log, [`questions`] read.

pub mod changes;
mod question;
pub mod questions;
mod sync;

pub use changes::ConversationChange;
pub use question::{FollowingSessions, Question, QuestionContext};
