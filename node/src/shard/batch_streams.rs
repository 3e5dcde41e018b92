//! Batch streams: the shard owner's half of the numbering, which decides on the admission of batches.
//!
//! A command queue sends several batches without waiting. If one is lost or refused, the following ones must be refused
//! too: otherwise a sender's second message could be applied without the first. A stream is therefore admitted in the
//! order of its batch seqs, without gaps, and stays closed after a failure. The queue then starts a new stream with
//! everything unacknowledged.

use std::collections::HashMap;

use cluster::NodeId;

use crate::rpc::submit::BatchStreamId;

/// Streams that the shard owner admits; one per node.
#[derive(Debug, Default)]
pub(crate) struct BatchStreams {
    current: HashMap<NodeId, CurrentStream>,
}

#[derive(Debug)]
struct CurrentStream {
    incarnation: u64,
    stream: u64,
    next: u64,
    /// First batch seq that is refused; `None` while the stream is intact.
    broken: Option<u64>,
}

// === impl BatchStreams ===

impl BatchStreams {
    /// Admits batch `number` of the stream. Returns false if an earlier one is missing or the stream is closed.
    pub(crate) fn admit(&mut self, id: BatchStreamId, number: u64) -> bool {
        let known = self.current.get_mut(&id.node);
        match known {
            Some(current) if current.incarnation == id.incarnation && current.stream == id.stream => {
                // A batch that the transport repeats has a used number and is refused.
                let admitted = number == current.next && current.broken.is_none();
                current.next += u64::from(admitted);
                admitted
            }
            // A late batch of an abandoned stream: its commands are in the newer stream already.
            Some(current) if current.incarnation == id.incarnation && current.stream > id.stream => false,
            // A new stream without its first batch may lack commands that must come first.
            _ if number != 0 => false,
            _ => {
                let fresh = CurrentStream {
                    incarnation: id.incarnation,
                    stream: id.stream,
                    next: 1,
                    broken: None,
                };
                self.current.insert(id.node, fresh);
                true
            }
        }
    }

    /// Returns true if a command of batch `number` may still be proposed.
    pub(crate) fn alive(&self, id: BatchStreamId, number: u64) -> bool {
        self.current.get(&id.node).is_none_or(|current| {
            // A newer stream of the same process repeats everything that this one left without a response. A restarted
            // process repeats nothing, so its predecessor's commands stay valid.
            current.incarnation != id.incarnation
                || current.stream == id.stream && current.broken.is_none_or(|broken| number < broken)
        })
    }

    /// Closes the stream at batch `number`, which got no full response; nothing from there on is proposed.
    pub(crate) fn break_at(&mut self, id: BatchStreamId, number: u64) {
        if let Some(current) = self.current.get_mut(&id.node)
            && current.incarnation == id.incarnation
            && current.stream == id.stream
        {
            // The earliest failure counts: a later one must not reopen the batches in between.
            current.broken = Some(current.broken.map_or(number, |broken| broken.min(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(incarnation: u64, stream: u64) -> BatchStreamId {
        BatchStreamId {
            node: NodeId(1),
            incarnation,
            stream,
        }
    }

    #[test]
    fn a_missing_batch_keeps_out_what_follows() {
        let mut streams = BatchStreams::default();
        assert!(streams.admit(id(9, 0), 0));
        assert!(!streams.admit(id(9, 0), 2));
        assert!(streams.admit(id(9, 0), 1));
        assert!(
            !streams.admit(id(9, 0), 1),
            "a repeat of the transport is not a new batch"
        );
    }

    #[test]
    fn a_new_stream_fences_the_old_one() {
        let mut streams = BatchStreams::default();
        assert!(streams.admit(id(9, 0), 0));
        assert!(!streams.admit(id(9, 3), 1), "its first batch is missing");
        assert!(streams.admit(id(9, 3), 0));
        assert!(!streams.admit(id(9, 0), 1));
        assert!(!streams.alive(id(9, 0), 0), "the new stream repeats it");
        assert!(streams.alive(id(9, 3), 0));
    }

    #[test]
    fn a_restarted_process_starts_anew() {
        let mut streams = BatchStreams::default();
        assert!(streams.admit(id(9, 7), 0));
        assert!(streams.admit(id(4, 0), 0));
        assert!(streams.admit(id(4, 0), 1));
    }

    #[test]
    fn a_broken_stream_stays_broken() {
        let mut streams = BatchStreams::default();
        for number in 0..3 {
            assert!(streams.admit(id(9, 0), number));
        }
        streams.break_at(id(9, 0), 1);
        assert!(streams.alive(id(9, 0), 0));
        assert!(!streams.alive(id(9, 0), 1));
        assert!(!streams.alive(id(9, 0), 2));
        assert!(!streams.admit(id(9, 0), 3));
        assert!(streams.admit(id(9, 1), 0));
    }
}
