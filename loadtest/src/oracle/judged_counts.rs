//! Counts of everything that the oracle has judged.

/// Numbers of judged items. A run that judged nothing proves nothing.
#[derive(Clone, Copy, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct JudgedCounts {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) applied: u64,
    pub(crate) read_back: u64,
    /// Acknowledged edits, deletions and reactions.
    #[serde(default)]
    pub(crate) changed: u64,
    /// Receipts compared with the previous one of the same member.
    #[serde(default)]
    pub(crate) receipts: u64,
    /// List rows whose unread count was recounted.
    #[serde(default)]
    pub(crate) recounted: u64,
    /// Number of `resync` events.
    #[serde(default)]
    pub(crate) resyncs: u64,
    /// Pairs of replicas with compared digests.
    #[serde(default)]
    pub(crate) replicas: u64,
    /// Reads compared with the acks before their start.
    #[serde(default)]
    pub(crate) reads: u64,
    pub(crate) violations: u64,
    /// Messages received more than once, where the protocol allows it.
    #[serde(default)]
    pub(crate) doubled: u64,
}

// === impl JudgedCounts ===

impl JudgedCounts {
    pub(crate) fn plus(self, other: JudgedCounts) -> JudgedCounts {
        JudgedCounts {
            sent: self.sent + other.sent,
            acked: self.acked + other.acked,
            refused: self.refused + other.refused,
            applied: self.applied + other.applied,
            read_back: self.read_back + other.read_back,
            changed: self.changed + other.changed,
            receipts: self.receipts + other.receipts,
            recounted: self.recounted + other.recounted,
            resyncs: self.resyncs + other.resyncs,
            replicas: self.replicas + other.replicas,
            reads: self.reads + other.reads,
            violations: self.violations + other.violations,
            doubled: self.doubled + other.doubled,
        }
    }
}
