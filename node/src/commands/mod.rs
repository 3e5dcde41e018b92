//! What a client's command becomes, whichever transport it came by.
//!
//! A transport reads a [`protocol::Command`], asks here what it means, and shapes the answer; it has no rules of its own.
//! [`changes`] go to the conversation's log, [`questions`] read.

pub mod changes;
pub mod questions;

pub use changes::Change;
