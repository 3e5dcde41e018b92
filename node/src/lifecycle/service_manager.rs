//! Notifications to the service manager, as systemd expects them from a service of `Type=notify`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Environment variable with the address of the service manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Sends a state, such as `READY=1`, if a service manager waits for it. A failure is logged: the service manager then
/// ends the start by its own deadline.
pub fn notify_service_manager(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET) else {
        return;
    };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, state, "could not notify the service manager");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.send_to_addr(state.as_bytes(), &address(socket)?)?;
    Ok(())
}

/// Returns the address of a socket: a path, or behind `@` a name in the abstract namespace of Linux.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives what is sent to the socket at this address.
    fn received(socket: &OsStr) -> String {
        let receiver = UnixDatagram::bind_addr(&address(socket).unwrap()).unwrap();
        send(socket, "READY=1").unwrap();
        let mut text = [0; 64];
        let length = receiver.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn a_state_reaches_a_socket_with_a_path() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(received(dir.path().join("notify").as_os_str()), "READY=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_state_reaches_a_socket_with_an_abstract_name() {
        let name = format!("@rookery-test-{}", std::process::id());
        assert_eq!(received(OsStr::new(&name)), "READY=1");
    }

    #[test]
    fn a_socket_without_a_receiver_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(send(dir.path().join("nobody").as_os_str(), "READY=1").is_err());
    }
}
