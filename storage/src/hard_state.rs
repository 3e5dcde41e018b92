//! Hard state: small values of a shard's Raft group beside the log.

/// Key of a hard-state value of a shard. The numbers are persisted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HardKey {
    /// The vote. Must be durable before it is answered, and must not overtake log writes.
    Vote = 1,
    /// The committed position. Without it a restarted node would serve an older state until a leader contacts it.
    Committed = 2,
    /// The last purged position, written together with the purge.
    Purged = 3,
}

/// Moment at which a write completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Completes after the fsync that covers it.
    Synced,
    /// Completes after the write. A later fsync makes it durable; a crash before that loses it.
    Buffered,
}

// === impl HardKey ===

impl HardKey {
    /// All keys, in the order of their numbers.
    pub const ALL: [HardKey; 3] = [HardKey::Vote, HardKey::Committed, HardKey::Purged];

    pub(crate) fn number(self) -> u8 {
        self as u8
    }
}
