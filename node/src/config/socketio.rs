//! `[socketio]`: the gateway for clients of Socket.IO.

use super::load::Problems;
use super::section::section;

section! {
    /// Gateway for clients of Socket.IO. docs/socketio.md describes it.
    pub struct SocketIoConfig {
        /// Path of HTTP requests and WebSockets. Empty: no such gateway.
        path: String = "/socket.io".to_owned(),
    }
}

// === impl SocketIoConfig ===

impl SocketIoConfig {
    /// Adds every invalid value to `problems`.
    pub(super) fn check(&self, problems: &mut Problems) {
        problems.path("socketio.path", &self.path);
    }
}
