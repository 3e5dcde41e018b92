//! The TCP socket under an HTTP connection: its options, its seat, and a handle that can end it.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::seats::{Seat, Seats};
use crate::config::Server;
use crate::session::Cut;

/// A connection. The HTTP server holds the one strong handle, in an [`Io`], and may wait on it for ever for a client that
/// never reads; whoever has a weak one can end it. A second handle on the socket would be a second file.
pub struct Connection {
    stream: RefCell<TcpStream>,
    seat: Seat,
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
}

impl Cut for Connection {
    fn cut(&self) {
        // Fails when it's closed already, which is as good.
        let _closed = SockRef::from(&*self.stream.borrow()).shutdown(Shutdown::Both);
    }
}

// === impl Io ===

impl Io {
    /// Prepares a connection that was just accepted.
    pub(super) fn accepted(stream: TcpStream, settings: &Server, seats: &Seats) -> Io {
        let socket = SockRef::from(&stream);
        // Options that this system doesn't know leave the connection as it is.
        let _unknown = socket.set_tcp_nodelay(true);
        let _unknown = socket.set_tcp_user_timeout(Some(settings.user_timeout_ms.duration()));
        if settings.unsent_bytes > 0 {
            let _unknown = socket.set_tcp_notsent_lowat(settings.unsent_bytes);
        }
        let (stream, seat) = (RefCell::new(stream), seats.take());
        let stay = seat.stay();
        let connection = Rc::new(Connection { stream, seat });
        if let Some(stay) = stay {
            let guest = Rc::downgrade(&connection);
            // Owned by nobody and over soon; there are no more of them than seats for guests, about.
            actix_web::rt::spawn(async move {
                tokio::time::sleep(stay).await;
                if let Some(guest) = guest.upgrade() {
                    guest.cut();
                }
            });
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
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, buffer)
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
