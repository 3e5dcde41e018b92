//! The owner's half of a lane's numbering: which batch of which node may enter.
//!
//! A lane sends several batches without waiting. If one is lost or refused, the following ones must be refused too, or
//! a sender's second message would be applied and its first one not. So a stream enters in the order of its numbers,
//! or not at all, and a stream that broke stays broken: the lane starts a new one with everything unanswered.

use std::collections::HashMap;

use cluster::NodeId;

use crate::conversation::route::window::Tag;

/// Names one stream of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StreamId {
    /// The node that sends.
    pub(crate) node: NodeId,
    /// The process on that node: random at its start.
    pub(crate) incarnation: u64,
    /// The lane's stream.
    pub(crate) stream: u64,
}

/// The streams that a shard's owner admits; one per node.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    current: HashMap<NodeId, Current>,
}

#[derive(Debug)]
struct Current {
    incarnation: u64,
    stream: u64,
    next: u64,
    /// Everything from this number on is refused.
    broken: Option<u64>,
}

// === impl StreamId ===

impl StreamId {
    pub(crate) fn new(node: NodeId, incarnation: u64, tag: Tag) -> StreamId {
        StreamId {
            node,
            incarnation,
            stream: tag.stream,
        }
    }
}

// === impl Streams ===

impl Streams {
    /// Takes batch `number` of the stream, or refuses it because an earlier one is missing.
    pub(crate) fn admit(&mut self, id: StreamId, number: u64) -> bool {
        let known = self.current.get_mut(&id.node);
        match known {
            Some(current) if current.incarnation == id.incarnation && current.stream == id.stream => {
                let admitted = number == current.next && current.broken.is_none();
                current.next += u64::from(admitted);
                admitted
            }
            Some(current) if current.incarnation == id.incarnation && current.stream > id.stream => false,
            _ if number != 0 => false,
            _ => {
                let fresh = Current {
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

    /// Whether a command that entered with batch `number` may still be proposed.
    pub(crate) fn alive(&self, id: StreamId, number: u64) -> bool {
        self.current.get(&id.node).is_none_or(|current| {
            // A newer stream carries everything that an older one left unanswered.
            current.incarnation != id.incarnation
                || current.stream == id.stream && current.broken.is_none_or(|broken| number < broken)
        })
    }

    /// Batch `number` was not answered in full: nothing at or behind it is proposed any more.
    pub(crate) fn break_at(&mut self, id: StreamId, number: u64) {
        if let Some(current) = self.current.get_mut(&id.node)
            && current.incarnation == id.incarnation
            && current.stream == id.stream
        {
            current.broken = Some(current.broken.map_or(number, |broken| broken.min(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(incarnation: u64, stream: u64) -> StreamId {
        StreamId {
            node: NodeId(1),
            incarnation,
            stream,
        }
    }

    #[test]
    fn a_missing_batch_keeps_out_what_follows() {
        let mut streams = Streams::default();
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
        let mut streams = Streams::default();
        assert!(streams.admit(id(9, 0), 0));
        assert!(!streams.admit(id(9, 3), 1), "its first batch is missing");
        assert!(streams.admit(id(9, 3), 0));
        assert!(!streams.admit(id(9, 0), 1));
        assert!(!streams.alive(id(9, 0), 0), "the new stream repeats it");
        assert!(streams.alive(id(9, 3), 0));
    }

    #[test]
    fn a_restarted_process_starts_anew() {
        let mut streams = Streams::default();
        assert!(streams.admit(id(9, 7), 0));
        assert!(streams.admit(id(4, 0), 0));
        assert!(streams.admit(id(4, 0), 1));
    }

    #[test]
    fn a_broken_stream_stays_broken() {
        let mut streams = Streams::default();
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
