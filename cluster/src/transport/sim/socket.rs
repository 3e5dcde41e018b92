//! Halves of a simulated connection, as the byte streams that the transport reads and writes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::network::{SOCKET_BUFFER, SimNetwork, WriteFault};
use crate::ids::NodeId;
use crate::transport::io::IoStream;

/// Reading half: returns the other end's bytes once their delay has passed.
struct PipeReader {
    end: PipeEnd,
    /// Timer of the first chunk's arrival.
    due: Pin<Box<Sleep>>,
}

struct PipeWriter(PipeEnd);

/// One direction at one end of a connection: `pipe` is the direction that this half reads or writes.
struct PipeEnd {
    network: Arc<Mutex<SimNetwork>>,
    connection: u64,
    pipe: usize,
}

/// Connects two nodes. Refused if the target does not listen; never completes if a direction is blocked.
pub(crate) async fn connect(
    network: Arc<Mutex<SimNetwork>>,
    from: NodeId,
    to: NodeId,
) -> io::Result<IoStream> {
    let there = network.lock().draw_delay();
    tokio::time::sleep(there).await;
    let opened = {
        let mut locked = network.lock();
        // Establishing a connection needs both directions, as with TCP.
        if locked.is_blocked(from, to) || locked.is_blocked(to, from) {
            None
        } else {
            let listener = locked
                .listeners
                .get(&to)
                .cloned()
                .ok_or(io::ErrorKind::ConnectionRefused)?;
            let connection = locked.open([from, to]);
            Some((listener, connection, locked.draw_delay()))
        }
    };
    let Some((listener, connection, back)) = opened else {
        // As a lost SYN: only the caller's timeout ends the attempt.
        return std::future::pending().await;
    };
    let near = socket(&network, connection, 0, to);
    let far = socket(&network, connection, 1, from);
    listener
        // A full backlog refuses, so that a node that does not accept cannot collect connections.
        .try_send(far)
        .map_err(|_| io::ErrorKind::ConnectionRefused)?;
    tokio::time::sleep(back).await;
    Ok(near)
}

/// Creates one end of a connection: it writes pipe `end` and reads the other one.
fn socket(network: &Arc<Mutex<SimNetwork>>, connection: u64, end: usize, peer: NodeId) -> IoStream {
    let pipe_end = |pipe| PipeEnd {
        network: Arc::clone(network),
        connection,
        pipe,
    };
    IoStream {
        reader: Box::new(PipeReader {
            end: pipe_end(1 - end),
            due: Box::pin(sleep_until(Instant::now())),
        }),
        writer: Box::new(PipeWriter(pipe_end(end))),
        from: format!("memory:{peer}"),
    }
}

// === impl PipeReader ===

impl AsyncRead for PipeReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let PipeReader { end, due } = &mut *self;
        loop {
            let arrives = {
                let mut network = end.network.lock();
                let Some(ends) = network
                    .connection(end.connection)
                    .map(|connection| connection.ends)
                else {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                };
                let held = network.is_blocked(ends[end.pipe], ends[1 - end.pipe]);
                let connection = network
                    .connection(end.connection)
                    .expect("looked up under this lock");
                let pipe = &mut connection.pipes[end.pipe];
                if connection.fault == WriteFault::Reset {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                match pipe.chunks.front_mut() {
                    Some((arrives, chunk)) if !held => {
                        if *arrives <= Instant::now() {
                            // An empty chunk marks the end. It stays in the pipe, so that every later read reports the
                            // end, too.
                            if chunk.is_empty() {
                                return Poll::Ready(Ok(()));
                            }
                            let n = chunk.len().min(buf.remaining());
                            buf.put_slice(&chunk[..n]);
                            chunk.advance(n);
                            if chunk.is_empty() {
                                pipe.chunks.pop_front();
                            }
                            pipe.bytes -= n;
                            // The writer may be waiting for space.
                            pipe.writer.take().into_iter().for_each(|writer| writer.wake());
                            return Poll::Ready(Ok(()));
                        }
                        *arrives
                    }
                    _ => {
                        // Held data has no time of arrival; unblocking wakes the reader.
                        pipe.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            due.as_mut().reset(arrives);
            ready!(due.as_mut().poll(cx));
        }
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut network = self.end.network.lock();
        let Some(connection) = network.connection(self.end.connection) else {
            return;
        };
        let pipe = &mut connection.pipes[self.end.pipe];
        // The writer must be woken, or it would wait for space without end.
        pipe.read_closed = true;
        pipe.chunks.clear();
        pipe.writer.take().into_iter().for_each(|writer| writer.wake());
        network.tidy(self.end.connection);
    }
}

// === impl PipeWriter ===

impl PipeWriter {
    /// Sends the end of the stream.
    fn close(&self) {
        let mut network = self.0.network.lock();
        let delay = network.draw_delay();
        let Some(connection) = network.connection(self.0.connection) else {
            return;
        };
        let live = connection.fault == WriteFault::Live;
        let pipe = &mut connection.pipes[self.0.pipe];
        // A dead connection delivers nothing, not even its end.
        if live && !pipe.write_closed && !pipe.read_closed {
            pipe.send(Bytes::new(), delay);
        }
        pipe.write_closed = true;
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let end = &self.0;
        let mut network = end.network.lock();
        let (fault, delay) = (network.draw_fault(), network.draw_delay());
        let Some(ends) = network
            .connection(end.connection)
            .map(|connection| connection.ends)
        else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        // Blocked in the opposite direction: errors of the reader cannot reach this writer.
        let deaf = network.is_blocked(ends[1 - end.pipe], ends[end.pipe]);
        let connection = network
            .connection(end.connection)
            .expect("looked up under this lock");
        if connection.fault == WriteFault::Live && fault != WriteFault::Live {
            connection.end(fault);
        }
        if connection.fault == WriteFault::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (swallowed, pipe) = (
            connection.fault == WriteFault::BlackHole,
            &mut connection.pipes[end.pipe],
        );
        let room = SOCKET_BUFFER.saturating_sub(pipe.bytes).min(buf.len());
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // Swallowed bytes fill the buffer like bytes in flight, so the writer of a black hole blocks as with TCP.
        if swallowed || (pipe.read_closed && deaf) {
            pipe.bytes += room;
        } else if pipe.read_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        } else {
            pipe.send(Bytes::copy_from_slice(&buf[..room]), delay);
        }
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close();
        Poll::Ready(Ok(()))
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        self.close();
        self.0.network.lock().tidy(self.0.connection);
    }
}
