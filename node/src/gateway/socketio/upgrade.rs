//! Upgrade of a connection that polls to a WebSocket. The WebSocket may be on another thread: its messages go to the
//! tasks of the connection, and their payloads come from there.

use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use protocol::CloseCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::engine_entry::{EngineEntry, SocketMessage};
use super::engine_packet::{EnginePacket, SEPARATOR};
use crate::gateway::websocket::{
    MessageFraming, MessageHandler, MessageKinds, MessageWriter, Meter, ReadProgress, SessionOver,
    WebSocketMessage,
};
use crate::session::messages::Disconnect;
use crate::session::{CLOSE_TIMEOUT, ConnectionHandle};

/// Time in which a client has to complete an upgrade.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
const PROBE: &str = "2probe";
const PROBED: &[u8] = b"3probe";
const UPGRADE: &str = "5";
/// Payload that ends the transport.
const CLOSE: &[u8] = b"1";

/// Reader of a WebSocket that replaces the polls of a connection.
pub(super) struct UpgradeReader {
    link: Rc<ConnectionHandle>,
    engine: EngineEntry,
    phase: UpgradePhase,
    deadline: Instant,
    /// Size of the largest message.
    max: usize,
    messages: Vec<SocketMessage>,
}

/// Packets that are complete already.
pub(super) struct UpgradedMessages;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpgradePhase {
    Opened,
    /// The probe has arrived.
    Probing,
    Probed,
    /// The last packet of the upgrade has arrived.
    Upgrading,
    Upgraded,
}

// === impl UpgradeReader ===

impl UpgradeReader {
    pub(super) fn new(link: &Rc<ConnectionHandle>, engine: EngineEntry, max: usize) -> UpgradeReader {
        UpgradeReader {
            link: link.clone(),
            engine,
            phase: UpgradePhase::Opened,
            deadline: Instant::now() + UPGRADE_TIMEOUT,
            max,
            messages: Vec::new(),
        }
    }

    fn is_overdue(&self) -> bool {
        self.phase != UpgradePhase::Upgraded && Instant::now() >= self.deadline
    }

    fn close(&self) {
        self.link.close(None, None, false, CLOSE_TIMEOUT);
    }

    /// Ends an upgrade that does not come about. The polls go on.
    async fn give_up(&mut self) -> SessionOver {
        if self.phase == UpgradePhase::Probed {
            self.engine.end_probe().await;
        }
        self.close();
        SessionOver
    }
}

impl MessageHandler for UpgradeReader {
    const KINDS: MessageKinds = MessageKinds::Any;

    fn max_message(&self) -> usize {
        self.max
    }

    fn message(
        &mut self,
        message: WebSocketMessage<'_>,
        _meter: &mut Meter,
    ) -> Result<ReadProgress, CloseCode> {
        // The tasks of the connection charge the packets.
        match (self.phase, message) {
            (UpgradePhase::Opened, WebSocketMessage::Text(PROBE)) => self.phase = UpgradePhase::Probing,
            (UpgradePhase::Probed, WebSocketMessage::Text(UPGRADE)) => self.phase = UpgradePhase::Upgrading,
            (UpgradePhase::Upgraded, WebSocketMessage::Text(text)) => {
                self.messages.push(SocketMessage::Text(text.to_owned()));
                return Ok(ReadProgress::Continue);
            }
            (UpgradePhase::Upgraded, WebSocketMessage::Binary(bytes)) => {
                self.messages
                    .push(SocketMessage::Binary(Bytes::copy_from_slice(bytes)));
                return Ok(ReadProgress::Continue);
            }
            _ => return Err(CloseCode::Protocol),
        }
        Ok(ReadProgress::Flush)
    }

    fn is_pending(&self) -> bool {
        let is_moving = matches!(self.phase, UpgradePhase::Probing | UpgradePhase::Upgrading);
        is_moving || !self.messages.is_empty() || self.is_overdue()
    }

    async fn flush(&mut self) -> Result<(), SessionOver> {
        match self.phase {
            UpgradePhase::Probing => {
                if !self.engine.probe().await {
                    self.close();
                    return Err(SessionOver);
                }
                self.phase = UpgradePhase::Probed;
                self.link
                    .outbox(|outbox| outbox.answer(Bytes::from_static(PROBED)));
            }
            UpgradePhase::Upgrading => {
                let Some(payloads) = self.engine.upgrade().await else {
                    self.close();
                    return Err(SessionOver);
                };
                self.phase = UpgradePhase::Upgraded;
                // Detached: the task ends with the connection or the WebSocket, whichever ends first.
                actix_web::rt::spawn(forward(payloads, self.link.clone()));
            }
            UpgradePhase::Upgraded => {
                let messages = std::mem::take(&mut self.messages);
                if !messages.is_empty() && !self.engine.packets(messages).await {
                    // The last payload says why.
                    return Err(SessionOver);
                }
            }
            UpgradePhase::Opened | UpgradePhase::Probed => {}
        }
        if self.is_overdue() {
            return Err(self.give_up().await);
        }
        Ok(())
    }

    async fn requested(&self) {
        if self.phase == UpgradePhase::Upgraded {
            std::future::pending().await
        } else {
            tokio::time::sleep_until(self.deadline).await;
        }
    }

    async fn end(mut self, disconnect: Disconnect) {
        match (self.phase, disconnect) {
            (UpgradePhase::Upgraded, _) | (UpgradePhase::Probed, Disconnect::Lost) => {
                // `socket.io-client` stops to poll as soon as it has the answer to its probe, and does not return to
                // the polls when it then loses the WebSocket: without a close packet in its last poll it would wait for
                // its ping timeout.
                self.engine.end(disconnect).await;
                // The tasks write the last packets; a lost WebSocket takes none.
                if disconnect == Disconnect::Lost {
                    self.link.close(None, None, true, CLOSE_TIMEOUT);
                }
            }
            _ => {
                let _over = self.give_up().await;
            }
        }
    }
}

/// Writes the packets of each payload to the WebSocket, and closes it behind the last one.
async fn forward(mut payloads: mpsc::Receiver<Bytes>, link: Rc<ConnectionHandle>) {
    while let Some(payload) = payloads.recv().await {
        for packet in payload.split(|byte| *byte == SEPARATOR) {
            if packet != CLOSE {
                link.outbox(|outbox| outbox.answer(payload.slice_ref(packet)));
            }
        }
        link.room().await;
    }
    link.close(None, None, false, CLOSE_TIMEOUT);
}

impl MessageFraming for UpgradedMessages {
    fn answer(&self, out: &mut MessageWriter<'_>, body: &[u8]) {
        // Binary packets are base64 in a payload, and as they are here.
        match std::str::from_utf8(body).map(EnginePacket::parse) {
            Ok(Ok(EnginePacket::Binary(bytes))) => out.binary(|out| out.put_slice(&bytes)),
            _ => out.text(|out| out.put_slice(body)),
        }
    }

    /// Appends nothing: the events are in the payloads.
    fn event(&self, _out: &mut MessageWriter<'_>, _n: u64, _tail: &[u8]) {}

    fn confirms_by_pong(&self) -> bool {
        false
    }
}
