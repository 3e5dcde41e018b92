//! Names and layouts inside the server that the public protocol does not promise.
//!
//! The load test uses them for its faults and measurements. A test of the server includes this file and compares each
//! value with the real one: a change of the server cannot silently disable a fault or a measurement.

/// Name of the node's thread that writes and syncs.
pub(crate) const STORAGE_WRITER_THREAD: &str = "storage-writer";

/// Number of bytes at the start of a connection between two nodes that [`hello_sender`] needs: the header of a frame,
/// and its hello up to the sender.
pub(crate) const HELLO_PREFIX: usize = SENDER + 8;

/// Offset of the frame's kind, behind its length and checksum.
pub(crate) const FRAME_KIND: usize = 8;
/// Kind of the frame that begins a connection.
pub(crate) const HELLO_KIND: u8 = 16;
/// Offset of the frame's body, which begins with the magic.
pub(crate) const FRAME_BODY: usize = 19;
pub(crate) const MAGIC: &[u8] = b"RKRY";
/// Offset of the sender's id: behind the magic, two versions, the connection class and the cluster.
pub(crate) const SENDER: usize = FRAME_BODY + 4 + 2 + 2 + 1 + 8;

/// Ends of the names of the node's metrics; the registry of the node puts a prefix before some of them.
pub(crate) mod metric {
    pub(crate) const FSYNCS: &str = "storage_fsyncs_total";
    pub(crate) const FSYNC_SECONDS_SUM: &str = "storage_fsync_seconds_sum";
    pub(crate) const FSYNC_SECONDS_COUNT: &str = "storage_fsync_seconds_count";
    /// 1 if the node syncs before it acknowledges.
    pub(crate) const FSYNC_ENABLED: &str = "storage_fsync_enabled";
    pub(crate) const LOG_ENTRIES: &str = "storage_entries_total";
    pub(crate) const FREE_BYTES: &str = "storage_free_bytes";
    /// 1 after a failure of the disk, or with an older copy of it.
    pub(crate) const STORAGE_POISONED: &str = "storage_poisoned";
    pub(crate) const TAKEOVERS: &str = "rookery_takeovers_total";
    pub(crate) const OWNED_SHARDS: &str = "rookery_owned_shards";
    pub(crate) const CLOCK_SKEW_MS: &str = "clock_skew_ms";
    pub(crate) const SESSIONS: &str = "rookery_sessions";
    pub(crate) const QUERIES: &str = "rookery_queries_total";
    pub(crate) const CURSORS_MOVED: &str = "conversation_cursors_total";
    pub(crate) const CURSOR_COMMANDS: &str = "conversation_cursors_sent_total";
}

/// Returns the id of the node that sent the hello at the start of a connection; 0 for a node that is no member yet.
/// `None` if the bytes are no hello.
pub(crate) fn hello_sender(first: &[u8]) -> Option<u64> {
    let is_hello = first.get(FRAME_KIND) == Some(&HELLO_KIND) && first.get(FRAME_BODY..)?.starts_with(MAGIC);
    let sender = first.get(SENDER..HELLO_PREFIX)?.try_into().ok()?;
    is_hello.then(|| u64::from_be_bytes(sender))
}
