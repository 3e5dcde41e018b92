//! The TCP socket under an HTTP connection: its options, its seat, and a handle that can end it.

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
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::admission;
use super::greetings::Greeting;
use super::seats::{Seat, Seats, UNKNOWN_BYTES};
use super::unserved::Unserved;
use crate::config::Server;
use crate::session::Cut;

/// How long a client may take to notice that it sends too much before it is known.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connections of one thread.
pub(super) type ThreadConnections = Rc<RefCell<Unserved<Weak<Connection>>>>;

/// A connection. The HTTP server holds the one strong handle, in an [`Io`], and may wait on it for ever for a client that
/// never reads; whoever has a weak one can end it. A second handle on the socket would be a second file.
pub struct Connection {
    stream: RefCell<TcpStream>,
    seat: Seat,
    /// Where it comes from, if that is a client and no proxy.
    address: Option<IpAddr>,
    all: ThreadConnections,
    /// Its turn to give way, while it has no client's seat.
    turn: Cell<Option<u64>>,
    /// It is known who is at the other end.
    identified: Cell<bool>,
    /// Another protocol than HTTP is spoken, with bounds of its own.
    upgraded: Cell<bool>,
    /// Bytes that were read since the last request was taken up.
    unasked: Cell<usize>,
    overrun: Cell<bool>,
    /// Who waits to read on, and cannot.
    reader: RefCell<Option<Waker>>,
    ended: Cell<bool>,
    greeting: RefCell<Option<Greeting>>,
}

/// What the HTTP server reads from and writes to.
pub(super) struct Io(Rc<Connection>);

// === impl Connection ===

impl Connection {
    /// The handle of the connection by which a request came.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Weak<dyn Cut> {
        match request.conn_data::<Weak<Connection>>() {
            Some(connection) => connection.clone(),
            None => Weak::<Connection>::new(),
        }
    }

    /// The connection by which a request came.
    pub(super) fn under(request: &HttpRequest) -> Option<Rc<Connection>> {
        request.conn_data::<Weak<Connection>>()?.upgrade()
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Whether it is known who is at the other end.
    pub(super) fn is_identified(&self) -> bool {
        self.identified.get()
    }

    /// A request of a client has come; whether there is a seat for it.
    pub(super) fn asks_as_client(&self) -> bool {
        self.unasked.set(0);
        let Some(turn) = self.turn.get() else {
            return self.seat.take();
        };
        if !self.seat.take() {
            return false;
        }
        if self.all.borrow_mut().remove(turn).is_none() {
            // It has given way meanwhile, and is about to be closed.
            self.seat.give_back();
            return false;
        }
        self.turn.set(None);
        true
    }

    /// A request of an operator or a probe has come: it gives way last.
    pub(super) fn asks_as_operator(self: &Rc<Self>) {
        self.unasked.set(0);
        if let Some(turn) = self.turn.get() {
            let mut all = self.all.borrow_mut();
            if all.remove(turn).is_some() {
                self.turn.set(Some(all.add(self.address, Rc::downgrade(self))));
            }
        }
    }

    /// A request was answered: who is not known by now needs no seat.
    pub(super) fn is_answered(self: &Rc<Self>) {
        if !self.identified.get() && !self.upgraded.get() && self.turn.get().is_none() {
            self.seat.give_back();
            let turn = self.all.borrow_mut().add(self.address, Rc::downgrade(self));
            self.turn.set(Some(turn));
        }
    }

    /// Another protocol is spoken from here on, by one who is to say who it is.
    pub(super) fn upgrade(&self, greeting: Option<Greeting>) {
        self.upgraded.set(true);
        self.greeting.replace(greeting);
    }

    /// Notes what was read. One who sends too much before it is known is not read on, and ended after a moment.
    fn has_read(self: &Rc<Self>, bytes: usize) {
        self.unasked.set(self.unasked.get().saturating_add(bytes));
        if self.reads_on() || self.overrun.replace(true) {
            return;
        }
        let connection = Rc::downgrade(self);
        // Owned by nobody and over soon; one per connection.
        actix_web::rt::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            if let Some(connection) = connection.upgrade() {
                connection.cut();
            }
        });
    }

    fn reads_on(&self) -> bool {
        self.identified.get() || self.upgraded.get() || self.unasked.get() < UNKNOWN_BYTES
    }
}

impl Cut for Connection {
    fn cut(&self) {
        // Fails when it's closed already, which is as good.
        let _closed = SockRef::from(&*self.stream.borrow()).shutdown(Shutdown::Both);
        self.ended.set(true);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn identified(&self) {
        self.identified.set(true);
        self.greeting.take();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.borrow_mut().close(self.turn.get());
    }
}

// === impl Io ===

impl Io {
    /// Prepares a connection that was just accepted. Whoever has to gives way to it.
    pub(super) fn accepted(
        stream: TcpStream,
        settings: &Server,
        seats: &Seats,
        all: &ThreadConnections,
    ) -> Io {
        let socket = SockRef::from(&stream);
        // Options that this system doesn't know leave the connection as it is.
        let _unknown = socket.set_tcp_nodelay(true);
        let _unknown = socket.set_tcp_user_timeout(Some(settings.user_timeout_ms.duration()));
        if settings.unsent_bytes > 0 {
            let _unknown = socket.set_tcp_notsent_lowat(settings.unsent_bytes);
        }
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let connection = Rc::new(Connection {
            stream: RefCell::new(stream),
            seat: seats.accept(),
            address: peer.and_then(|peer| admission::direct(peer, settings)),
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

    /// Where it comes from.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.0.stream.borrow().peer_addr().ok()
    }

    /// Lets the requests of the connection find it.
    pub(super) fn introduce(&self, extensions: &mut Extensions) {
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
            // What is being answered still is; then the end comes.
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
