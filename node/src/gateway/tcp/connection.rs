//! Connection of a TCP listener: reader and writer beside each other, within the limits of an HTTP connection.
//!
//! ```text
//! accepted ── first bytes ──► client permit ──► reader ─► handler      writer ◄─ outbound queue
//!     │                            │                 until the client or the session ends it
//!     └─ none in time: cut         └─ none free: cut
//! ```

use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{StreamHandler, TcpProtocol};
use crate::gateway::client_stream::ClientStream;
use crate::gateway::unauthenticated::UnauthenticatedConnections;
use crate::gateway::websocket::{Meter, SessionOver};
use crate::session::messages::Disconnect;
use crate::session::{CloseSocket, ConnectionHandle, Framing, OutboundQueue, QueueBounds, WorkerContext};
use crate::telemetry::metrics::ServerMetrics;

/// Bytes of the first read, and of a read of a client that sends little. Idle clients hold a buffer of this size.
const LEAST_READ: usize = 1_024;
/// Maximum bytes of one read.
const MOST_READ: usize = 16_384;
/// Time to read on after the end of the output, so that the client receives the last bytes instead of a reset.
const LINGER: Duration = Duration::from_secs(1);

/// Reading half of a connection.
struct StreamReader<H> {
    link: Rc<ConnectionHandle>,
    handler: H,
    meter: Meter,
    metrics: ServerMetrics,
}

/// Writing half of a connection.
struct StreamWriter<F> {
    link: Rc<ConnectionHandle>,
    framing: F,
    metrics: ServerMetrics,
}

/// Serves one connection until it ends. `stopping` resolves when the node stops.
pub(in crate::gateway) async fn serve_connection<P: TcpProtocol>(
    mut stream: ClientStream,
    worker: Rc<WorkerContext>,
    greetings: UnauthenticatedConnections,
    protocol: P,
    stopping: impl Future<Output = ()>,
) {
    let connection = stream.io().connection();
    let unidentified = async {
        tokio::select! {
            () = tokio::time::sleep(worker.config.tuning.auth_timeout.0) => {}
            () = stopping => {}
        }
    };
    tokio::pin!(unidentified);
    let mut bytes = Vec::with_capacity(LEAST_READ);
    let read = tokio::select! {
        read = stream.read_buf(&mut bytes) => read,
        () = &mut unidentified => return,
    };
    // A permit is acquired only by a client that has sent something.
    if !read.is_ok_and(|bytes| bytes > 0) || !connection.asks_as_client() {
        return;
    }
    // The connections of a proxy belong to many clients: only the permits bound them.
    let greeting = connection.address().map(|address| greetings.begin(address));
    if matches!(greeting, Some(None)) {
        return;
    }
    connection.upgrade(greeting.flatten());
    let socket = Rc::downgrade(&connection);
    let link = ConnectionHandle::new(OutboundQueue::new(QueueBounds::from(&*worker.config)), socket);
    let (handler, framing) = protocol.accept(&worker, &link);
    let metrics = &worker.metrics;
    let reader = StreamReader {
        link: link.clone(),
        handler,
        meter: Meter::new(&worker.config, Instant::now()),
        metrics: metrics.clone(),
    };
    let writer = StreamWriter {
        link: link.clone(),
        framing,
        metrics: metrics.clone(),
    };
    let (mut input, output) = tokio::io::split(stream);
    {
        let served = async {
            tokio::join!(reader.run(bytes, &mut input), async {
                if !writer.run(output).await {
                    // Ends the reader, which reports the loss to the session.
                    connection.cut();
                }
            });
        };
        tokio::pin!(served);
        tokio::select! {
            () = &mut served => {}
            () = &mut unidentified => {
                // An identified client is closed by its session, with the reason.
                if !link.is_identified() {
                    connection.cut();
                }
                served.as_mut().await;
            }
        }
    }
    let rest = async { while input.read(&mut [0; 512]).await.is_ok_and(|bytes| bytes > 0) {} };
    let _elapsed = tokio::time::timeout(LINGER, rest).await;
}

/// Returns the size of the next read: larger than the last one if that filled its buffer.
fn next_read(last: usize) -> usize {
    (last * 2).clamp(LEAST_READ, MOST_READ)
}

// === impl StreamReader ===

impl<H: StreamHandler> StreamReader<H> {
    /// Handles `bytes`, then reads until the connection or the session ends.
    async fn run(mut self, mut bytes: Vec<u8>, input: &mut (impl AsyncRead + Unpin)) {
        let disconnect = loop {
            self.link.on_received();
            self.metrics.bytes_in.inc_by(bytes.len() as u64);
            let received = self.handler.receive(&bytes, &mut self.meter);
            if bytes.len() == bytes.capacity() && !self.handler.is_pending() {
                // More bytes wait, and nothing here does. A client with endless input would starve the thread's other
                // connections.
                tokio::task::yield_now().await;
            }
            if self.pace().await.is_err() {
                return;
            }
            if let Err(code) = received {
                break Disconnect::Broken(code);
            }
            let next = next_read(bytes.len());
            bytes.clear();
            if bytes.capacity() != next {
                bytes = Vec::with_capacity(next);
            }
            match self.read(&mut bytes, input).await {
                Ok(true) => {}
                Ok(false) => break Disconnect::Lost,
                Err(SessionOver) => return,
            }
        };
        self.handler.end(disconnect).await;
    }

    /// Reads the next bytes, and meanwhile flushes what no bytes of the client caused. Returns false at the end of the
    /// stream.
    async fn read(
        &mut self,
        bytes: &mut Vec<u8>,
        input: &mut (impl AsyncRead + Unpin),
    ) -> Result<bool, SessionOver> {
        loop {
            tokio::select! {
                read = input.read_buf(bytes) => return Ok(read.is_ok_and(|bytes| bytes > 0)),
                () = self.handler.requested() => {}
                // Without this branch, an idle client would keep the task until the TCP connection ends.
                () = self.link.closing() => return Err(SessionOver),
            }
            self.pace().await?;
        }
    }

    /// Waits until the handler has accepted its packets and the meter's delay has passed.
    async fn pace(&mut self) -> Result<(), SessionOver> {
        if !self.handler.is_pending() {
            return Ok(());
        }
        // While the session holds the reader, the client's silence must not count towards the idle timeout.
        self.link.hold(true);
        self.handler.flush().await?;
        self.meter.wait(&self.link).await?;
        self.link.hold(false);
        Ok(())
    }
}

// === impl StreamWriter ===

impl<F: Framing> StreamWriter<F> {
    /// Writes queued output until its end. Returns false if the connection was lost.
    async fn run(self, mut output: impl AsyncWrite + Unpin) -> bool {
        while let Some(piece) = poll_fn(|cx| self.link.poll_piece(cx, &self.framing)).await {
            self.metrics.writes.inc();
            self.metrics.frames_out.inc_by(piece.frames);
            self.metrics.bytes_out.inc_by(piece.bytes.len() as u64);
            // TLS may hold the last bytes back.
            if output.write_all(&piece.bytes).await.is_err() || output.flush().await.is_err() {
                self.link.on_unread();
                return false;
            }
        }
        // An error means that the client has closed the connection already.
        let _closed = output.shutdown().await;
        true
    }
}
