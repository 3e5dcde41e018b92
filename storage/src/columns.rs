//! The tables of a shard.

/// A table of the applied state. Each is one column family; keys are free within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// The shard's own facts: owner, epoch, membership.
    Sys,
    /// One row per conversation.
    Conversation,
    /// One row per message.
    Message,
    /// One row per member of a conversation.
    Member,
    /// Client ids of recent messages.
    Dedup,
    /// The conversations of a user.
    UserIndex,
    /// Effects on other shards that are not yet acknowledged there.
    Outbox,
    /// Everything of the meta group: nodes, map, cluster id.
    Meta,
}
