//! What belongs to a user rather than to a conversation: the list of conversations, and how it is kept.
//!
//! The truth about a membership is in the conversation's shard. The user's shard holds a list derived from it, to which
//! each change is told by the outbox pump; the inbox is read by asking the list first and then the
//! owners of the conversations.

pub(crate) mod inbox;
pub(crate) mod outbox_pump;
