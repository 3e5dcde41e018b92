//! Rookery's own protocol, which needs no translation.

use protocol::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::PATH;
use super::client_wire::{ClientWire, WireEnd, upgrade_to};

/// The native protocol. The client itself knows by what it resumes.
pub(super) struct NativeWire;

impl ClientWire for NativeWire {
    fn upgrade(&self, node: &str) -> Result<Request, String> {
        upgrade_to(node, PATH, Some(SUBPROTOCOL))
    }

    fn send(&mut self, command: String, out: &mut Vec<Message>) {
        out.push(Message::text(command));
    }

    fn receive(
        &mut self,
        message: &Message,
        _out: &mut Vec<Message>,
        frames: &mut dyn FnMut(&str),
    ) -> Result<(), WireEnd> {
        match message {
            Message::Text(text) => frames(text),
            _ => return Err(WireEnd::Malformed("a binary message".to_owned())),
        }
        Ok(())
    }
}
