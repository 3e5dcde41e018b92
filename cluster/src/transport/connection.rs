//! Loops of a connection: the tasks that move frames between queues and a socket.
//!
//! Path of a message: step 4 of 13.
//!
//! A connection is one task that polls a reader, a writer and a keepalive. The writer takes all queued frames and
//! writes them at once. The reader reads all bytes that have arrived and handles every complete frame.
//!
//! Previous: [`outgoing_queue`](super::outgoing_queue). Next: [`listener`](super::listener) at the other node.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::frame::{FrameBatch, FrameError, TransportFrame};
use super::metrics::ClassMetrics;

/// Maximum bytes taken from a queue for one write: large enough for few system calls, small enough that a broken
/// connection leaves few calls with an unknown outcome.
const WRITE_BATCH: usize = 256 << 10;

/// Size of a read buffer. Bodies are slices of it.
const READ_CHUNK: usize = 64 << 10;

/// Number of reads after which the reader yields to the writer, which shares its task.
const READS: u64 = 16;

/// Maximum number of slices in one vectored write.
const SLICES: usize = 64;

pub(crate) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Source of the frames that a writer sends.
pub(crate) trait FrameSource: Send + Sync {
    /// Moves frames out of the queue: at least one if there is any, and up to about `limit` bytes. Returns the value to
    /// pass to [`written`](FrameSource::written).
    fn take(&self, frames: &mut Vec<TransportFrame>, limit: usize) -> usize;
    /// Releases the bytes of frames that were passed to the socket.
    fn written(&self, release: usize);
    /// Notified when the queue is no longer empty.
    fn wake(&self) -> &Notify;
}

/// Receiver of the frames that a reader has decoded.
pub(crate) trait FrameSink: Sync {
    /// Handles one frame. An error ends the connection.
    fn receive(&self, frame: TransportFrame) -> Result<(), CloseCause>;

    /// Waits until further frames may be read. Returns false if the connection must end.
    fn has_room(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }
}

/// Reading half of a connection, as frames.
pub(crate) struct FrameReader {
    socket: ReadHalf,
    buf: BytesMut,
    max_body: usize,
}

/// Activity on a connection in both directions since the last check.
#[derive(Debug, Default)]
pub(crate) struct Keepalive {
    received: AtomicBool,
    spoke: AtomicBool,
}

/// Reason for the end of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloseCause {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("corrupt frame: {0}")]
    Corrupt(#[from] FrameError),
    #[error("unexpected frame")]
    Unexpected,
    #[error("peer timeout")]
    PeerTimeout,
    #[error("the peer does not read responses")]
    Overflow,
    #[error("replaced by a newer connection")]
    Replaced,
    #[error("stopped")]
    Stopped,
}

// === impl FrameReader ===

impl FrameReader {
    pub(crate) fn new(socket: ReadHalf, max_body: usize) -> FrameReader {
        FrameReader {
            socket,
            buf: BytesMut::new(),
            max_body,
        }
    }

