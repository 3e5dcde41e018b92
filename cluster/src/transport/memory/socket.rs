//! A simulated connection's two halves, as the byte streams that the transport reads and writes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::world::{Fate, SOCKET_BUFFER, World};
use crate::transport::door::Socket;
use crate::types::NodeId;

/// Reads what the other end wrote, once it is due.
struct Reader {
    end: End,
    /// When the first chunk arrives.
    due: Pin<Box<Sleep>>,
}

/// Writes towards the other end.
struct Writer(End);

/// A place at a connection: `pipe` is the direction this half reads or writes.
struct End {
    world: Arc<Mutex<World>>,
    connection: u64,
    pipe: usize,
}

/// Dials: refused where nobody listens, never answered where the way is cut.
pub(crate) async fn connect(world: Arc<Mutex<World>>, from: NodeId, to: NodeId) -> io::Result<Socket> {
    let there = world.lock().draw_delay();
    tokio::time::sleep(there).await;
    let opened = {
        let mut locked = world.lock();
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
        return std::future::pending().await;
    };
    let near = socket(&world, connection, 0, to);
    let far = socket(&world, connection, 1, from);
    listener
        .try_send(far)
        .map_err(|_| io::ErrorKind::ConnectionRefused)?;
    tokio::time::sleep(back).await;
    Ok(near)
}

/// One end of a connection: it writes pipe `end` and reads the other one.
fn socket(world: &Arc<Mutex<World>>, connection: u64, end: usize, peer: NodeId) -> Socket {
    let place = |pipe| End {
        world: Arc::clone(world),
        connection,
        pipe,
    };
    Socket {
        reader: Box::new(Reader {
            end: place(1 - end),
            due: Box::pin(sleep_until(Instant::now())),
        }),
        writer: Box::new(Writer(place(end))),
        from: format!("memory:{peer}"),
    }
}

// === impl Reader ===

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Reader { end, due } = &mut *self;
        loop {
            let arrives = {
                let mut world = end.world.lock();
                let Some(ends) = world.connection(end.connection).map(|connection| connection.ends) else {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                };
                let held = world.is_blocked(ends[end.pipe], ends[1 - end.pipe]);
                let connection = world
                    .connection(end.connection)
                    .expect("looked up under this lock");
                let pipe = &mut connection.pipes[end.pipe];
                if connection.fate == Fate::Reset {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                match pipe.chunks.front_mut() {
                    Some((arrives, chunk)) if !held => {
                        if *arrives <= Instant::now() {
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
                            pipe.writer.take().into_iter().for_each(|writer| writer.wake());
                            return Poll::Ready(Ok(()));
                        }
                        *arrives
                    }
                    _ => {
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

impl Drop for Reader {
    fn drop(&mut self) {
        let mut world = self.end.world.lock();
        let Some(connection) = world.connection(self.end.connection) else {
            return;
        };
        let pipe = &mut connection.pipes[self.end.pipe];
        pipe.read_closed = true;
        pipe.chunks.clear();
        pipe.writer.take().into_iter().for_each(|writer| writer.wake());
        world.tidy(self.end.connection);
    }
}

// === impl Writer ===

impl Writer {
    /// Says that nothing follows.
    fn close(&self) {
        let mut world = self.0.world.lock();
        let delay = world.draw_delay();
        let Some(connection) = world.connection(self.0.connection) else {
            return;
        };
        let live = connection.fate == Fate::Live;
        let pipe = &mut connection.pipes[self.0.pipe];
        if live && !pipe.write_closed && !pipe.read_closed {
            pipe.send(Bytes::new(), delay);
        }
        pipe.write_closed = true;
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let end = &self.0;
        let mut world = end.world.lock();
        let (fate, delay) = (world.draw_fate(), world.draw_delay());
        let Some(ends) = world.connection(end.connection).map(|connection| connection.ends) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let deaf = world.is_blocked(ends[1 - end.pipe], ends[end.pipe]);
        let connection = world
            .connection(end.connection)
            .expect("looked up under this lock");
        if connection.fate == Fate::Live && fate != Fate::Live {
            connection.end(fate);
        }
        if connection.fate == Fate::Reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let (swallowed, pipe) = (
            connection.fate == Fate::BlackHole,
            &mut connection.pipes[end.pipe],
        );
        let room = SOCKET_BUFFER.saturating_sub(pipe.bytes).min(buf.len());
        if room == 0 {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
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

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
        self.0.world.lock().tidy(self.0.connection);
    }
}
