//! Groups of commands: each file holds the requests of a group, their responses, and the events that they cause, with an
//! example, the checks and the cost of each.
//!
//! [`command`](crate::command), [`response`](crate::response) and [`event`](crate::event) declare the enums from these
//! types and export them.

pub(crate) mod common_responses;
pub(crate) mod conversation;
pub(crate) mod conversation_list;
pub(crate) mod cursors;
pub(crate) mod history;
pub(crate) mod member_list;
pub(crate) mod membership;
pub(crate) mod message_changes;
pub(crate) mod message_state;
pub(crate) mod messages;
pub(crate) mod presence;
pub(crate) mod profile;
pub(crate) mod reactions;
pub(crate) mod resume;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod sync;
pub(crate) mod users;
