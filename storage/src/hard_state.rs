//! Small facts of a shard's Raft group that are not log entries.

/// Names a hard-state value of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HardKey {
    /// The vote: must be durable before it is answered.
    Vote,
    /// The committed position: only speeds up a restart.
    Committed,
    /// The last purged position, written together with the purge.
    Purged,
}

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the fsync that covers it.
    Synced,
    /// After it was written; a later fsync makes it durable, a crash before that forgets it.
    Buffered,
}
