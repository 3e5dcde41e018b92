//! Bounds of an outbound queue and of its replay buffer.

use std::time::Duration;

use super::replay_buffer::Capacity;
use crate::config::Config;

/// Queue size per frame: a client that is behind by many small frames is slow, too.
const FRAME_BYTES: usize = 1_024;
/// Replay buffer size per event: an entry costs memory beyond its bytes.
const EVENT_BYTES: usize = 256;
/// Maximum number of frames in one write.
const PIECE_FRAMES: usize = 64;
/// Bytes after which one write ends: a few network packets.
const PIECE_BYTES: usize = 16_384;

/// Limits of a queue, and sizes of one write.
#[derive(Clone, Copy, Debug)]
pub struct QueueBounds {
    /// Maximum number of queued live events.
    pub frames: usize,
    /// Maximum bytes of queued live events; a single event may exceed it.
    pub bytes: usize,
    /// Time within which a second overflow ends the connection.
    pub slow_again: Duration,
    /// Maximum number of frames in one write.
    pub piece_frames: usize,
    /// Bytes from which on no further frame is added to a write.
    pub piece_bytes: usize,
    /// Limits of the events that are kept until the client confirms them.
    pub ring: Capacity,
}

// === impl QueueBounds ===

impl From<&Config> for QueueBounds {
    fn from(config: &Config) -> QueueBounds {
        let queue = config.limits.outbound_queue_size.as_usize();
        let replay = config.limits.replay_buffer_size.as_usize();
        QueueBounds {
            frames: queue / FRAME_BYTES,
            bytes: queue,
            slow_again: config.tuning.slow_again.0,
            piece_frames: PIECE_FRAMES,
            piece_bytes: PIECE_BYTES,
            ring: Capacity {
                events: replay / EVENT_BYTES,
                bytes: replay,
            },
        }
    }
}
