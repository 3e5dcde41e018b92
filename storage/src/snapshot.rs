//! A shard's state on its way to another node.

use bytes::Bytes;

use crate::Error;

/// A consistent copy, read chunk by chunk.
#[derive(Debug)]
pub struct Export {}

/// A copy on its way in. Dropped unfinished, it leaves the current state as it was.
#[derive(Debug)]
pub struct Import {}

// === impl Export ===

impl Export {
    /// Returns the applied position of the copy.
    pub fn applied(&self) -> Option<Bytes> {
        None
    }

    /// Returns the next self-describing chunk of about `max_bytes`, `None` at the end.
    pub fn next_chunk(&mut self, max_bytes: usize) -> Result<Option<Bytes>, Error> {
        let _ = max_bytes;
        Err(Error::Closed)
    }
}

// === impl Import ===

impl Import {
    /// Adds a chunk of an export, in order.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), Error> {
        let _ = chunk;
        Err(Error::Closed)
    }

    /// Replaces the shard's state by what was added, at once and synced.
    pub fn finish(self, applied: Bytes) -> Result<(), Error> {
        let _ = applied;
        Err(Error::Closed)
    }
}