    /// Sets another limit of the body size; an authenticated peer may send larger frames.
    pub(crate) fn set_max_body(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    /// Returns the next frame that has arrived completely.
    pub(crate) fn pop(&mut self) -> Result<Option<TransportFrame>, FrameError> {
        TransportFrame::decode(&mut self.buf, self.max_body)
    }

    /// Waits for more bytes and returns their number.
    ///
    /// # Errors
    /// If the connection broke or the other side closed it (`UnexpectedEof`).
    pub(crate) async fn fill(&mut self) -> Result<usize, CloseCause> {
        let whole = TransportFrame::extent(&self.buf, self.max_body)?.unwrap_or(0);
        // One allocation for the rest of a large frame, instead of growing the buffer with each read.
        let missing = whole.saturating_sub(self.buf.len());
        if missing > self.buf.capacity() - self.buf.len() {
            self.buf.reserve(missing.max(READ_CHUNK));
        } else if self.buf.capacity() - self.buf.len() < READ_CHUNK / 4 {
            self.buf.reserve(READ_CHUNK);
        }
        match self.socket.read_buf(&mut self.buf).await? {
            0 => Err(CloseCause::Io(io::ErrorKind::UnexpectedEof.into())),
            n => Ok(n),
        }
    }

    /// Waits for the next frame.
    pub(crate) async fn next(&mut self) -> Result<TransportFrame, CloseCause> {
        loop {
            if let Some(frame) = self.pop()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Passes every frame to `sink` as it arrives, until the connection ends. Reads no further while the sink has no
    /// room.
    pub(crate) async fn run(
        &mut self,
        keepalive: &Keepalive,
        metrics: &ClassMetrics,
        sink: &impl FrameSink,
    ) -> CloseCause {
        for turn in 1_u64.. {
            let mut frames = 0;
            loop {
                match self.pop() {
                    Ok(Some(frame)) => {
                        frames += 1;
                        if let Err(ended) = sink.receive(frame) {
                            return ended;
                        }
                    }
                    Ok(None) => break,
                    Err(corrupt) => return corrupt.into(),
                }
            }
            metrics.received_frames.inc_by(frames);
            if !sink.has_room().await {
                return CloseCause::Overflow;
            }
            // The reader always finds data on a busy connection. Without this the writer would starve.
            if turn.is_multiple_of(READS) {
                tokio::task::yield_now().await;
            }
            match self.fill().await {
                Ok(n) => metrics.received_bytes.inc_by(n as u64),
                Err(ended) => return ended,
            };
            // Any bytes count, also a part of a frame: a slow transfer is not a dead peer.
            keepalive.received.store(true, Ordering::Relaxed);
        }
        CloseCause::Stopped
    }
}

// === impl Keepalive ===

impl Keepalive {
    /// Returns when nothing was received for about `timeout`. After each interval `every` in which one direction was
    /// idle, it calls `ask`. It counts intervals instead of time, so that a process that was stopped does not close its
    /// connections when it continues.
    pub(crate) async fn watch(&self, every: Duration, timeout: Duration, ask: impl Fn()) -> CloseCause {
        // At least two intervals: a ping needs time for its pong.
        let patience = timeout.as_millis().div_ceil(every.as_millis().max(1)).max(2);
        let mut quiet = 0;
        loop {
            tokio::time::sleep(every).await;
            let received = self.received.swap(false, Ordering::Relaxed);
            let spoke = self.spoke.swap(false, Ordering::Relaxed);
            quiet = if received { 0 } else { quiet + 1 };
            if quiet >= patience {
                return CloseCause::PeerTimeout;
            }
            if !received || !spoke {
                ask();
            }
        }
    }
}

/// Writes the frames of the queue as they come. Returns when the socket fails or, once `stop` is cancelled, when the
/// queue is empty.
pub(crate) async fn write_all_of(
    source: &impl FrameSource,
    mut socket: WriteHalf,
    keepalive: &Keepalive,
    metrics: &ClassMetrics,
    stop: &CancellationToken,
) -> CloseCause {
    let mut frames = Vec::new();
    let mut batch = FrameBatch::default();
    let mut chunks = Vec::new();
    loop {
        let release = source.take(&mut frames, WRITE_BATCH);
        if frames.is_empty() {
            tokio::select! {
                // Biased towards the queue: after a stop, frames that are already queued are still written.
                biased;
                () = source.wake().notified() => continue,
                () = stop.cancelled() => {
                    // Ends the stream properly; if that fails, the peer detects the end by its timeout.
                    drop(socket.shutdown().await);
                    return CloseCause::Stopped;
                }
            }
        }
        frames.drain(..).for_each(|frame| batch.push(frame));
        // Read before `finish`, which resets it.
        let count = batch.frames;
        chunks.extend(batch.finish());
        match write_chunks(&mut socket, &mut chunks).await {
            Ok(bytes) => metrics.sent_bytes.inc_by(bytes),
            Err(error) => return error.into(),
        };
        metrics.sent_frames.inc_by(count);
        keepalive.spoke.store(true, Ordering::Relaxed);
        // Only now: bytes that are not with the socket yet still count against the bound.
        source.written(release);
    }
}

/// Writes the chunks in order and empties the list. Returns the number of bytes.
async fn write_chunks(socket: &mut WriteHalf, chunks: &mut Vec<Bytes>) -> io::Result<u64> {
    let mut total = 0;
    let mut first = 0;
    while first < chunks.len() {
        let mut written = if socket.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = chunks[first..]
                .iter()
                .zip(&mut slices)
                .map(|(chunk, s)| *s = IoSlice::new(chunk))
                .count();
            socket.write_vectored(&slices[..count]).await?
        } else {
            socket.write(&chunks[first]).await?
        };
        // A socket that accepts nothing would make this loop endless.
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        total += written as u64;
        // A write may end anywhere: skip the complete chunks, then the written part of the next one.
        while first < chunks.len() && written >= chunks[first].len() {
            written -= chunks[first].len();
            first += 1;
        }
        if written > 0 {
            chunks[first].advance(written);
        }
    }
    chunks.clear();
    // TLS may hold the last bytes back.
    socket.flush().await?;
    Ok(total)
}
