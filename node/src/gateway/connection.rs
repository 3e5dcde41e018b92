//! TCP socket under an HTTP connection: socket options, connection permit, and a handle that can close it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission;
use super::connection_limit::{ConnectionLimiter, ConnectionPermit, UNKNOWN_BYTES};
use super::unauthenticated::UnauthenticatedGuard;
use super::unserved::Unserved;
use crate::config::Config;
use crate::session::CloseSocket;

/// Delay before a connection is closed that sends too much unidentified data. It gives the client time to read the
/// refusal.
const PATIENCE: Duration = Duration::from_secs(2);
/// Silence after which the kernel probes whether the peer is still there. [`USER_TIMEOUT`] later a dead connection ends,
/// also that of a protocol whose client has agreed on no keep-alive.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// Time after which the kernel drops a connection whose sent data stays unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections of one worker thread.
pub(super) type ThreadConnections = Rc<RefCell<Unserved<Weak<TrackedConnection>>>>;

/// Connection of a client.
///
/// The HTTP server holds the only strong handle, in an [`Io`], and may keep it forever for a client that never reads. A
/// weak handle can close the socket. A duplicated socket would cost a second file descriptor.
pub struct TrackedConnection {
    stream: RefCell<TcpStream>,
    permit: ConnectionPermit,
    /// Address for counting; `None` if the peer is a trusted proxy.
    address: Option<IpAddr>,
    all: ThreadConnections,
    /// Position in the eviction order; `None` while the connection holds a client permit.
    turn: Cell<Option<u64>>,
    /// Set after the client was authenticated.
    identified: Cell<bool>,
    /// Set after an upgrade; the WebSocket applies its own bounds.
    upgraded: Cell<bool>,
    /// Bytes read since the last request was dispatched.
    unasked: Cell<usize>,
    overrun: Cell<bool>,
    /// Waker of a read that is suspended by the byte bound.
    reader: RefCell<Option<Waker>>,
    ended: Cell<bool>,
    greeting: RefCell<Option<UnauthenticatedGuard>>,
}

/// I/O object of the HTTP server.
pub(super) struct Io(Rc<TrackedConnection>);

// === impl TrackedConnection ===

