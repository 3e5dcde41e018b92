//! Step 8, on a connection: the loops that move frames between queues and a socket.
//!
//! A connection is one task that polls a reader, a writer and a watch on the peer's signs of life. The writer takes
//! everything queued and writes it at once; the reader reads whatever has arrived and handles every whole frame of it.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::answers::Answers;
use super::frame::{Batch, Frame, FrameError};
use super::metrics::LaneMetrics;

/// Most bytes taken from a queue for one write: enough to make system calls rare, little enough that a broken link
/// leaves few calls in doubt.
const WRITE_BATCH: usize = 256 << 10;

/// Size of a read. Bodies are slices of it.
const READ_CHUNK: usize = 64 << 10;

/// Reads after which the reader lets the writer, which shares its task, have a turn.
const READS: u64 = 16;

/// Slices handed to the socket in one vectored write.
const SLICES: usize = 64;

pub(crate) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

/// Frames that wait for a writer.
pub(crate) trait Outbox: Send + Sync {
    /// Moves frames of at least one and up to about `limit` bytes out of the queue. Returns what to hand to
    /// [`written`](Outbox::written).
    fn take(&self, frames: &mut Vec<Frame>, limit: usize) -> usize;
    /// What was taken is with the socket.
    fn written(&self, release: usize);
    /// Rings when the queue is no longer empty.
    fn wake(&self) -> &Notify;
}

/// The reading half of a connection, as frames.
pub(crate) struct FrameReader {
    socket: ReadHalf,
    buf: BytesMut,
    max_body: usize,
}

/// Signs of life on a connection, in both directions, since somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    heard: AtomicBool,
    spoke: AtomicBool,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("corrupt frame: {0}")]
    Corrupt(#[from] FrameError),
    #[error("unexpected frame")]
    Unexpected,
    #[error("silence")]
    Silence,
    #[error("the answers were not read")]
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

    /// Sets another cap: a peer that has proved itself may send larger frames.
    pub(crate) fn set_max_body(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    /// The next frame that has arrived whole.
    pub(crate) fn pop(&mut self) -> Result<Option<Frame>, FrameError> {
        Frame::decode(&mut self.buf, self.max_body)
    }

    /// Waits for more bytes, and returns how many came.
    ///
    /// # Errors
    /// The connection broke, or the other side closed it (`UnexpectedEof`).
    pub(crate) async fn fill(&mut self) -> Result<usize, Ended> {
        let whole = Frame::extent(&self.buf, self.max_body)?.unwrap_or(0);
        let missing = whole.saturating_sub(self.buf.len());
        if missing > self.buf.capacity() - self.buf.len() {
            self.buf.reserve(missing.max(READ_CHUNK));
        } else if self.buf.capacity() - self.buf.len() < READ_CHUNK / 4 {
            self.buf.reserve(READ_CHUNK);
        }
        match self.socket.read_buf(&mut self.buf).await? {
            0 => Err(Ended::Io(io::ErrorKind::UnexpectedEof.into())),
            n => Ok(n),
        }
    }

    /// The next frame, waiting for it.
    pub(crate) async fn next(&mut self) -> Result<Frame, Ended> {
        loop {
            if let Some(frame) = self.pop()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Hands every frame to `handle` as it arrives, until the connection ends. Reads no further while `answers` are
    /// over their bound.
    pub(crate) async fn run(
        &mut self,
        pulse: &Pulse,
        metrics: &LaneMetrics,
        answers: Option<&Answers>,
        mut handle: impl FnMut(Frame) -> Result<(), Ended>,
    ) -> Ended {
        for turn in 1_u64.. {
            let mut frames = 0;
            loop {
                match self.pop() {
                    Ok(Some(frame)) => {
                        frames += 1;
                        if let Err(ended) = handle(frame) {
                            return ended;
                        }
                    }
                    Ok(None) => break,
                    Err(corrupt) => return corrupt.into(),
                }
            }
            metrics.received_frames.inc_by(frames);
            if let Some(answers) = answers
                && !answers.has_room().await
            {
                return Ended::Overflow;
            }
            if turn.is_multiple_of(READS) {
                tokio::task::yield_now().await;
            }
            match self.fill().await {
                Ok(n) => metrics.received_bytes.inc_by(n as u64),
                Err(ended) => return ended,
            };
            pulse.heard.store(true, Ordering::Relaxed);
        }
        Ended::Stopped
    }
}

// === impl Pulse ===

impl Pulse {
    /// Returns when nothing was heard for about `silence`. Each `every` in which one direction was quiet, it calls
    /// `ask`. Counts ticks and not time, so that a process that was stopped does not take its peers for dead.
    pub(crate) async fn watch(&self, every: Duration, silence: Duration, ask: impl Fn()) -> Ended {
        let patience = silence.as_millis().div_ceil(every.as_millis().max(1)).max(2);
        let mut quiet = 0;
        loop {
            tokio::time::sleep(every).await;
            let heard = self.heard.swap(false, Ordering::Relaxed);
            let spoke = self.spoke.swap(false, Ordering::Relaxed);
            quiet = if heard { 0 } else { quiet + 1 };
            if quiet >= patience {
                return Ended::Silence;
            }
            if !heard || !spoke {
                ask();
            }
        }
    }
}

/// Writes what the outbox holds, as it comes. Returns when the socket fails or, once `stop` is cancelled, when the
/// outbox is empty.
pub(crate) async fn write_all_of(
    outbox: &impl Outbox,
    mut socket: WriteHalf,
    pulse: &Pulse,
    metrics: &LaneMetrics,
    stop: &CancellationToken,
) -> Ended {
    let mut frames = Vec::new();
    let mut batch = Batch::default();
    let mut chunks = Vec::new();
    loop {
        let release = outbox.take(&mut frames, WRITE_BATCH);
        if frames.is_empty() {
            tokio::select! {
                biased;
                () = outbox.wake().notified() => continue,
                () = stop.cancelled() => {
                    // Says goodbye; a peer that cannot hear it notices by itself.
                    drop(socket.shutdown().await);
                    return Ended::Stopped;
                }
            }
        }
        frames.drain(..).for_each(|frame| batch.push(frame));
        let count = batch.frames;
        chunks.extend(batch.finish());
        match write_chunks(&mut socket, &mut chunks).await {
            Ok(bytes) => metrics.sent_bytes.inc_by(bytes),
            Err(error) => return error.into(),
        };
        metrics.sent_frames.inc_by(count);
        pulse.spoke.store(true, Ordering::Relaxed);
        outbox.written(release);
    }
}

/// Writes the chunks in order and empties the list. Returns how many bytes that were.
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
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        total += written as u64;
        while first < chunks.len() && written >= chunks[first].len() {
            written -= chunks[first].len();
            first += 1;
        }
        if written > 0 {
            chunks[first].advance(written);
        }
    }
    chunks.clear();
    Ok(total)
}
