//! Addresses for listeners that are bound later, or again and again.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tokio::net::TcpSocket;

/// Returns a free address that no other socket gets while the test runs: the kernel gives a bound port to none that asks
/// for any, and refuses connections to it until a listener binds it, too.
pub fn reserved_addr() -> SocketAddr {
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    RESERVED.lock().push(socket);
    addr
}