impl TrackedConnection {
    /// Returns the handle for closing the connection of a request.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Weak<dyn CloseSocket> {
        match request.conn_data::<Weak<TrackedConnection>>() {
            Some(connection) => connection.clone(),
            None => Weak::<TrackedConnection>::new(),
        }
    }

    /// Returns the connection of a request.
    pub(super) fn under(request: &HttpRequest) -> Option<Rc<TrackedConnection>> {
        request.conn_data::<Weak<TrackedConnection>>()?.upgrade()
    }

    /// Returns the address that the connection is counted under, or `None` if the peer is a trusted proxy.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    pub(super) fn permit(&self) -> &ConnectionPermit {
        &self.permit
    }

    /// Returns `true` after the client was authenticated.
    pub(super) fn is_identified(&self) -> bool {
        self.identified.get()
    }

    /// Acquires a client permit for a request. Returns `false` if none is free or the connection was evicted.
    pub(super) fn asks_as_client(&self) -> bool {
        // The request was dispatched: its bytes no longer count as data of an unidentified client.
        self.unasked.set(0);
        let Some(turn) = self.turn.get() else {
            return self.permit.take();
        };
        if !self.permit.take() {
            return false;
        }
        if self.all.borrow_mut().remove(turn).is_none() {
            // Evicted since the request was read, and about to be closed: the permit would be lost until then.
            self.permit.give_back();
            return false;
        }
        self.turn.set(None);
        true
    }

    /// Registers a request of an operator or probe: the connection becomes the last in the eviction order.
    pub(super) fn asks_as_operator(self: &Rc<Self>) {
        self.unasked.set(0);
        if let Some(turn) = self.turn.get() {
            let mut all = self.all.borrow_mut();
            if all.remove(turn).is_some() {
                self.turn.set(Some(all.add(self.address, Rc::downgrade(self))));
            }
        }
    }

    /// Releases the permit after a response if the client is still unidentified.
    pub(super) fn is_answered(self: &Rc<Self>) {
        if !self.identified.get() && !self.upgraded.get() && self.turn.get().is_none() {
            self.permit.give_back();
            let turn = self.all.borrow_mut().add(self.address, Rc::downgrade(self));
            self.turn.set(Some(turn));
        }
    }

    /// Marks the connection as upgraded. `greeting` counts it as unauthenticated until the client is identified.
    pub(super) fn upgrade(&self, greeting: Option<UnauthenticatedGuard>) {
        self.upgraded.set(true);
        self.greeting.replace(greeting);
        self.wake_reader();
    }

    /// Counts bytes read. If an unidentified client exceeds the bound, reading is suspended and the connection closed
    /// after [`PATIENCE`], unless the client is identified by then.
    fn has_read(self: &Rc<Self>, bytes: usize) {
        self.unasked.set(self.unasked.get().saturating_add(bytes));
        if self.reads_on() || self.overrun.replace(true) {
            return;
        }
        let connection = Rc::downgrade(self);
        // Detached on purpose: it ends by itself, holds no strong handle, and is spawned once per connection.
        actix_web::rt::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            // Its first request may have been read together with the data behind it, and dispatched only afterwards.
            if let Some(connection) = connection.upgrade()
                && !connection.is_unbounded()
            {
                connection.cut();
            }
        });
    }

    /// Returns `true` if the bound on unidentified bytes does not apply.
    fn is_unbounded(&self) -> bool {
        self.identified.get() || self.upgraded.get()
    }

    fn reads_on(&self) -> bool {
        self.is_unbounded() || self.unasked.get() < UNKNOWN_BYTES
    }

    /// Wakes a suspended read, which is not registered with the socket.
    fn wake_reader(&self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl CloseSocket for TrackedConnection {
    fn cut(&self) {
        // An error means that the socket is closed already.
        let _closed = SockRef::from(&*self.stream.borrow()).shutdown(Shutdown::Both);
        self.ended.set(true);
        // The shutdown alone would not wake a suspended read.
        self.wake_reader();
    }

    fn identified(&self) {
        self.identified.set(true);
        self.greeting.take();
        // Without the wake-up, data behind the request that identified the client would never be read.
        self.wake_reader();
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        // The slot becomes free only here, when the socket closes, and not at the eviction.
        self.all.borrow_mut().close(self.turn.get());
    }
}

// === impl Io ===

impl Io {
    /// Wraps an accepted socket: sets its options and evicts other connections if the thread holds too many.
    pub(super) fn accepted(
        stream: TcpStream,
        config: &Config,
        limiter: &ConnectionLimiter,
        all: &ThreadConnections,
    ) -> Io {
        let socket = SockRef::from(&stream);
        // Best effort: an option that the system lacks leaves the connection usable.
        let _unknown = socket.set_tcp_nodelay(true);
        let _unknown = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let probes = TcpKeepalive::new()
            .with_time(PROBE_AFTER)
            .with_interval(PROBE_INTERVAL);
        let _unknown = socket.set_tcp_keepalive(&probes);
        // A small kernel buffer keeps unsent frames in the outbound queue, where a slow consumer is detected.
        let unsent = u32::try_from(config.tuning.unsent_size.0).unwrap_or(u32::MAX);
        let _unknown = socket.set_tcp_notsent_lowat(unsent);
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let connection = Rc::new(TrackedConnection {
            // Counted as open from here on; the permit is acquired with the first request.
            stream: RefCell::new(stream),
            permit: limiter.accept(),
            address: peer.and_then(|peer| admission::direct(peer, &config.server)),
            all: all.clone(),
            turn: Cell::new(None),
            identified: Cell::new(false),
            upgraded: Cell::new(false),
            unasked: Cell::new(0),
            overrun: Cell::new(false),
            reader: RefCell::default(),
            ended: Cell::new(false),
            greeting: RefCell::default(),
        });
        let handle = Rc::downgrade(&connection);
        let (turn, ended) = all.borrow_mut().accept(connection.address, handle);
        connection.turn.set(Some(turn));
        for connection in ended.iter().filter_map(Weak::upgrade) {
            connection.cut();
        }
        Io(connection)
    }

    pub(super) fn connection(&self) -> Rc<TrackedConnection> {
        self.0.clone()
    }

    /// Returns the peer's address, or `None` if the socket is closed.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.0.stream.borrow().peer_addr().ok()
    }

    /// Stores a handle in the connection's extensions, where its requests find it.
    pub(super) fn promote(&self, extensions: &mut Extensions) {
        extensions.insert(Rc::downgrade(&self.0));
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.0.reads_on() {
            // A response in progress is still written. After `cut`, an empty read signals the end of the stream.
            if self.0.ended.get() {
                return Poll::Ready(Ok(()));
            }
            self.0.reader.replace(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buffer);
        self.0.has_read(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::rt::net::TcpListener;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    use super::*;
    use crate::gateway::connection_limit::FileLimit;

    /// Client side and server side of a connection whose client has sent `UNKNOWN_BYTES` that were read.
    async fn overrun() -> (TcpStream, Io) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let limiter = ConnectionLimiter::new(FileLimit {
            clients: 2,
            overflow: 2,
            tables: 64,
            lowered: false,
        });
        let all = Rc::new(RefCell::new(Unserved::new(2, 2)));
        let mut io = Io::accepted(accepted.unwrap().0, &Config::default(), &limiter, &all);
        let mut client = client.unwrap();
        client.write_all(&[1; UNKNOWN_BYTES]).await.unwrap();
        io.read_exact(&mut [0; UNKNOWN_BYTES]).await.unwrap();
        client.write_all(b"more").await.unwrap();
        (client, io)
    }

    #[tokio::test(start_paused = true)]
    async fn unidentified_client_is_cut_after_too_many_bytes() {
        LocalSet::new()
            .run_until(async {
                let (_client, mut io) = overrun().await;
                // The read is suspended, and the empty read of the cut connection ends it.
                assert_eq!(io.read(&mut [0; 9]).await.unwrap(), 0);
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn silent_peer_is_probed() {
        LocalSet::new()
            .run_until(async {
                let (_client, io) = overrun().await;
                let stream = io.0.stream.borrow();
                let socket = SockRef::from(&*stream);
                assert!(socket.keepalive().unwrap());
                assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
                assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn client_identified_in_time_is_read_on_and_not_cut() {
        for upgrades in [false, true] {
            LocalSet::new()
                .run_until(async {
                    let (mut client, mut io) = overrun().await;
                    let connection = io.0.clone();
                    let reader = actix_web::rt::spawn(async move {
                        let mut more = [0; 4];
                        io.read_exact(&mut more).await.map(|_| (more, io))
                    });
                    // The reader is suspended before the client is identified.
                    tokio::task::yield_now().await;
                    if upgrades {
                        connection.upgrade(None);
                    } else {
                        connection.identified();
                    }
                    let (more, mut io) = reader.await.unwrap().unwrap();
                    assert_eq!(&more, b"more");
                    tokio::time::sleep(PATIENCE * 2).await;
                    client.write_all(b"last").await.unwrap();
                    io.read_exact(&mut [0; 4]).await.unwrap();
                })
                .await;
        }
    }
}
