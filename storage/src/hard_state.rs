//! Small facts of a shard's Raft group that are not log entries.

/// Names a hard-state value of a shard. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HardKey {
    /// The vote: must be durable before it is answered, and must not overtake log writes.
    Vote = 1,
    /// The committed position: without it a restarted node serves an older state until a leader speaks.
    Committed = 2,
    /// The last purged position, written together with the purge.
    Purged = 3,
}

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the fsync that covers it.
    Synced,
    /// After it was written; a later fsync makes it durable, a crash before that forgets it.
    Buffered,
}

// === impl HardKey ===

impl HardKey {
    /// All keys.
    pub const ALL: [HardKey; 3] = [HardKey::Vote, HardKey::Committed, HardKey::Purged];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}
