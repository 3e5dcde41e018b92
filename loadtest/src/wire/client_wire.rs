//! Protocol of a client as a translation: native frames become messages of its WebSocket, and the reverse.
//!
//! The state of a client knows the native protocol alone. So the same clients, scenarios and oracle serve every protocol,
//! and each translation shows the oracle what a client of its protocol sees.

use serde::Deserialize;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::clock::Nanos;

/// Protocol of one client, with everything that its next connection resumes by.
pub(crate) trait ClientWire {
    fn transport(&self) -> WireTransport {
        WireTransport::WebSocket
    }

    /// Returns the request that opens a WebSocket to a node, host:port.
    fn upgrade(&self, node: &str) -> Result<Request, String>;

    /// Begins a connection that has just been opened.
    fn begin(&mut self, _out: &mut Vec<Message>) {}

    /// Translates a native command. Those that the protocol has by other means are dropped.
    fn send(&mut self, command: String, out: &mut Vec<Message>);

    /// Translates a message of the node. Passes the native frames that it means to `frames`.
    fn receive(
        &mut self,
        message: &Message,
        out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd>;

    /// Forgets the session, which can not be resumed any more.
    fn forget(&mut self) {}

    fn numbers(&self) -> EventNumbers {
        EventNumbers::Exact
    }

    /// Longest time without a message of a node that is alive. `None`: it responds to the heartbeats of the client.
    fn liveness_timeout(&self) -> Option<Nanos> {
        None
    }
}

/// Carrier of a client's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WireTransport {
    WebSocket,
    /// Long polling of Engine.IO: each message is a packet.
    Polling,
}

/// Credentials of a client.
#[derive(Clone, Debug)]
pub(crate) struct WireLogin {
    pub(crate) token: String,
    pub(crate) device: String,
    pub(crate) instance: String,
}

/// Numbers of a session's events, as far as a client of the protocol sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EventNumbers {
    /// `ready` has the last number, and every event the next one.
    Exact,
    /// Consecutive over one connection, which begins with any number: events may be repeated.
    Consecutive,
    /// The client receives a part of the session's events.
    Partial,
}

/// Reason for which a connection ends after a message.
#[derive(PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum WireEnd {
    /// The node ends it.
    #[error("ended by the node: {0}")]
    Ended(String),
    /// The message breaks a promise of the protocol.
    #[error("{0}")]
    Malformed(String),
}

/// Fields of a native command that a translation needs.
#[derive(Deserialize)]
pub(super) struct CommandHead<'a> {
    #[serde(borrow)]
    pub(super) t: &'a str,
    pub(super) id: Option<u64>,
    pub(super) c: Option<&'a str>,
    pub(super) to: Option<String>,
}

// === impl CommandHead ===

impl<'a> CommandHead<'a> {
    /// Reads a command that the harness has encoded.
    pub(super) fn read(command: &'a str) -> CommandHead<'a> {
        serde_json::from_str(command).expect("the harness encodes commands as JSON objects")
    }
}

/// Returns the upgrade request for a path, with a subprotocol if one is given.
pub(super) fn upgrade_to(
    node: &str,
    path: &str,
    subprotocol: Option<&'static str>,
) -> Result<Request, String> {
    let request = format!("ws://{node}{path}").into_client_request();
    let mut request = request.map_err(|error| error.to_string())?;
    if let Some(subprotocol) = subprotocol {
        let name = HeaderValue::from_static(subprotocol);
        request.headers_mut().insert("sec-websocket-protocol", name);
    }
    Ok(request)
}

/// Returns the JSON text of a string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the error of a message that could not be read.
pub(super) fn malformed(error: impl std::fmt::Display, message: &str) -> WireEnd {
    WireEnd::Malformed(format!("{error} in {message}"))
}
