//! State of one client, shared by its reader and its output, all on one thread.

use std::cell::{Cell, RefCell};

use bytes::{BufMut, BytesMut};
use protocol::close::{CloseCode, CloseReason};
use protocol::event::{CloseEvent, Event};
use serde::Deserialize;

use super::client_request::UNACKNOWLEDGED;
use super::engine_packets::{EngineOutput, PacketSink};
use super::ping_queue::PingQueue;
use super::server_packet;
use crate::gateway::event_tail::EventTail;
use crate::gateway::response_head::ResponseHead;

/// Connection of a client.
#[derive(Debug, Default)]
pub(super) struct SocketIoConnection {
    phase: RefCell<ConnectPhase>,
    pings: RefCell<PingQueue>,
    /// True once the client was told the end of the connection by an event.
    has_bye: Cell<bool>,
    /// True once the client has ended the connection: it reads no further packets.
    is_closed_by_client: Cell<bool>,
}

/// Progress of a client in the main namespace.
#[derive(Debug, Default)]
enum ConnectPhase {
    #[default]
    Unconnected,
    Connecting {
        /// Id that the client keeps if its session is resumed.
        pid: Option<String>,
    },
    Connected {
        /// Id of the session, for the offsets.
        sid: String,
    },
}

/// Fields of the response `ready` that the gateway needs.
#[derive(Deserialize)]
struct OpenedResponse {
    sid: String,
    resumed: bool,
    n: u64,
}

/// Fields of the response `err` that the gateway needs.
#[derive(Deserialize)]
struct RefusedResponse {
    code: String,
}

// === impl SocketIoConnection: reader ===

impl SocketIoConnection {
    /// Begins a CONNECT. Returns false if the client is connected or connecting.
    pub(super) fn connect(&self, pid: Option<String>) -> bool {
        let mut phase = self.phase.borrow_mut();
        let is_free = matches!(*phase, ConnectPhase::Unconnected);
        if is_free {
            *phase = ConnectPhase::Connecting { pid };
        }
        is_free
    }

    /// Returns true once the client has asked to connect, and was not refused.
    pub(super) fn has_connected(&self) -> bool {
        !matches!(*self.phase.borrow(), ConnectPhase::Unconnected)
    }

    /// Records a pong, and returns the event that it confirms.
    pub(super) fn on_pong(&self) -> Option<u64> {
        self.pings.borrow_mut().on_pong()
    }

    pub(super) fn on_closed_by_client(&self) {
        self.is_closed_by_client.set(true);
    }

    // --- output ---

    /// Writes a response that belongs to no request: that to the CONNECT, or a refusal by the connection.
    fn connection_response(&self, response: &ResponseHead<'_>, body: &[u8], sink: &mut impl PacketSink) {
        let mut phase = self.phase.borrow_mut();
        match (&mut *phase, response.tag) {
            (ConnectPhase::Connecting { pid }, "ready") => {
                let Ok(OpenedResponse { sid, resumed, n }) = serde_json::from_slice(body) else {
                    return;
                };
                // The same id says that nothing is missing.
                let pid = pid.take().filter(|_| resumed).unwrap_or_else(draw_id);
                sink.packet(|out| server_packet::connected(out, &draw_id(), &pid));
                sink.packet(|out| server_packet::ready(out, body, &sid, n));
                *phase = ConnectPhase::Connected { sid };
            }
            (ConnectPhase::Connecting { .. }, "err") => {
                let refused: Result<RefusedResponse, _> = serde_json::from_slice(body);
                let code = refused.map_or_else(|_| "internal".to_owned(), |refused| refused.code);
                sink.packet(|out| server_packet::refused(out, &code, body));
                *phase = ConnectPhase::Unconnected;
            }
            (ConnectPhase::Connected { .. }, "err") => {
                sink.packet(|out| server_packet::error(out, response));
            }
            _ => {}
        }
    }
}

impl EngineOutput for SocketIoConnection {
    fn queued(&self, body: &[u8], sink: &mut impl PacketSink) {
        let Some(response) = ResponseHead::read(body) else {
            // A packet of the gateway itself.
            return sink.packet(|out| out.put_slice(body));
        };
        match response.id {
            None => self.connection_response(&response, body, sink),
            Some(UNACKNOWLEDGED) if response.tag == "err" => {
                sink.packet(|out| server_packet::error(out, &response));
            }
            Some(id) => {
                if let Ok(ack) = u64::try_from(id) {
                    sink.packet(|out| server_packet::acknowledgement(out, ack, &response));
                }
            }
        }
    }

    fn event(&self, n: u64, tail: &[u8], sink: &mut impl PacketSink) {
        let ConnectPhase::Connected { sid } = &*self.phase.borrow() else {
            return;
        };
        let name = EventTail::read(tail).name;
        if name == "bye" {
            self.has_bye.set(true);
        }
        sink.packet(|out| server_packet::event(out, name, n, tail, sid));
    }

    fn ping(&self, sent: u64, sink: &mut impl PacketSink) {
        self.pings.borrow_mut().on_ping(sent);
        sink.packet(|out| out.put_u8(b'2'));
    }

    /// Writes the farewell of a session that the client cannot resume: the event `bye`, and the end of the namespace,
    /// after which the client does not come back by itself. Otherwise the end of the transport is enough.
    fn close(&self, code: Option<u16>, reason: &str, sink: &mut impl PacketSink) {
        let is_connected = matches!(*self.phase.borrow(), ConnectPhase::Connected { .. });
        let Some(code) = code.filter(|_| is_connected && !self.is_closed_by_client.get()) else {
            return;
        };
        let is_native = (4_200..4_600).contains(&code);
        if is_native && !self.has_bye.replace(true) {
            let reason: Result<CloseReason, _> = serde_json::from_str(reason);
            let retry_ms = reason.map_or(0, |reason| reason.retry_ms);
            if let Some(code) = CloseCode::from_code(code) {
                let tail = Event::Bye(CloseEvent::new(code, retry_ms)).tail();
                sink.packet(|out| server_packet::bye(out, &tail));
            }
        }
        // Replaced in silence: a client that came back would replace the other one in turn, without end.
        if is_native || code == CloseCode::Normal.code() {
            sink.packet(server_packet::disconnect);
        }
    }

    fn is_closed_by_client(&self) -> bool {
        self.is_closed_by_client.get()
    }
}

/// Returns a random id. Two of them name one connection in public; neither gives access to anything.
fn draw_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Returns a packet of the gateway for the outbound queue.
pub(super) fn queued_packet(write: impl FnOnce(&mut BytesMut)) -> bytes::Bytes {
    let mut packet = BytesMut::new();
    write(&mut packet);
    packet.freeze()
}

#[cfg(test)]
mod tests;
