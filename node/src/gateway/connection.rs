//! The TCP socket under an HTTP connection: its options, and a handle that can end it.

use std::any::Any;
use std::net::Shutdown;
use std::rc::{Rc, Weak};

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use socket2::{SockRef, Socket};

use crate::config::Server;
use crate::session::Cut;

/// A second handle on a connection's socket. The HTTP server owns the first and may wait on it for ever, for a client
/// that never reads.
pub struct Connection {
    socket: Socket,
}

// === impl Connection ===

impl Connection {
    /// The handle of the connection by which a request came.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Weak<dyn Cut> {
        match request.conn_data::<Rc<Connection>>() {
            Some(connection) => {
                let weak: Weak<Connection> = Rc::downgrade(connection);
                weak
            }
            None => Weak::<Connection>::new(),
        }
    }

    /// Prepares a connection that was just accepted, and keeps its handle with it.
    pub fn accepted(io: &dyn Any, extensions: &mut Extensions, settings: &Server) {
        let Some(stream) = io.downcast_ref::<TcpStream>() else {
            return;
        };
        let socket = SockRef::from(stream);
        // Options that this system doesn't know leave the connection as it is.
        let _unknown = socket.set_tcp_nodelay(true);
        let _unknown = socket.set_tcp_user_timeout(Some(settings.user_timeout_ms.duration()));
        if settings.unsent_bytes > 0 {
            let _unknown = socket.set_tcp_notsent_lowat(settings.unsent_bytes);
        }
        match socket.try_clone() {
            Ok(socket) => {
                extensions.insert(Rc::new(Connection { socket }));
            }
            Err(error) => tracing::warn!(%error, "no handle for a connection; a slow client may linger"),
        }
    }
}

impl Cut for Connection {
    fn cut(&self) {
        // Fails when it's closed already, which is as good.
        let _closed = self.socket.shutdown(Shutdown::Both);
    }
}
